//! GetSqlInfo: what the server is and what its SQL can do.
//!
//! Every code that JDBC's driver asks for is here, since its older versions fail on a missing one, and none that it does not know, since it fails on
//! these as well. Its types are the protocol's: bit masks and ordinals are int32, sizes and the isolation level int64.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayData, RecordBatch, make_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UnionFields, UnionMode};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity, SqlSupportedElementActions, SqlSupportedGroupBy,
    SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions,
    SqlSupportsConvert, SqlTransactionIsolationLevel, SupportedSqlGrammar,
};

use crate::limits;

/// The version of the Arrow format's columnar specification.
const ARROW_FORMAT_VERSION: &str = "1.5";

/// The bits of SQL-92's entry level. The higher levels want more than is there, such as transactions.
const ANSI92_ENTRY: i32 = 1;

/// Keywords beyond SQL:2003's.
const KEYWORDS: &[&str] = &[
    "ANALYZE",
    "CATALOGS",
    "COLUMNS",
    "DATABASES",
    "EXPLAIN",
    "FUNCTIONS",
    "IF",
    "ILIKE",
    "LIMIT",
    "OFFSET",
    "OPTIMIZE",
    "OVERWRITE",
    "PREPARE",
    "QUALIFY",
    "RENAME",
    "REPLACE",
    "RESET",
    "SCHEMAS",
    "SESSION",
    "SHOW",
    "TABLES",
    "TRY_CAST",
    "USE",
    "VERBOSE",
    "VIEW",
];

/// Functions by kind: those of DataFusion that the engine has under the same name.
const NUMERIC_FUNCTIONS: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "cbrt", "ceil", "cos", "cosh", "degrees", "exp", "floor", "ln", "log", "log10", "log2", "pi", "power",
    "radians", "random", "round", "signum", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
];

const STRING_FUNCTIONS: &[&str] = &[
    "chr",
    "concat",
    "concat_ws",
    "length",
    "levenshtein",
    "lower",
    "lpad",
    "ltrim",
    "regexp_like",
    "regexp_replace",
    "replace",
    "reverse",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "translate",
    "trim",
    "upper",
];

const SYSTEM_FUNCTIONS: &[&str] = &["coalesce", "nullif", "version"];

const DATETIME_FUNCTIONS: &[&str] =
    &["current_date", "current_time", "current_timestamp", "date_part", "date_trunc", "extract", "from_unixtime", "now", "to_timestamp"];

/// The infos.
pub(super) struct SqlInfos {
    data: SqlInfoData,
    schema: SchemaRef,
}

impl SqlInfos {
    /// All infos.
    pub(super) fn build() -> Result<Self, FlightError> {
        let schema = Schema::new(vec![Field::new("info_name", DataType::UInt32, false), Field::new("value", value_type(), false)]);
        Ok(Self { data: build_data()?, schema: Arc::new(schema) })
    }

    /// The schema of GetSqlInfo.
    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The infos of the given codes; of all when there is none.
    pub(super) fn rows(&self, codes: Vec<u32>) -> Result<RecordBatch, FlightError> {
        let rows = self.data.record_batch(codes)?;
        let values = retyped(rows.column(1).to_data(), self.schema.field(1).data_type())?;
        Ok(RecordBatch::try_new(self.schema(), vec![rows.column(0).clone(), make_array(values)])?)
    }
}

/// The type of a value, with the names of the protocol: arrow-flight's builder has others inside, and JDBC's driver reads maps by name.
fn value_type() -> DataType {
    let list = |name: &str, element| DataType::List(Arc::new(Field::new(name, element, true)));
    let entry = [Field::new("key", DataType::Int32, false), Field::new("value", list("$data$", DataType::Int32), true)];
    let entries = Field::new("entries", DataType::Struct(entry.to_vec().into()), false);
    let fields = [
        Field::new("string_value", DataType::Utf8, false),
        Field::new("bool_value", DataType::Boolean, false),
        Field::new("bigint_value", DataType::Int64, false),
        Field::new("int32_bitmask", DataType::Int32, false),
        Field::new("string_list", list("string_data", DataType::Utf8), true),
        Field::new("int32_to_int32_list_map", DataType::Map(Arc::new(entries), false), true),
    ];
    DataType::Union(UnionFields::from_fields(fields), UnionMode::Dense)
}

/// The same data under a type that differs only in the names of fields.
fn retyped(data: ArrayData, data_type: &DataType) -> Result<ArrayData, ArrowError> {
    let children: Vec<&DataType> = match data_type {
        DataType::List(field) | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        _ => Vec::new(),
    };
    let children = data.child_data().iter().zip(children).map(|(child, data_type)| retyped(child.clone(), data_type));
    let children = children.collect::<Result<Vec<_>, _>>()?;
    data.into_builder().data_type(data_type.clone()).child_data(children).build()
}

