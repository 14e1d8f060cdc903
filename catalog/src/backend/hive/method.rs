//! The calls of the metastore that we make, and the exceptions that it declares for them (`hive_metastore.thrift`; the fields of arguments and results are where they are used).

use self::ExceptionKind as E;

/// A call.
#[derive(Debug)]
pub(super) struct Method {
    /// Its name.
    pub(super) name: &'static str,
    /// What the fields of its result mean, from the first one on. Field 0 is what it gives.
    pub(super) exceptions: &'static [ExceptionKind],
    /// Whether it may be sent again when nobody knows whether it was carried out.
    pub(super) repeatable: bool,
}

/// What the metastore says instead of giving a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExceptionKind {
    /// There is such a thing already.
    AlreadyExists,
    /// What was given cannot be: a name that it does not take, or a database that is not there.
    InvalidObject,
    /// It cannot be done now: a database is not empty, a table is not there or another one has the name.
    InvalidOperation,
    /// Anything else, also failures of the database behind it.
    Meta,
    /// There is no such thing.
    NoSuchObject,
    /// There is no such lock, or no longer.
    NoSuchLock,
    /// Of transactions, which we have none of.
    Transaction,
    /// It does not know the call.
    UnknownMethod,
    /// A failure that it does not declare.
    Undeclared,
}

const fn read(name: &'static str, exceptions: &'static [ExceptionKind]) -> Method {
    Method { name, exceptions, repeatable: true }
}

const fn change(name: &'static str, exceptions: &'static [ExceptionKind]) -> Method {
    Method { name, exceptions, repeatable: false }
}

pub(super) static GET_VERSION: Method = read("getVersion", &[]);
pub(super) static SET_UGI: Method = read("set_ugi", &[E::Meta]);
pub(super) static SET_META_CONF: Method = read("setMetaConf", &[E::Meta]);

pub(super) static GET_ALL_DATABASES: Method = read("get_all_databases", &[E::Meta]);
pub(super) static GET_DATABASE: Method = read("get_database", &[E::NoSuchObject, E::Meta]);
pub(super) static CREATE_DATABASE: Method = change("create_database", &[E::AlreadyExists, E::InvalidObject, E::Meta]);
/// May be sent again: what is set twice is as if it were set once.
pub(super) static ALTER_DATABASE: Method = read("alter_database", &[E::Meta, E::NoSuchObject]);
pub(super) static DROP_DATABASE: Method = change("drop_database", &[E::NoSuchObject, E::InvalidOperation, E::Meta]);

pub(super) static GET_ALL_TABLES: Method = read("get_all_tables", &[E::Meta]);
pub(super) static GET_TABLE_NAMES_BY_FILTER: Method = read("get_table_names_by_filter", &[E::Meta, E::InvalidOperation, E::NoSuchObject]);
pub(super) static GET_TABLE_OBJECTS: Method = read("get_table_objects_by_name_req", &[E::Meta, E::InvalidOperation, E::NoSuchObject]);
/// From version 3 on.
pub(super) static GET_TABLE_REQ: Method = read("get_table_req", &[E::Meta, E::NoSuchObject]);
/// Up to version 3.
pub(super) static GET_TABLE: Method = read("get_table", &[E::Meta, E::NoSuchObject]);

pub(super) static CREATE_TABLE: Method = change("create_table", &[E::AlreadyExists, E::InvalidObject, E::Meta, E::NoSuchObject]);
pub(super) static ALTER_TABLE: Method = change("alter_table_with_environment_context", &[E::InvalidOperation, E::Meta]);
pub(super) static DROP_TABLE: Method = change("drop_table", &[E::NoSuchObject, E::Meta]);

pub(super) static LOCK: Method = change("lock", &[E::Transaction, E::Transaction]);
pub(super) static CHECK_LOCK: Method = read("check_lock", &[E::Transaction, E::Transaction, E::NoSuchLock]);
/// May be sent again: then the lock is not there any more, which is what was wanted.
pub(super) static UNLOCK: Method = read("unlock", &[E::NoSuchLock, E::Transaction]);
pub(super) static HEARTBEAT: Method = read("heartbeat", &[E::NoSuchLock, E::Transaction, E::Transaction]);
pub(super) static SHOW_LOCKS: Method = read("show_locks", &[]);
