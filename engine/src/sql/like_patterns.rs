//! Patterns of `LIKE`. In DataFusion a backslash takes the meaning from what follows it, always; in Trino it is a character like any other, and only what `ESCAPE` names does so.

use datafusion::sql::sqlparser::ast::{CastKind, DataType, Expr, Value, ValueWithSpan};
use nunatak_core::{Code, Error, Result};

/// What escapes in the patterns that DataFusion is given.
const ESCAPE: char = '\\';

/// Gives a `LIKE` the pattern that means the same with a backslash as its escape. Patterns that are not written out stay as they are.
///
/// With an escape that is NULL it is NULL.
///
/// Errors: `INVALID_FUNCTION_ARGUMENT` for what escapes nothing, `NOT_SUPPORTED` for an escape of a pattern that is not written out.
pub(super) fn adapt(expression: &mut Expr) -> Result<()> {
    if let Expr::Like { escape_char: Some(escape), .. } | Expr::ILike { escape_char: Some(escape), .. } = expression
        && escape.value == Value::Null
    {
        let null = Box::new(Expr::Value(Value::Null.into()));
        *expression = Expr::Cast { kind: CastKind::Cast, expr: null, data_type: DataType::Boolean, array: false, format: None };
        return Ok(());
    }
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expression else { return Ok(()) };
    let escape = escape_char.as_ref().map(escape_of).transpose()?;
    match pattern.as_mut() {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(pattern), .. }) => {
            if escape.is_some() || pattern.contains(ESCAPE) {
                *pattern = translated(pattern, escape)?;
                // A pattern that is seen again stays as it is.
                *escape_char = Some(Value::SingleQuotedString(ESCAPE.to_string()).into());
            }
            Ok(())
        }
        _ if escape.is_some_and(|escape| escape != ESCAPE) => {
            Err(Error::not_supported(format!("the pattern '{pattern}' of a LIKE with ESCAPE is not written out"))
                .with_hint("write the pattern as a text, or use regexp_like"))
        }
        _ => Ok(()),
    }
}

fn escape_of(escape: &ValueWithSpan) -> Result<char> {
    let text = match &escape.value {
        Value::SingleQuotedString(text) => text.as_str(),
        _ => "",
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(escape), None) => Ok(escape),
        _ => Err(Error::new(Code::InvalidFunctionArgument, format!("ESCAPE must be a single character, not {escape}"))),
    }
}

/// The pattern with a backslash in place of its escape, and two of them for one that was a character.
fn translated(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut whole = String::with_capacity(pattern.len() + 2);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            match characters.next() {
                Some(escaped) if matches!(escaped, '%' | '_') || Some(escaped) == escape => push_plain(&mut whole, escaped),
                _ => {
                    let why = format!("in pattern '{pattern}' the escape '{character}' must be followed by '%', '_' or itself");
                    return Err(Error::new(Code::InvalidFunctionArgument, why));
                }
            }
        } else if matches!(character, '%' | '_') {
            whole.push(character);
        } else {
            push_plain(&mut whole, character);
        }
    }
    Ok(whole)
}

/// Adds a character that means itself.
fn push_plain(pattern: &mut String, character: char) {
    if matches!(character, '%' | '_' | ESCAPE) {
        pattern.push(ESCAPE);
    }
    pattern.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_backslashes() {
        for (pattern, escape, expected) in [
            (r"a#_b%", Some('#'), r"a\_b%"),
            (r"a##", Some('#'), "a#"),
            (r"a\%b\\", Some('\\'), r"a\%b\\"),
            (r"a\b_", None, r"a\\b_"),
            (r"\#%", Some('#'), r"\\\%"),
            ("a%%", Some('%'), r"a\%"),
        ] {
            assert_eq!(translated(pattern, escape).unwrap(), expected, "{pattern}");
        }
        for (pattern, escape) in [("a#", '#'), ("a#b", '#')] {
            assert_eq!(translated(pattern, Some(escape)).unwrap_err().code(), Code::InvalidFunctionArgument);
        }
    }
}
