//! The one error value of nunatak, and its codes.
//!
//! Every failure that can reach a user is an [`Error`]: a [`Code`] with the name and number that Trino's clients already match on, a message, a
//! hint that says what to do next, key-value context, the place in the SQL text, and whether trying again can help. Protocols map it once, in
//! their own crate; this file knows no protocol.

use std::fmt;

/// The result type used across nunatak.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Who can do something about an error (Trino's `ErrorType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The statement, its data or the request is at fault.
    User,
    /// A defect or an unexpected state of nunatak.
    Internal,
    /// A limit was reached: memory, queue, time.
    InsufficientResources,
    /// A system that nunatak depends on failed: storage, a catalog.
    External,
}

impl Kind {
    /// The name that Trino's clients see, such as `USER_ERROR`.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "USER_ERROR",
            Self::Internal => "INTERNAL_ERROR",
            Self::InsufficientResources => "INSUFFICIENT_RESOURCES",
            Self::External => "EXTERNAL",
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $name:literal, $number:literal, $kind:ident, $doc:literal;)+) => {
        /// What went wrong. Names and numbers are those of Trino's `StandardErrorCode` and `IcebergErrorCode`; codes of our own start at
        /// `0x0700_0000`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $doc] $variant,)+
        }

        impl Code {
            /// Every code, in the order of its definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name, such as `TABLE_NOT_FOUND`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The stable number.
            pub fn number(self) -> u32 {
                match self { $(Self::$variant => $number),+ }
            }

            /// Who can do something about it.
            pub fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind),+ }
            }

            /// One sentence on what the code means.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $doc),+ }
            }
        }
    };
}

