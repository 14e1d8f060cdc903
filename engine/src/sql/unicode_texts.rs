//! `U&'\0041'` and `U&'!+01F600' UESCAPE '!'`: texts with characters that are written by their numbers, of four digits or, behind a `+`, of six. `sqlparser` knows the backslash only.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use nunatak_core::{Code, Error, Location, Result};

use super::parse::is_word;

/// The tokens with plain texts in the place of these. Errors: `SYNTAX_ERROR` for what is no escape.
pub(super) fn decoded(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if !(0..tokens.len()).any(|at| starts(&tokens[at..])) {
        return Ok(tokens);
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if !starts(&tokens[at..]) {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let (start, text) = (tokens[at].span.start, &tokens[at + 2]);
        let placed = |message: String| Error::new(Code::SyntaxError, message).at(Location { line: start.line, column: start.column });
        let (escape, end) = match escape_behind(&tokens, at + 3) {
            Some((escape, end)) => (escape_of(escape).map_err(placed)?, end),
            None => ('\\', at + 2),
        };
        let Token::SingleQuotedString(written) = &text.token else { return Err(Error::internal("a text is no text")) };
        let mut span = text.span;
        (span.start, span.end) = (start, tokens[end].span.end);
        out.push(TokenWithSpan { token: Token::SingleQuotedString(decode(written, escape).map_err(placed)?), span });
        at = end + 1;
    }
    Ok(out)
}

/// Whether such a text starts here, without blanks before its quote.
fn starts(tokens: &[TokenWithSpan]) -> bool {
    match tokens {
        [prefix, and, text, ..] => {
            matches!(&prefix.token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case("u"))
                && and.token == Token::Ampersand
                && matches!(text.token, Token::SingleQuotedString(_))
                && prefix.span.end == and.span.start
                && and.span.end == text.span.start
        }
        _ => false,
    }
}

/// What `UESCAPE` says behind a text, and where that ends.
fn escape_behind(tokens: &[TokenWithSpan], from: usize) -> Option<(&str, usize)> {
    let next = |from: usize| (from..tokens.len()).find(|&at| !matches!(tokens[at].token, Token::Whitespace(_)));
    let word = next(from).filter(|&at| is_word(&tokens[at], "UESCAPE"))?;
    let end = next(word + 1)?;
    match &tokens[end].token {
        Token::SingleQuotedString(escape) => Some((escape, end)),
        _ => None,
    }
}

fn escape_of(text: &str) -> std::result::Result<char, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(escape), None) if escape.is_ascii_graphic() && !escape.is_ascii_hexdigit() && !matches!(escape, '"' | '+' | '\'') => Ok(escape),
        _ => Err(format!("'{text}' behind UESCAPE is no single character that may begin an escape")),
    }
}

fn decode(written: &str, escape: char) -> std::result::Result<String, String> {
    let mut text = String::with_capacity(written.len());
    let mut rest = written.chars();
    while let Some(character) = rest.next() {
        if character != escape {
            text.push(character);
            continue;
        }
        let rest_of_text = rest.as_str();
        let (digits, count) = match rest_of_text.strip_prefix('+') {
            Some(digits) => (digits, 6),
            None => (rest_of_text, 4),
        };
        if let Some(behind) = rest_of_text.strip_prefix(escape) {
            text.push(escape);
            rest = behind.chars();
            continue;
        }
        let number: String = digits.chars().take_while(char::is_ascii_hexdigit).take(count).collect();
        if number.len() < count {
            return Err(format!(
                "an escape '{escape}' in a text with U& has {count} hexadecimal digits{}",
                if count == 4 { ", or + and 6" } else { "" }
            ));
        }
        let code = u32::from_str_radix(&number, 16).ok().and_then(char::from_u32);
        text.push(code.ok_or_else(|| format!("there is no character with the number {number}"))?);
        rest = digits[count..].chars();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::super::dialect::TrinoDialect;
    use super::*;

    fn rewritten(sql: &str) -> Result<String> {
        let tokens = Tokenizer::new(&TrinoDialect, sql).tokenize_with_location().unwrap();
        let texts: Vec<String> = decoded(tokens)?.into_iter().map(|token| token.token.to_string()).filter(|text| text != "EOF").collect();
        Ok(texts.concat())
    }

    #[test]
    fn numbers_become_characters() {
        for (sql, expected) in [
            (r"select U&'\0041b\\' || u&'d\00E9\+01F600'", r"select 'Ab\' || 'dé😀'"),
            (r"select U&'!0041b!!\x' uescape '!', 1", r"select 'Ab!\x', 1"),
            ("select U&'it''s' /* c */ UESCAPE '#'", "select 'it's'"),
            ("select u & 'a', u, 'uescape'", "select u & 'a', u, 'uescape'"),
        ] {
            assert_eq!(rewritten(sql).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_escape_is_refused() {
        for sql in [
            r"U&'\004'",
            r"U&'\00g1'",
            r"U&'\+00004'",
            r"U&'a\'",
            r"U&'\D800'",
            r"U&'\+110000'",
            "U&'a' UESCAPE ''",
            "U&'a' UESCAPE 'xy'",
            "U&'a' UESCAPE '+'",
            "U&'a' UESCAPE 'b'",
        ] {
            assert_eq!(rewritten(sql).unwrap_err().code(), Code::SyntaxError, "{sql}");
        }
    }
}
