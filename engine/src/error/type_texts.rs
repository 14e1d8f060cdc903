//! Arrow's type names within texts, as Trino writes them.

use std::str::FromStr;

use datafusion::arrow::datatypes::DataType;

use crate::type_name::type_name;

/// Types that are written with what they are of in parentheses.
const WITH_PARTS: [&str; 12] =
    ["List", "LargeList", "Struct", "Map", "Timestamp", "Time32", "Time64", "Decimal128", "Decimal256", "Dictionary", "FixedSizeBinary", "Interval"];

/// Writes the Arrow types in `text` as Trino's, and literals such as `Int64(1)` as their values. What stands within quotes is somebody's own.
pub(super) fn in_trino_terms(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted(rest),
            _ if first.is_alphanumeric() || first == '_' => word(rest),
            _ => first.len_utf8(),
        };
        let (head, tail) = rest.split_at(length);
        match replaced(head, tail) {
            Some((with, taken)) => {
                out.push_str(&with);
                rest = &tail[taken..];
            }
            None => {
                out.push_str(head);
                rest = tail;
            }
        }
    }
    out
}

/// What stands for a type or literal that starts with `head`, and how much of `tail` belongs to it.
fn replaced(head: &str, tail: &str) -> Option<(String, usize)> {
    let simple = DataType::from_str(head).ok().filter(|_| head.starts_with(char::is_uppercase));
    let Some(length) = enclosed(tail) else { return simple.map(|found| (type_name(&found), 0)) };
    if simple.is_some() {
        return Some((tail[1..length - 1].to_owned(), length));
    }
    if !WITH_PARTS.contains(&head) {
        return None;
    }
    let whole = format!("{head}{}", without_metadata(&tail[..length]));
    let found = DataType::from_str(&whole).ok()?;
    Some((type_name(&found), length))
}

/// The length of `(...)` at the start of `text`, with all that is nested in it.
fn enclosed(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(offset + 1),
            ')' => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Arrow shows the metadata of fields, and doesn't read it.
fn without_metadata(text: &str) -> String {
    let mut out = text.to_owned();
    while let Some(start) = out.find(", metadata: {") {
        let Some(end) = out[start..].find('}') else { break };
        out.replace_range(start..=start + end, "");
    }
    out
}

fn quoted(text: &str) -> usize {
    let mut characters = text.char_indices();
    let Some((_, quote)) = characters.next() else { return 0 };
    // An apostrophe without a partner is one.
    characters.find(|(_, character)| *character == quote).map_or(1, |(offset, _)| offset + 1)
}

fn word(text: &str) -> usize {
    text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_literals_are_replaced() {
        for (text, expected) in [
            ("cannot cast Int32 to Utf8View", "cannot cast integer to varchar"),
            ("List(Int64, field: 'element', metadata: {\"PARQUET:field_id\": \"10\"}) + Int64", "array(bigint) + bigint"),
            ("s.n.i > Int64(1)", "s.n.i > 1"),
            ("Timestamp(µs) - Decimal128(9, 2)", "timestamp(6) - decimal(9,2)"),
            ("cannot cast string 'Int64' to value of Date32 type", "cannot cast string 'Int64' to value of date type"),
            ("There isn't a Int8", "There isn't a tinyint"),
            ("Binary and Boolean", "varbinary and boolean"),
        ] {
            assert_eq!(in_trino_terms(text), expected);
        }
    }
}
