//! Splitting a text into statements at its semicolons, but not at those in quotes, comments and dollar strings.

/// A statement of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// Its text without the semicolon.
    pub(crate) text: &'a str,
    /// The line on which it starts, from 1.
    pub(crate) line: usize,
    /// Whether a semicolon ended it.
    pub(crate) terminated: bool,
}

/// The statements of a text. Those without any word (blank, or comments alone) are left out.
pub(crate) fn split(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut has_word = false;
    let mut at = 0;
    while at < text.len() {
        let (end, token) = next_token(text, at);
        match token {
            Token::Semicolon => {
                push(&mut statements, text, start..at, has_word, true);
                start = end;
                has_word = false;
            }
            Token::Word => has_word = true,
            Token::Comment | Token::Blank => {}
            // An open comment is no word, but what stands after it is not known yet.
            Token::OpenComment => has_word = true,
        }
        at = end;
    }
    push(&mut statements, text, start..text.len(), has_word, false);
    statements
}

/// Whether a text can be run as it stands: everything in it is ended by a semicolon.
pub(crate) fn is_complete(text: &str) -> bool {
    split(text).last().is_none_or(|last| last.terminated)
}

/// The words of a statement in upper case, without comments and quoted parts.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let start = at;
            let (end, token) = next_token(text, at);
            at = end;
            if matches!(token, Token::Word) {
                return Some(text[start..end].to_uppercase());
            }
        }
        None
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Semicolon,
    /// Anything that counts: a word, a sign, a quoted part.
    Word,
    Blank,
    Comment,
    /// A block comment that does not end in this text.
    OpenComment,
}

fn push<'a>(statements: &mut Vec<Statement<'a>>, text: &'a str, range: std::ops::Range<usize>, has_word: bool, terminated: bool) {
    if !has_word {
        return;
    }
    let piece = &text[range.clone()];
    let start = range.start + (piece.len() - piece.trim_start().len());
    let line = 1 + text[..start].matches('\n').count();
    statements.push(Statement { text: piece.trim(), line, terminated });
}

/// The end of the token at `at`, and what it is.
fn next_token(text: &str, at: usize) -> (usize, Token) {
    let rest = &text[at..];
    let Some(first) = rest.chars().next() else { return (text.len(), Token::Blank) };
    match first {
        ';' => (at + 1, Token::Semicolon),
        '\'' | '"' => (quoted_end(text, at, first), Token::Word),
        '-' if rest.starts_with("--") => (rest.find('\n').map_or(text.len(), |end| at + end), Token::Comment),
        '/' if rest.starts_with("/*") => match rest[2..].find("*/") {
            Some(end) => (at + 2 + end + 2, Token::Comment),
            None => (text.len(), Token::OpenComment),
        },
        '$' => (dollar_string_end(text, at).unwrap_or(at + 1), Token::Word),
        c if is_word(c) => (rest.find(|c: char| !is_word(c) && c != '$').map_or(text.len(), |end| at + end), Token::Word),
        c if c.is_whitespace() => (at + c.len_utf8(), Token::Blank),
        c => (at + c.len_utf8(), Token::Word),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The end of a quoted part; a doubled quote inside it does not end it, but is simply the start of the next part.
fn quoted_end(text: &str, at: usize, quote: char) -> usize {
    text[at + 1..].find(quote).map_or(text.len(), |end| at + 1 + end + 1)
}

/// The end of `$tag$ ... $tag$`; `None` where the dollar starts no such string, as in the parameter `$1`.
fn dollar_string_end(text: &str, at: usize) -> Option<usize> {
    let tag_end = at + 1 + text[at + 1..].find('$')?;
    let tag = &text[at + 1..tag_end];
    if !tag.chars().all(is_word) || tag.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let delimiter = &text[at..=tag_end];
    Some(text[tag_end + 1..].find(delimiter).map_or(text.len(), |end| tag_end + 1 + end + delimiter.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text).iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn semicolons_end_statements() {
        assert_eq!(texts("select 1; select 2"), ["select 1", "select 2"]);
        assert_eq!(texts(" ;; select 1 ;\n ; "), ["select 1"]);
        assert_eq!(texts(""), Vec::<&str>::new());
    }

    #[test]
    fn semicolons_in_quotes_comments_and_dollar_strings_do_not() {
        for whole in [
            "select 'a;b'",
            "select 'it''s; fine'",
            "select \"a;b\"",
            "select \"a\"\";b\"",
            "select 1 -- no; end\n + 2",
            "select /* no; end */ 1",
            "select $$a;b$$",
            "select $tag$a;$$;b$tag$",
            "select * from \"t$files\" where a = $1",
            "select '-- ; '",
            "select 'ü;ö' as \"ß;\"",
        ] {
            assert_eq!(texts(&format!("{whole}; select 2;")), [whole, "select 2"]);
        }
        assert_eq!(texts("select t$a; select b$c"), ["select t$a", "select b$c"]);
        assert_eq!(texts("select $1; select $2"), ["select $1", "select $2"]);
    }

    #[test]
    fn comments_alone_are_no_statement() {
        assert_eq!(texts("-- nothing\n; /* nothing */ ;select 1 -- end"), ["select 1 -- end"]);
        assert_eq!(texts("-- about\nselect 1;"), ["-- about\nselect 1"]);
    }

    #[test]
    fn lines_are_counted() {
        let lines: Vec<_> = split("select 1;\n\nselect\n2; select 3").iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [1, 3, 4]);
    }

    #[test]
    fn open_parts_are_not_complete() {
        for open in ["select 1", "select 'a;", "select 1; select", "/* a;", "select $$a;", "select \"a;", "select 1 -- ;"] {
            assert!(!is_complete(open), "{open}");
        }
        for complete in ["", "  ", "select 1;", "select 1; -- done", "select 1;\n\n"] {
            assert!(is_complete(complete), "{complete}");
        }
    }

    #[test]
    fn words_are_found_behind_comments() {
        let words: Vec<_> = words("/* a */ create -- b\n or replace view v").collect();
        assert_eq!(words, ["CREATE", "OR", "REPLACE", "VIEW", "V"]);
    }
}
