//! Sets of characters in patterns: what stands in brackets, and `\p{...}`.

use datafusion::error::Result;

use super::syntax::Translator;

/// What a set of characters is called within `[[:...:]]` and `\p{...}`, and its characters.
static NAMED: [(&str, &str); 13] = [
    ("alnum", r"\p{Alphabetic}\p{Nd}"),
    ("alpha", r"\p{Alphabetic}"),
    ("blank", r"\p{Zs}\t"),
    ("cntrl", r"\p{Cc}"),
    ("digit", r"\p{Nd}"),
    ("graph", r"[^\p{White_Space}\p{Cc}\p{Cn}]"),
    ("lower", r"\p{Lowercase}"),
    ("print", r"[^\p{Cc}\p{Cn}]"),
    ("punct", r"\p{P}"),
    ("space", r"\p{White_Space}"),
    ("upper", r"\p{Uppercase}"),
    ("word", r"\w"),
    ("xdigit", "0-9A-Fa-f"),
];

/// Names that only `\p{...}` knows.
static PROPERTIES: [(&str, &str); 3] = [("ascii", r"\x00-\x7F"), ("javalowercase", r"\p{Lowercase}"), ("javauppercase", r"\p{Uppercase}")];

/// Translates a set, whose first bracket has been read.
pub(super) fn translate(pattern: &mut Translator<'_>) -> Result<()> {
    open(pattern);
    let mut depth = 1;
    // Whether a range can begin with what was last written.
    let mut may_begin_range = false;
    while let Some(character) = pattern.next() {
        let begins = std::mem::take(&mut may_begin_range);
        match character {
            ']' => {
                pattern.out.push(']');
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            }
            '[' if named(pattern)? => {}
            '[' => {
                depth += 1;
                open(pattern);
            }
            '\\' => may_begin_range = escape(pattern)?,
            '&' if pattern.takes("&") => pattern.out.push_str("&&"),
            '-' if begins && ends_range(pattern.rest()) => pattern.out.push('-'),
            other => {
                pattern.literal(other);
                may_begin_range = other != '-';
            }
        }
    }
    Err(pattern.wrong("a bracket is not closed"))
}

fn open(pattern: &mut Translator<'_>) {
    pattern.out.push('[');
    if pattern.takes("^") {
        pattern.out.push('^');
    }
    // The first one does not close the set.
    if pattern.takes("]") {
        pattern.literal(']');
    }
}

/// Whether what is behind a hyphen is one character.
fn ends_range(rest: &str) -> bool {
    match rest.strip_prefix('\\') {
        Some(escaped) => !escaped.starts_with(['d', 'D', 'w', 'W', 's', 'S', 'p', 'P', 'Q', 'E']),
        None => !rest.starts_with([']', '[']),
    }
}

/// Translates `:alpha:]` and its like, if it is there.
fn named(pattern: &mut Translator<'_>) -> Result<bool> {
    let Some((name, _)) = pattern.rest().strip_prefix(':').and_then(|rest| rest.split_once(":]")) else { return Ok(false) };
    let bare = name.strip_prefix('^').unwrap_or(name);
    if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(false);
    }
    let Some((_, characters)) = NAMED.iter().find(|(known, _)| *known == bare) else {
        return Err(pattern.wrong(&format!("'{bare}' is no kind of characters")));
    };
    write(pattern, characters, bare != name);
    pattern.skip(name.len() + 3);
    Ok(true)
}

/// Translates what is behind `\p` and `\P`.
pub(super) fn property(pattern: &mut Translator<'_>, is_negated: bool) -> Result<()> {
    let rest = pattern.rest();
    let name = match rest.strip_prefix('{') {
        Some(inner) => {
            let (name, _) = inner.split_once('}').ok_or_else(|| pattern.wrong("the name of a property does not end"))?;
            pattern.skip(name.len() + 2);
            name
        }
        None => {
            let length = rest.chars().next().map_or(0, char::len_utf8);
            pattern.skip(length);
            rest.get(..length).unwrap_or_default()
        }
    };
    let bare = name.strip_prefix('^').unwrap_or(name);
    if bare.is_empty() || !bare.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | ' ' | '=' | '-')) {
        return Err(pattern.wrong(&format!("'{name}' is no property of characters")));
    }
    let is_negated = is_negated != (bare != name);
    let lower = bare.to_ascii_lowercase();
    match NAMED.iter().chain(&PROPERTIES).find(|(known, _)| *known == lower) {
        Some((_, characters)) => write(pattern, characters, is_negated),
        None => write(pattern, &format!("\\p{{{bare}}}"), is_negated),
    }
    Ok(())
}

fn write(pattern: &mut Translator<'_>, characters: &str, is_negated: bool) {
    pattern.out.push_str(if is_negated { "[^" } else { "[" });
    pattern.out.push_str(characters);
    pattern.out.push(']');
}

/// Translates an escape within brackets; whether a range can begin with it.
fn escape(pattern: &mut Translator<'_>) -> Result<bool> {
    match pattern.next().ok_or_else(|| pattern.wrong("a backslash needs a character behind it"))? {
        'd' => pattern.out.push_str("[0-9]"),
        'D' => pattern.out.push_str("[^0-9]"),
        'w' => pattern.out.push_str("[0-9A-Za-z_]"),
        'W' => pattern.out.push_str("[^0-9A-Za-z_]"),
        's' => pattern.out.push_str(r"[\t\n\x0B\x0C\r\x20]"),
        'S' => pattern.out.push_str(r"[^\t\n\x0B\x0C\r\x20]"),
        sign @ ('p' | 'P') => property(pattern, sign == 'P')?,
        'Q' => pattern.quoted(),
        'E' => {}
        'b' => pattern.literal('\u{8}'),
        other => {
            if let Some(character) = pattern.character(other)? {
                pattern.literal(character);
            }
            return Ok(true);
        }
    }
    Ok(false)
}