fn build_data() -> Result<SqlInfoData, FlightError> {
    let mut infos = SqlInfoDataBuilder::new();
    append_server(&mut infos);
    append_names(&mut infos);
    append_words(&mut infos);
    append_grammar(&mut infos);
    append_sizes(&mut infos);
    append_transactions(&mut infos);
    append_results(&mut infos);
    infos.build()
}

fn append_server(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::FlightSqlServerName, "nunatak");
    infos.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    infos.append(SqlInfo::FlightSqlServerArrowVersion, ARROW_FORMAT_VERSION);
    infos.append(SqlInfo::FlightSqlServerReadOnly, false);
    infos.append(SqlInfo::FlightSqlServerSql, true);
    infos.append(SqlInfo::FlightSqlServerSubstrait, false);
    infos.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    infos.append(SqlInfo::FlightSqlServerCancel, true);
    infos.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    infos.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    infos.append(SqlInfo::FlightSqlServerStatementTimeout, i32::try_from(limits::PREPARED_IDLE_MAX.as_millis()).unwrap_or(i32::MAX));
    infos.append(SqlInfo::FlightSqlServerTransactionTimeout, 0);
}

/// How catalogs, schemas and tables are named and handled.
fn append_names(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::SqlDdlCatalog, false);
    infos.append(SqlInfo::SqlDdlSchema, true);
    infos.append(SqlInfo::SqlDdlTable, true);
    // As in Trino, names are in lower case, quoted or not.
    infos.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    infos.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    infos.append(SqlInfo::SqlAllTablesAreSelectable, true);
    infos.append(SqlInfo::SqlSearchStringEscape, "\\");
    infos.append(SqlInfo::SqlExtraNameCharacters, "");
    infos.append(SqlInfo::SqlSchemaTerm, "schema");
    infos.append(SqlInfo::SqlProcedureTerm, "procedure");
    infos.append(SqlInfo::SqlCatalogTerm, "catalog");
    infos.append(SqlInfo::SqlCatalogAtStart, true);
    let actions = bits(&[SqlSupportedElementActions::SqlElementInPrivilegeDefinitions as i32]);
    infos.append(SqlInfo::SqlSchemasSupportedActions, actions);
    infos.append(SqlInfo::SqlCatalogsSupportedActions, actions);
}

fn append_words(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::SqlKeywords, KEYWORDS);
    infos.append(SqlInfo::SqlNumericFunctions, NUMERIC_FUNCTIONS);
    infos.append(SqlInfo::SqlStringFunctions, STRING_FUNCTIONS);
    infos.append(SqlInfo::SqlSystemFunctions, SYSTEM_FUNCTIONS);
    infos.append(SqlInfo::SqlDatetimeFunctions, DATETIME_FUNCTIONS);
}

fn append_grammar(infos: &mut SqlInfoDataBuilder) {
    // The default of ORDER BY is NULLS LAST, ascending and descending.
    infos.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedAtEnd as i32);
    infos.append(SqlInfo::SqlNullPlusNullIsNull, true);
    infos.append(SqlInfo::SqlSupportsConvert, conversions());
    for supported in [
        SqlInfo::SqlSupportsColumnAliasing,
        SqlInfo::SqlSupportsTableCorrelationNames,
        SqlInfo::SqlSupportsExpressionsInOrderBy,
        SqlInfo::SqlSupportsOrderByUnrelated,
        SqlInfo::SqlSupportsLikeEscapeClause,
        SqlInfo::SqlSupportsNonNullableColumns,
        SqlInfo::SqlCorrelatedSubqueriesSupported,
    ] {
        infos.append(supported, true);
    }
    for unsupported in [
        SqlInfo::SqlSupportsDifferentTableCorrelationNames,
        SqlInfo::SqlSupportsIntegrityEnhancementFacility,
        SqlInfo::SqlSelectForUpdateSupported,
        SqlInfo::SqlStoredProceduresSupported,
    ] {
        infos.append(unsupported, false);
    }
    let group_by = [SqlSupportedGroupBy::SqlGroupByUnrelated as i32, SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32];
    infos.append(SqlInfo::SqlSupportedGroupBy, bits(&group_by));
    let grammar = [SupportedSqlGrammar::SqlMinimumGrammar as i32, SupportedSqlGrammar::SqlCoreGrammar as i32];
    infos.append(SqlInfo::SqlSupportedGrammar, bits(&grammar));
    infos.append(SqlInfo::SqlAnsi92SupportedLevel, ANSI92_ENTRY);
    let joins = [SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32, SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32];
    infos.append(SqlInfo::SqlOuterJoinsSupportLevel, bits(&joins));
    infos.append(SqlInfo::SqlSupportedPositionedCommands, bits(&[]));
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
    ];
    infos.append(SqlInfo::SqlSupportedSubqueries, bits(&subqueries));
    infos.append(SqlInfo::SqlSupportedUnions, bits(&[SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32]));
}

