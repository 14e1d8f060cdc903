//! What Tab offers: keywords, and the names of schemas, tables and columns.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::metadata::Metadata;
use super::{name, shell, splitter};

const KEYWORDS: &str = "\
    ALL ALTER ANALYZE AND AS ASC BETWEEN BY CASE CAST COPY CREATE CROSS CURRENT_DATE CURRENT_TIMESTAMP DELETE DESC DESCRIBE DISTINCT DROP ELSE \
    END EXCEPT EXISTS EXPLAIN EXTRACT FALSE FETCH FILTER FOR FROM FULL GROUP HAVING IF IN INNER INSERT INTERSECT INTERVAL INTO IS JOIN LEFT \
    LIKE LIMIT NATURAL NOT NULL OF OFFSET ON OR ORDER OUTER OVER PARTITION RENAME REPLACE RESET RIGHT ROWS SCHEMA SCHEMAS SELECT SESSION SET \
    SHOW TABLE TABLES THEN TIMESTAMP TO TRUE UNION UNNEST UPDATE USE USING VALUES VERSION VIEW WHEN WHERE WITH";

/// The shell's help to its line editor: completion, and whether the text is ready to run.
pub(super) struct Assistant {
    metadata: Metadata,
}

impl Assistant {
    pub(super) fn new(metadata: Metadata) -> Self {
        Self { metadata }
    }

    fn candidates(&self, line: &str, word: &str) -> Vec<String> {
        let mut candidates = match word.rsplit_once('.') {
            Some((qualifier, _)) => self.qualified(line, qualifier),
            None => self.unqualified(line, word),
        };
        let wanted = word.to_lowercase();
        candidates.retain(|candidate| candidate.to_lowercase().starts_with(&wanted));
        candidates.sort();
        candidates.dedup();
        candidates
    }

    fn unqualified(&self, line: &str, word: &str) -> Vec<String> {
        let is_lower = word.starts_with(|c: char| c.is_lowercase());
        let mut candidates: Vec<_> = KEYWORDS.split(' ').map(|keyword| if is_lower { keyword.to_lowercase() } else { keyword.to_owned() }).collect();
        {
            let names = self.metadata.names();
            candidates.extend(names.schemas.iter().map(|schema| name::typed(schema)));
            candidates.extend(names.tables.iter().map(|(_, table)| name::typed(table)));
        }
        candidates.extend(self.columns(line));
        candidates
    }

    /// `schema.table`, and `alias.column` with any alias.
    fn qualified(&self, line: &str, qualifier: &str) -> Vec<String> {
        let mut candidates: Vec<_> = {
            let names = self.metadata.names();
            names.tables.iter().map(|(schema, table)| format!("{}.{}", name::typed(schema), name::typed(table))).collect()
        };
        candidates.extend(self.columns(line).into_iter().map(|column| format!("{qualifier}.{column}")));
        candidates
    }

    /// The columns of the tables that the text names.
    fn columns(&self, line: &str) -> Vec<String> {
        let mentioned: Vec<_> = {
            let words: Vec<_> = splitter::words(line).collect();
            let names = self.metadata.names();
            names.tables.iter().filter(|(_, name)| words.contains(&name.to_uppercase())).map(|(_, name)| name.clone()).collect()
        };
        mentioned.iter().flat_map(|table| self.metadata.columns(table)).map(|column| name::typed(&column)).collect()
    }
}

/// Where the word that ends at the cursor starts.
fn word_start(text: &str) -> usize {
    text.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '$'))).map_or(0, |at| {
        let width = text[at..].chars().next().map_or(1, char::len_utf8);
        at + width
    })
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _context: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let start = word_start(&line[..position]);
        let word = &line[start..position];
        Ok((start, if word.is_empty() { Vec::new() } else { self.candidates(line, word) }))
    }
}

impl Validator for Assistant {
    /// Enter runs a text that is ended by a semicolon, and starts a new line in any other.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let is_ready = shell::Command::parse(text).is_some() || splitter::is_complete(text);
        Ok(if is_ready { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_the_cursor() {
        for (text, word) in [("select * from ny", "ny"), ("select a,b.co", "b.co"), ("", ""), ("where ü=\"Na", "\"Na"), ("(sel", "sel")] {
            assert_eq!(&text[word_start(text)..], word);
        }
    }
}