codes! {
    GenericUserError = "GENERIC_USER_ERROR", 0, User, "The request is wrong in a way that no other code names.";
    SyntaxError = "SYNTAX_ERROR", 1, User, "The SQL text does not parse.";
    UserCanceled = "USER_CANCELED", 3, User, "The user or the client cancelled the query.";
    PermissionDenied = "PERMISSION_DENIED", 4, User, "The user may not do this.";
    NotFound = "NOT_FOUND", 5, User, "The named thing does not exist.";
    FunctionNotFound = "FUNCTION_NOT_FOUND", 6, User, "There is no function of that name or with those arguments.";
    InvalidFunctionArgument = "INVALID_FUNCTION_ARGUMENT", 7, User, "A function was given a value that it does not take.";
    DivisionByZero = "DIVISION_BY_ZERO", 8, User, "A number was divided by zero.";
    InvalidCastArgument = "INVALID_CAST_ARGUMENT", 9, User, "A value cannot be converted to the wanted type.";
    InvalidView = "INVALID_VIEW", 11, User, "A view's text can no longer be planned.";
    AlreadyExists = "ALREADY_EXISTS", 12, User, "The named thing exists already.";
    NotSupported = "NOT_SUPPORTED", 13, User, "The statement or feature is not supported.";
    InvalidSessionProperty = "INVALID_SESSION_PROPERTY", 14, User, "A session property is unknown or its value is wrong.";
    InvalidWindowFrame = "INVALID_WINDOW_FRAME", 15, User, "A window frame begins or ends where none can, or has a negative offset.";
    ConstraintViolation = "CONSTRAINT_VIOLATION", 16, User, "A row breaks a constraint of its table.";
    TransactionConflict = "TRANSACTION_CONFLICT", 17, User, "Another writer changed the table, and the two changes cannot both hold.";
    InvalidTableProperty = "INVALID_TABLE_PROPERTY", 18, User, "A table property is unknown or its value is wrong.";
    NumericValueOutOfRange = "NUMERIC_VALUE_OUT_OF_RANGE", 19, User, "A number does not fit its type.";
    UnknownTransaction = "UNKNOWN_TRANSACTION", 20, User, "There is no such transaction, or it has expired.";
    NotInTransaction = "NOT_IN_TRANSACTION", 21, User, "No transaction was started.";
    TransactionAlreadyAborted = "TRANSACTION_ALREADY_ABORTED", 22, User, "A statement of the transaction has failed: it can only be rolled back.";
    ReadOnlyViolation = "READ_ONLY_VIOLATION", 23, User, "A transaction that only reads cannot write.";
    AutocommitWriteConflict = "AUTOCOMMIT_WRITE_CONFLICT", 25, User, "What writes is committed by itself, and cannot be part of a transaction.";
    IncompatibleClient = "INCOMPATIBLE_CLIENT", 27, User, "The client, or its protocol, cannot do this.";
    SubqueryMultipleRows = "SUBQUERY_MULTIPLE_ROWS", 28, User, "A subquery that stands for one value gave several rows.";
    ProcedureNotFound = "PROCEDURE_NOT_FOUND", 29, User, "There is no procedure of that name.";
    InvalidProcedureArgument = "INVALID_PROCEDURE_ARGUMENT", 30, User, "An argument of a procedure is missing, unknown or wrong.";
    QueryRejected = "QUERY_REJECTED", 31, User, "The query was refused before it ran.";
    InvalidSchemaProperty = "INVALID_SCHEMA_PROPERTY", 33, User, "A schema property is unknown or its value is wrong.";
    SchemaNotEmpty = "SCHEMA_NOT_EMPTY", 34, User, "A schema that holds tables or views cannot be dropped.";
    QueryTextTooLarge = "QUERY_TEXT_TOO_LARGE", 35, User, "The SQL text is longer than the limit.";
    ExceededFunctionMemoryLimit = "EXCEEDED_FUNCTION_MEMORY_LIMIT", 37, User, "The value of a function is larger than it may become.";
    AdministrativelyKilled = "ADMINISTRATIVELY_KILLED", 38, User, "Somebody ended the query by kill_query.";
    InvalidAnalyzeProperty = "INVALID_ANALYZE_PROPERTY", 42, User, "A property of ANALYZE is unknown or its value is wrong.";
    TypeNotFound = "TYPE_NOT_FOUND", 43, User, "There is no type of that name.";
    CatalogNotFound = "CATALOG_NOT_FOUND", 44, User, "There is no catalog of that name.";
    SchemaNotFound = "SCHEMA_NOT_FOUND", 45, User, "There is no schema of that name.";
    TableNotFound = "TABLE_NOT_FOUND", 46, User, "There is no table or view of that name.";
    ColumnNotFound = "COLUMN_NOT_FOUND", 47, User, "There is no column of that name.";
    RoleNotFound = "ROLE_NOT_FOUND", 48, User, "There is no role of that name.";
    SchemaAlreadyExists = "SCHEMA_ALREADY_EXISTS", 49, User, "A schema of that name exists already.";
    TableAlreadyExists = "TABLE_ALREADY_EXISTS", 50, User, "A table or view of that name exists already.";
    ColumnAlreadyExists = "COLUMN_ALREADY_EXISTS", 51, User, "A column of that name exists already.";
    DuplicateNamedQuery = "DUPLICATE_NAMED_QUERY", 53, User, "Two queries of a WITH clause have the same name.";
    DuplicateColumnName = "DUPLICATE_COLUMN_NAME", 54, User, "Two columns have the same name.";
    MissingColumnName = "MISSING_COLUMN_NAME", 55, User, "A column needs a name.";
    MissingSchemaName = "MISSING_SCHEMA_NAME", 57, User, "No schema was named and the session has none.";
    TypeMismatch = "TYPE_MISMATCH", 58, User, "A value has another type than the one wanted.";
    InvalidLiteral = "INVALID_LITERAL", 59, User, "A literal cannot be read as its type.";
    ColumnTypeUnknown = "COLUMN_TYPE_UNKNOWN", 60, User, "A new column has only NULLs, which have no type.";
    MismatchedColumnAliases = "MISMATCHED_COLUMN_ALIASES", 61, User, "A list of column aliases is longer or shorter than the columns.";
    AmbiguousName = "AMBIGUOUS_NAME", 62, User, "A name can mean more than one thing.";
    InvalidColumnReference = "INVALID_COLUMN_REFERENCE", 63, User, "GROUP BY or ORDER BY names a position that is not there.";
    MissingOrderBy = "MISSING_ORDER_BY", 65, User, "What is asked for needs an ORDER BY.";
    MissingOver = "MISSING_OVER", 66, User, "A window function needs an OVER clause.";
    NestedAggregation = "NESTED_AGGREGATION", 67, User, "An aggregate function cannot be called within another.";
    ExpressionNotInDistinct = "EXPRESSION_NOT_IN_DISTINCT", 69, User, "SELECT DISTINCT can only be ordered by what it selects.";
    TooManyGroupingSets = "TOO_MANY_GROUPING_SETS", 70, User, "GROUP BY has more grouping sets than there may be.";
    ExpressionNotAggregate = "EXPRESSION_NOT_AGGREGATE", 73, User, "A column must be in GROUP BY or within an aggregate function.";
    ExpressionNotScalar = "EXPRESSION_NOT_SCALAR", 74, User, "Aggregates and window functions are not allowed here.";
    ExpressionNotConstant = "EXPRESSION_NOT_CONSTANT", 75, User, "An expression must not depend on columns here.";
    InvalidArguments = "INVALID_ARGUMENTS", 76, User, "The arguments of a statement or table function are wrong.";
    InvalidParameterUsage = "INVALID_PARAMETER_USAGE", 80, User, "Query parameters are missing, too many, or of the wrong type.";
    ViewIsRecursive = "VIEW_IS_RECURSIVE", 82, User, "A view refers to itself.";
    InvalidOrderBy = "INVALID_ORDER_BY", 91, User, "A window has an ORDER BY already.";
    InvalidWindowReference = "INVALID_WINDOW_REFERENCE", 93, User, "A window that is named is not there, or has a frame of its own.";
    InvalidPartitionBy = "INVALID_PARTITION_BY", 94, User, "A window that begins with another one cannot be partitioned again.";
    JsonInputConversionError = "JSON_INPUT_CONVERSION_ERROR", 114, User, "A text that is to be JSON is none.";
    JsonOutputConversionError = "JSON_OUTPUT_CONVERSION_ERROR", 115, User, "What a JSON path gave is not one JSON value.";
    PathEvaluationError = "PATH_EVALUATION_ERROR", 116, User, "A JSON path does not fit the value that it is applied to.";
    InvalidPath = "INVALID_PATH", 117, User, "A JSON path names something that it was not given.";
    JsonValueResultError = "JSON_VALUE_RESULT_ERROR", 118, User, "What a JSON path gave is not one value of the wanted type.";
    MergeTargetRowMultipleMatches = "MERGE_TARGET_ROW_MULTIPLE_MATCHES", 119, User, "A row of the table is to be changed more than once by one statement.";
    UnsupportedTableType = "UNSUPPORTED_TABLE_TYPE", 133_001, External, "The table or view is of a kind that cannot be read here.";
    GenericInternalError = "GENERIC_INTERNAL_ERROR", 65_536, Internal, "A defect in nunatak; please report it with the query id.";
    NoNodesAvailable = "NO_NODES_AVAILABLE", 65_541, Internal, "There is no executor to run the query on.";
    RemoteTaskError = "REMOTE_TASK_ERROR", 65_542, Internal, "A task on an executor failed.";
    ServerShuttingDown = "SERVER_SHUTTING_DOWN", 65_545, Internal, "The server is shutting down.";
    RemoteHostGone = "REMOTE_HOST_GONE", 65_558, Internal, "An executor was lost while the query ran.";
    GenericInsufficientResources = "GENERIC_INSUFFICIENT_RESOURCES", 131_072, InsufficientResources, "A limit was reached.";
    QueryQueueFull = "QUERY_QUEUE_FULL", 131_074, InsufficientResources, "Too many queries are waiting.";
    ExceededTimeLimit = "EXCEEDED_TIME_LIMIT", 131_075, InsufficientResources, "The query ran longer than its limit.";
    ExceededSpillLimit = "EXCEEDED_SPILL_LIMIT", 131_078, InsufficientResources, "There is no space for what queries keep on disk while they run.";
    ExceededLocalMemoryLimit = "EXCEEDED_LOCAL_MEMORY_LIMIT", 131_079, InsufficientResources, "The query needs more memory than a node may give it.";
    IcebergInvalidMetadata = "ICEBERG_INVALID_METADATA", 84_148_225, External, "Table metadata is missing, damaged or inconsistent.";
    IcebergBadData = "ICEBERG_BAD_DATA", 84_148_228, External, "A data file is damaged or does not match its table.";
    IcebergMissingData = "ICEBERG_MISSING_DATA", 84_148_229, External, "A file that the table's metadata names does not exist.";
    IcebergFilesystemError = "ICEBERG_FILESYSTEM_ERROR", 84_148_232, External, "Storage failed while a table was read or written.";
    IcebergInvalidSnapshotId = "ICEBERG_INVALID_SNAPSHOT_ID", 84_148_235, User, "The table has no such snapshot.";
    IcebergCommitError = "ICEBERG_COMMIT_ERROR", 84_148_236, External, "A change to a table could not be committed.";
    IcebergCatalogError = "ICEBERG_CATALOG_ERROR", 84_148_237, External, "The catalog failed.";
    CatalogUnavailable = "CATALOG_UNAVAILABLE", 125, External, "The catalog's server cannot be reached.";
    StorageAccessDenied = "STORAGE_ACCESS_DENIED", 117_440_513, External, "Storage refused the credentials.";
    StorageUnavailable = "STORAGE_UNAVAILABLE", 117_440_514, External, "Storage cannot be reached.";
    CatalogAccessDenied = "CATALOG_ACCESS_DENIED", 117_440_520, External, "The catalog's server refused the credentials, or what was asked for with them.";
    ClusterStateUnavailable = "CLUSTER_STATE_UNAVAILABLE", 117_440_530, External, "etcd, which holds the state of the cluster, cannot be reached.";
    CommitStateUnknown = "COMMIT_STATE_UNKNOWN", 117_440_515, External, "It is not known whether the change was committed; look at the table's history before trying again.";
    ConfigurationInvalid = "CONFIGURATION_INVALID", 65_559, User, "The configuration is wrong.";
    BadFileRow = "BAD_FILE_ROW", 117_440_517, User, "A row of an input file cannot be read as the wanted columns.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether, and at which level, trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again.
    Never,
    /// The same task may succeed on another executor.
    Task,
    /// The same query may succeed from its start.
    Query,
}