/// Sizes; 0 means that there is no limit, or none that is known.
fn append_sizes(infos: &mut SqlInfoDataBuilder) {
    for unlimited in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatementLength,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
    ] {
        infos.append(unlimited, 0_i64);
    }
    infos.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, true);
}

fn append_transactions(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::SqlDefaultTransactionIsolation, i64::from(SqlTransactionIsolationLevel::SqlTransactionNone as i32));
    infos.append(SqlInfo::SqlTransactionsSupported, false);
    let levels = bits(&[SqlTransactionIsolationLevel::SqlTransactionNone as i32]);
    infos.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, levels);
    infos.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    infos.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    infos.append(SqlInfo::SqlSavepointsSupported, false);
}

/// How results and parameters are handled.
fn append_results(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::SqlSupportedResultSetTypes, bits(&[SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32]));
    let read_only = bits(&[SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32]);
    infos.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, read_only);
    for none in [
        SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
    ] {
        infos.append(none, bits(&[]));
    }
    infos.append(SqlInfo::SqlBatchUpdatesSupported, true);
    infos.append(SqlInfo::SqlNamedParametersSupported, false);
    infos.append(SqlInfo::SqlLocatorsUpdateCopy, false);
    infos.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
}

/// What CAST can turn into what.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    use SqlSupportsConvert as Convert;
    let numbers = [
        Convert::SqlConvertTinyint,
        Convert::SqlConvertSmallint,
        Convert::SqlConvertInteger,
        Convert::SqlConvertBigint,
        Convert::SqlConvertReal,
        Convert::SqlConvertFloat,
        Convert::SqlConvertDecimal,
        Convert::SqlConvertNumeric,
        Convert::SqlConvertBit,
    ];
    let times = [Convert::SqlConvertDate, Convert::SqlConvertTimestamp];
    let texts = [Convert::SqlConvertVarchar, Convert::SqlConvertChar];
    let to = |groups: &[&[Convert]]| groups.concat().into_iter().map(|target| target as i32).collect::<Vec<_>>();
    let mut conversions = BTreeMap::new();
    conversions.extend(numbers.map(|from| (from as i32, to(&[&numbers, &texts]))));
    conversions.extend(times.map(|from| (from as i32, to(&[&times, &texts]))));
    conversions.extend(texts.map(|from| (from as i32, to(&[&numbers, &times, &texts, &[Convert::SqlConvertTime]]))));
    conversions.insert(Convert::SqlConvertTime as i32, to(&[&[Convert::SqlConvertTime], &texts]));
    conversions
}

/// A bit mask with the given bits set.
fn bits(positions: &[i32]) -> i32 {
    positions.iter().fold(0, |mask, position| mask | 1 << position)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, UInt32Array, UnionArray};

    use super::*;

    type Anything = Box<dyn std::error::Error>;

    #[test]
    fn every_code_of_sql_is_answered() -> Result<(), Anything> {
        let rows = SqlInfos::build()?.rows(Vec::new())?;
        let names = rows.column(0).as_any().downcast_ref::<UInt32Array>().ok_or("names are not uint32")?;
        let names: Vec<u32> = names.values().to_vec();
        let wanted = (0..=5).chain(8..=11).chain(100..=101).chain(500..=576);
        assert_eq!(names, wanted.collect::<Vec<u32>>());
        Ok(())
    }

    fn value_type_of(name: &str) -> Result<DataType, Anything> {
        let DataType::Union(fields, _) = value_type() else { return Err("the value is not a union".into()) };
        let field = fields.iter().find(|(_, field)| field.name() == name).ok_or("there is no such value")?;
        Ok(field.1.data_type().clone())
    }

    #[test]
    fn asked_for_codes_have_the_types_that_drivers_cast_to() -> Result<(), Anything> {
        let infos = SqlInfos::build()?;
        let cases = [
            (SqlInfo::FlightSqlServerName, DataType::Utf8),
            (SqlInfo::FlightSqlServerReadOnly, DataType::Boolean),
            (SqlInfo::FlightSqlServerTransaction, DataType::Int32),
            (SqlInfo::SqlSupportedGrammar, DataType::Int32),
            (SqlInfo::SqlMaxTablesInSelect, DataType::Int64),
            (SqlInfo::SqlDefaultTransactionIsolation, DataType::Int64),
            (SqlInfo::SqlSupportsConvert, value_type_of("int32_to_int32_list_map")?),
        ];
        for (info, wanted) in cases {
            let rows = infos.rows(vec![info as u32])?;
            let values = rows.column(1).as_any().downcast_ref::<UnionArray>().ok_or("values are not a union")?;
            assert_eq!((values.len(), values.value(0).data_type()), (1, &wanted), "{info:?}");
        }
        Ok(())
    }
}
