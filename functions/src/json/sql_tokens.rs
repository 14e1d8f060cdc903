//! The tokens of paths of SQL/JSON.

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Number(String),
    /// `$name`
    Variable(String),
    Mark(&'static str),
}

/// Marks, those before what they begin with.
const MARKS: [&str; 27] =
    ["..", "==", "<>", "!=", "<=", ">=", "&&", "||", "$", "@", ".", "*", "[", "]", "(", ")", "?", ",", "+", "-", "/", "%", "<", ">", "!", "=", ":"];

/// The tokens of a text; `None` if there is something else in it.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first == '"' {
            quoted(rest)?
        } else if first.is_ascii_digit() {
            let length = number_length(rest);
            (Token::Number(rest.get(..length)?.to_owned()), length)
        } else if is_word_start(first) {
            let length = word_length(rest);
            (Token::Word(rest.get(..length)?.to_owned()), length)
        } else if first == '$' && rest.chars().nth(1).is_some_and(is_word_start) {
            let length = 1 + word_length(rest.get(1..)?);
            (Token::Variable(rest.get(1..length)?.to_owned()), length)
        } else {
            let mark = MARKS.into_iter().find(|mark| rest.starts_with(mark))?;
            (Token::Mark(mark), mark.len())
        };
        found.push(token);
        rest = rest.get(length..)?.trim_start();
    }
    Some(found)
}

fn is_word_start(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len())
}

/// How much of the text is a number: `12`, `1.5`, `1e3`.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |start: usize| start + bytes.iter().skip(start).take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let start = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if digits(start) > start {
            end = digits(start);
        }
    }
    end
}

/// Text in quotes; two quotes in it are one.
fn quoted(text: &str) -> Option<(Token, usize)> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((place, character)) = characters.next() {
        if character != '"' {
            content.push(character);
        } else if characters.peek().is_some_and(|next| next.1 == '"') {
            characters.next();
            content.push('"');
        } else {
            return Some((Token::Text(content), place + 1));
        }
    }
    None
}
