//! What a client's session carries from statement to statement. Front doors keep it (by login, cookie or header) and pass it with each request.

use std::collections::BTreeMap;

use uuid::Uuid;

/// A client's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who asks.
    pub user: String,
    /// The catalog that names without one mean.
    pub catalog: String,
    /// The schema that names without one mean; `None` until `USE` or a header names one.
    pub schema: Option<String>,
    /// Session properties by lower-case name, such as `execution_mode`. Checked by [`super::Coordinator::check_session_property`].
    pub properties: BTreeMap<String, String>,
    /// The texts of its prepared statements by name; `None` where the client's protocol has another way for them.
    pub prepared: Option<BTreeMap<String, String>>,
    /// Whether it is in a transaction.
    pub transaction: InTransaction,
    /// Where functions of users are looked for, as `SET PATH` says it; `None` where the client, or its protocol, has no place for it.
    pub path: Option<String>,
}

/// Whether a session is in a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InTransaction {
    /// It cannot be: its client, or the protocol, knows none.
    #[default]
    Never,
    /// It is in none.
    No,
    /// It is in this one.
    Yes(Uuid),
}

/// What a statement changed in its session. The front door applies it to the session that it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// `SET SESSION name = value`.
    SetProperty {
        /// The property's name.
        name: String,
        /// Its new value.
        value: String,
    },
    /// `RESET SESSION name`.
    ResetProperty {
        /// The property's name.
        name: String,
    },
    /// `USE catalog.schema` or `USE schema`.
    Use {
        /// The catalog, when one was named.
        catalog: Option<String>,
        /// The schema.
        schema: String,
    },
    /// `PREPARE name FROM statement`; only in sessions that keep such statements.
    Prepare {
        /// What the statement is called.
        name: String,
        /// Its text.
        text: String,
    },
    /// `DEALLOCATE PREPARE name`, of one that the session has.
    Deallocate {
        /// What the statement is called.
        name: String,
    },
    /// `START TRANSACTION`.
    StartTransaction {
        /// Its id.
        id: Uuid,
    },
    /// `COMMIT` or `ROLLBACK`.
    EndTransaction,
    /// `SET ROLE`.
    SetRole {
        /// The catalog whose role it is, or `system` for the whole server.
        catalog: String,
        /// `ALL` or `NONE`.
        role: &'static str,
    },
    /// `SET SESSION AUTHORIZATION user`.
    SetAuthorization {
        /// The user.
        user: String,
    },
    /// `RESET SESSION AUTHORIZATION`.
    ResetAuthorization,
    /// `SET PATH`.
    SetPath {
        /// The path, as SQL has it.
        path: String,
    },
}

impl Session {
    /// A session of `user` with the given defaults.
    pub fn new(user: impl Into<String>, catalog: impl Into<String>, schema: Option<String>) -> Self {
        Self {
            user: user.into(),
            catalog: catalog.into(),
            schema,
            properties: BTreeMap::new(),
            prepared: None,
            transaction: InTransaction::Never,
            path: None,
        }
    }
}
