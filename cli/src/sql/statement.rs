//! What a client has to know about a statement: whether it gave rows or changed something, and how values are written.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;

use super::splitter;
use crate::client::Client;
use crate::failure::Failure;

/// The column in which the server tells how many rows a statement changed.
const ROWS_COLUMN: &str = "rows";
/// First words of statements that give rows.
const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE", "(", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXECUTE", "CALL"];
/// Statements that are named by what they are about, too.
const WITH_OBJECT: &[&str] = &["CREATE", "DROP", "ALTER", "SET", "RESET", "TRUNCATE", "COMMENT"];
/// Words between the verb and what it is about.
const BETWEEN: &[&str] = &["OR", "REPLACE", "EXTERNAL", "TEMPORARY"];

/// Whether a statement changes something, and the `rows` column counts it.
pub(crate) fn is_update(sql: &str, schema: &Schema) -> bool {
    let counts = matches!(schema.fields().as_ref(), [field] if field.name() == ROWS_COLUMN && field.data_type() == &DataType::Int64);
    counts && splitter::words(sql).next().is_some_and(|word| !QUERIES.contains(&word.as_str()))
}

/// The name of a statement in reports: `INSERT`, `CREATE TABLE`.
pub(crate) fn name(sql: &str) -> String {
    let mut words = splitter::words(sql);
    let verb = words.next().unwrap_or_default();
    if !WITH_OBJECT.contains(&verb.as_str()) {
        return verb;
    }
    match words.find(|word| !BETWEEN.contains(&word.as_str())) {
        Some(object) => format!("{verb} {object}"),
        None => verb,
    }
}

/// Whether a statement may have changed which tables and columns there are.
pub(crate) fn changes_names(sql: &str) -> bool {
    splitter::words(sql).next().is_some_and(|verb| matches!(verb.as_str(), "CREATE" | "DROP" | "ALTER"))
}

/// Whether a statement changes what unqualified names mean.
pub(crate) fn is_use(sql: &str) -> bool {
    splitter::words(sql).next().is_some_and(|verb| verb == "USE")
}

/// The one number that batches hold: an update's count of rows. `None` where there is none.
pub(crate) fn one_number(batches: &[RecordBatch]) -> Option<i64> {
    let counts = batches.iter().find(|batch| batch.num_rows() > 0)?.column(0).as_primitive_opt::<Int64Type>()?;
    counts.is_valid(0).then(|| counts.value(0))
}

/// Runs a statement whose result is one number, and gives it: the count of rows that it changed.
pub(crate) async fn run(client: &mut Client, sql: &str) -> Result<Option<i64>, Failure> {
    let execution = client.execute(sql).await?;
    let batches: Vec<_> = execution.rows.try_collect().await.map_err(|error| client.failed(&error))?;
    if is_use(sql) {
        client.after_use();
    }
    Ok(one_number(&batches))
}

/// `3 rows`, `1 row`.
pub(crate) fn count(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// A text as SQL writes it.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn statements_are_named() {
        for (sql, expected) in [
            ("insert into t values (1)", "INSERT"),
            ("CREATE TABLE t AS SELECT 1", "CREATE TABLE"),
            ("create or replace view v as select 1", "CREATE VIEW"),
            ("-- c\nset session a = 'b'", "SET SESSION"),
            ("copy into t from 'x'", "COPY"),
            ("use s", "USE"),
        ] {
            assert_eq!(name(sql), expected);
        }
    }

    #[test]
    fn updates_are_told_from_queries() {
        let counted = Schema::new(vec![Field::new("rows", DataType::Int64, true)]);
        assert!(is_update("insert into t select 1", &counted));
        assert!(!is_update("select count(*) as rows from t", &counted));
        assert!(!is_update("(select 1 as rows)", &counted));
        assert!(!is_update("insert into t select 1", &Schema::new(vec![Field::new("rows", DataType::Utf8, true)])));
    }

    #[test]
    fn texts_are_quoted() {
        assert_eq!(literal("it's"), "'it''s'");
    }
}