/// A place in the SQL text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// The one error value: see the module's documentation.
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    message: String,
    hint: Option<String>,
    context: Vec<(&'static str, String)>,
    location: Option<Location>,
    retry: Retry,
    source: Option<Source>,
}

impl Error {
    /// An error of `code` with a message in lower case and without a full stop, that names the thing that is wrong.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, message: message.into(), hint: None, context: Vec::new(), location: None, retry: Retry::Never, source: None }))
    }

    /// A feature that is not there yet.
    pub fn not_supported(what: impl Into<String>) -> Self {
        Self::new(Code::NotSupported, what)
    }

    /// A defect: a state that should not be possible.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::new(Code::GenericInternalError, what)
    }

    /// Reads an error's text as `Display` writes it: its code, and all the rest as the message. `None` if no code stands at its start.
    pub fn from_display(text: &str) -> Option<Self> {
        let (name, message) = text.split_once(": ")?;
        let code = Code::ALL.iter().find(|code| code.name() == name)?;
        Some(Self::new(*code, message))
    }

    /// Adds what the user can do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds one key and value of context, such as the table or the file.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((key, value.into()));
        self
    }

    /// Adds the place in the SQL text.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.0.location = Some(location);
        self
    }

    /// Says that trying again can help.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error without the one that caused it: for consumers that share one failure.
    #[must_use]
    pub fn clone_without_source(&self) -> Self {
        let inner = &self.0;
        Self(Box::new(Inner {
            code: inner.code,
            message: inner.message.clone(),
            hint: inner.hint.clone(),
            context: inner.context.clone(),
            location: inner.location,
            retry: inner.retry,
            source: None,
        }))
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message alone, without code, context and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the user can do next.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Keys and values that say where it happened.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// The place in the SQL text.
    pub fn location(&self) -> Option<Location> {
        self.0.location
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The text a user reads: `line 1:15: table 'flight' does not exist (did you mean 'flights'?)`, without the code.
    pub fn user_message(&self) -> String {
        let mut text = String::new();
        if let Some(Location { line, column }) = self.0.location {
            text.push_str(&format!("line {line}:{column}: "));
        }
        text.push_str(&self.0.message);
        for (key, value) in &self.0.context {
            text.push_str(&format!(", {key}: {value}"));
        }
        if let Some(hint) = &self.0.hint {
            text.push_str(&format!(" ({hint})"));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.user_message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        let numbers: HashSet<_> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert_eq!(numbers.len(), Code::ALL.len());
    }

    #[test]
    fn text_has_code_place_context_and_hint() {
        let error = Error::new(Code::TableNotFound, "table 'flight' does not exist")
            .at(Location { line: 1, column: 15 })
            .with_context("schema", "nyc")
            .with_hint("did you mean 'flights'?");
        assert_eq!(error.to_string(), "TABLE_NOT_FOUND: line 1:15: table 'flight' does not exist, schema: nyc (did you mean 'flights'?)");
        let read = Error::from_display(&error.to_string()).unwrap();
        assert_eq!((read.code(), read.to_string()), (error.code(), error.to_string()));
        assert!(Error::from_display("os error: 2").is_none());
    }
}
