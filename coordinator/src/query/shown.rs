//! What others are shown of a statement, in the log and in lists of queries: nothing of one that may have secrets in it.

use super::Session;

/// How much of a long statement the log and lists have.
const CHARACTERS_MAX: usize = 500;

impl Session {
    /// A statement of this session as others are shown it. The values that a prepared one is executed with can be secrets, too.
    pub fn shown<'a>(&self, sql: &'a str) -> &'a str {
        if makes_catalog(sql) {
            return "CREATE CATALOG ...";
        }
        let executes = || words(sql).any(|word| word.eq_ignore_ascii_case("execute"));
        if self.prepared.iter().flatten().any(|(_, text)| makes_catalog(text)) && executes() {
            return "EXECUTE ...";
        }
        sql
    }

    /// The start of a long one.
    pub(super) fn start_shown<'a>(&self, sql: &'a str) -> &'a str {
        self.shown(sql.char_indices().nth(CHARACTERS_MAX).map_or(sql, |(end, _)| &sql[..end]))
    }
}

/// Whether `CREATE CATALOG` is in a text. Where a comment ends that stands between both words is not looked at: what comes behind it can be anything.
fn makes_catalog(text: &str) -> bool {
    let is_catalog = |word: &str| word.eq_ignore_ascii_case("catalog");
    let mut rest = text;
    while let Some(start) = rest.find(char::is_alphanumeric) {
        let from_word = &rest[start..];
        let (word, after) = from_word.split_at(from_word.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(from_word.len()));
        rest = after;
        if !word.eq_ignore_ascii_case("create") {
            continue;
        }
        let behind = after.trim_start();
        if behind.starts_with("--") || behind.starts_with("/*") {
            return words(behind).any(is_catalog);
        }
        if words(behind).next().is_some_and(is_catalog) {
            return true;
        }
    }
    false
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn statements_that_make_catalogs_are_not_shown() {
        let session = Session::new("ada", "lake", None);
        for sql in [
            "CREATE CATALOG c USING rest WITH (token = 's3cr3t')",
            "explain create\n\tcatalog c USING rest WITH (token = 's3cr3t')",
            "CREATE /* of a team */ CATALOG c USING rest WITH (token = 's3cr3t')",
            "CREATE /* a /* b */ c */ CATALOG c USING rest WITH (token = 's3cr3t')",
            "CREATE -- of a team\nCATALOG c USING rest WITH (token = 's3cr3t')",
            "EXECUTE IMMEDIATE 'CREATE CATALOG c USING rest WITH (token = ?)' USING 's3cr3t'",
            "CREATE OR REPLACE VIEW v AS SELECT 1; CREATE CATALOG c USING rest WITH (token = 's3cr3t')",
        ] {
            assert_eq!(session.shown(sql), "CREATE CATALOG ...", "{sql}");
        }
        for sql in ["SELECT 1", "CREATE", "CREATE TABLE catalog.s.t (a int)", "CREATE /* c */ TABLE t (a int)", "SHOW CATALOGS", "EXECUTE p USING 1"]
        {
            assert_eq!(session.shown(sql), sql);
        }
        assert_eq!(session.start_shown(&"ü".repeat(501)).chars().count(), 500);
    }

    #[test]
    fn values_of_prepared_ones_are_not_either() {
        let mut session = Session::new("ada", "lake", None);
        session.prepared = Some(BTreeMap::from([("p".to_owned(), "SELECT ?".to_owned())]));
        assert_eq!(session.shown("EXECUTE p USING 1"), "EXECUTE p USING 1");
        session.prepared = Some(BTreeMap::from([("p".to_owned(), "CREATE CATALOG c USING rest WITH (token = ?)".to_owned())]));
        assert_eq!((session.shown("execute p USING 's3cr3t'"), session.shown("SELECT 1")), ("EXECUTE ...", "SELECT 1"));
    }
}
