//! Names as SQL writes them.

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name as one types it: in quotes where it needs them.
pub(crate) fn typed(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain && !name.starts_with(|c: char| c.is_ascii_digit()) { name.to_owned() } else { quoted(name) }
}

/// The parts of `a."B.c"`: `a` and `B.c`. Parts without quotes become lower case, as in SQL. `None` where the text is no name.
pub(crate) fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = if rest.starts_with('"') { quoted_part(rest)? } else { plain_part(rest)? };
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

fn plain_part(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_lowercase(), &text[end..]))
}

fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let (piece, after) = rest.split_once('"')?;
        part.push_str(piece);
        match after.strip_prefix('"') {
            Some(next) => {
                part.push('"');
                rest = next;
            }
            None if part.is_empty() => return None,
            None => return Some((part, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_needed() {
        assert_eq!(typed("flights"), "flights");
        assert_eq!(typed("Flights"), "\"Flights\"");
        assert_eq!(typed("2013"), "\"2013\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn names_are_taken_apart() {
        let owned = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(parts("Nyc.flights"), owned(&["nyc", "flights"]));
        assert_eq!(parts("a.\"B.\"\"c\""), owned(&["a", "B.\"c"]));
        for wrong in ["", "a.", ".a", "a..b", "\"a", "a b", "\"\""] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
