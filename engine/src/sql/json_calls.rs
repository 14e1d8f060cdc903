//! The functions of SQL/JSON have a grammar of their own: `json_value(x, 'lax $.a' RETURNING bigint DEFAULT 0 ON EMPTY)`. In the tokens of a statement they become calls of
//! functions with plain arguments, which take what else is said as text. What has another form is left as it is, for the parser to refuse.

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::parse::is_word;

/// How deeply calls within each other are read.
const NESTING_MAX: usize = 50;

/// The functions that have a grammar of their own.
const FUNCTIONS: [&str; 5] = ["JSON_EXISTS", "JSON_VALUE", "JSON_QUERY", "JSON_OBJECT", "JSON_ARRAY"];

/// Those whose results are JSON wherever JSON is wanted.
const CALLS_OF_JSON: [&str; 3] = ["$json_object", "$json_array", "$json_query"];

/// The tokens, with calls of plain functions in place of those of SQL/JSON, and of literals `JSON '...'`.
pub(super) fn plain(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is_word(token, "JSON") || is_function(token)) {
        return tokens;
    }
    let closings = closings(&tokens);
    plain_part(&tokens, &closings, 0, tokens.len(), 0)
}

fn is_function(token: &TokenWithSpan) -> bool {
    FUNCTIONS.iter().any(|name| is_word(token, name))
}

/// Where each parenthesis that opens is closed; its own place for others.
fn closings(tokens: &[TokenWithSpan]) -> Vec<usize> {
    let mut closings: Vec<usize> = (0..tokens.len()).collect();
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open.push(at),
            Token::RParen => {
                if let Some(start) = open.pop() {
                    closings[start] = at;
                }
            }
            _ => {}
        }
    }
    closings
}

fn plain_part(tokens: &[TokenWithSpan], closings: &[usize], start: usize, end: usize, depth: usize) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(end - start);
    let mut at = start;
    while at < end {
        let token = &tokens[at];
        let next = tokens.get(at + 1).filter(|_| at + 1 < end);
        if is_word(token, "JSON") && next.is_some_and(|next| matches!(next.token, Token::SingleQuotedString(_))) {
            let literal = tokens[at + 1..at + 2].to_vec();
            Output { span: token.span, tokens: &mut out }.call("$json_literal", vec![literal]);
            at += 2;
            continue;
        }
        let is_call = is_function(token) && next.is_some_and(|next| next.token == Token::LParen) && closings[at + 1] > at + 1;
        if !is_call || depth >= NESTING_MAX {
            out.push(token.clone());
            at += 1;
            continue;
        }
        let close = closings[at + 1];
        let inner = plain_part(tokens, closings, at + 2, close, depth + 1);
        let mut call = Vec::new();
        let is_read = read(token, &inner, &mut Output { span: token.span, tokens: &mut call }).is_some();
        if is_read {
            out.append(&mut call);
        } else {
            out.extend_from_slice(&tokens[at..at + 2]);
            out.extend(inner);
            out.push(tokens[close].clone());
        }
        at = close + 1;
    }
    out
}

/// Tokens in the place of others.
struct Output<'a> {
    span: Span,
    tokens: &'a mut Vec<TokenWithSpan>,
}

impl Output<'_> {
    fn push(&mut self, token: Token) {
        self.tokens.push(TokenWithSpan { token, span: self.span });
    }

    /// `"name"(argument, ...)`
    fn call(&mut self, name: &str, arguments: Vec<Vec<TokenWithSpan>>) {
        self.push(Token::make_word(name, Some('"')));
        self.push(Token::LParen);
        for (place, argument) in arguments.into_iter().enumerate() {
            if place > 0 {
                self.push(Token::Comma);
            }
            self.tokens.extend(argument);
        }
        self.push(Token::RParen);
    }

    fn text(&self, text: String) -> Vec<TokenWithSpan> {
        vec![TokenWithSpan { token: Token::SingleQuotedString(text), span: self.span }]
    }

    fn called(&self, name: &str, argument: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
        let mut tokens = Vec::with_capacity(argument.len() + 3);
        Output { span: self.span, tokens: &mut tokens }.call(name, vec![argument]);
        tokens
    }

    /// `CAST(value AS type)`
    fn cast(&self, value: &[TokenWithSpan], data_type: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
        let mut tokens = Vec::with_capacity(value.len() + data_type.len() + 4);
        let mut out = Output { span: self.span, tokens: &mut tokens };
        out.push(Token::make_keyword("CAST"));
        out.push(Token::LParen);
        out.tokens.extend_from_slice(value);
        out.push(Token::make_keyword("AS"));
        out.tokens.extend_from_slice(data_type);
        out.push(Token::RParen);
        tokens
    }
}

/// Writes the call of a plain function; `None` if what is within the parentheses has another form.
fn read(name: &TokenWithSpan, inner: &[TokenWithSpan], out: &mut Output<'_>) -> Option<()> {
    let clauses = (0..inner.len()).find(|&at| starts_clause(inner, at) && is_top(inner, at)).unwrap_or(inner.len());
    let (arguments, rest) = inner.split_at(clauses);
    let clauses = Clauses::read(rest, out)?;
    if is_word(name, "JSON_OBJECT") || is_word(name, "JSON_ARRAY") {
        return construct(is_word(name, "JSON_OBJECT"), arguments, &clauses, out);
    }
    let [input, path] = parts(arguments, |token| token.token == Token::Comma)[..] else { return None };
    // A name of the path is of no use.
    let path = parts(path, |token| is_word(token, "AS")).first().copied()?;
    if input.is_empty() || path.is_empty() || clauses.nulls.is_some() || clauses.unique.is_some() {
        return None;
    }
    let input = formatted(input, "$json_text", out)?;
    let is_value = is_word(name, "JSON_VALUE");
    let mut options = clauses.options();
    // What is longer is cut if it is a text, and no value otherwise.
    if let [_, _, TokenWithSpan { token: Token::Number(length, _), .. }, ..] = clauses.returning
        && is_value
        && is_text(clauses.returning)
    {
        let separator = if options.is_empty() { "" } else { ";" };
        options = format!("{options}{separator}length={length}");
    }
    let mut arguments = vec![input, path.to_vec(), out.text(options)];
    if is_value {
        let varchar = [TokenWithSpan { token: Token::make_keyword("VARCHAR"), span: out.span }];
        let null = [TokenWithSpan { token: Token::make_keyword("NULL"), span: out.span }];
        let data_type = if clauses.returning.is_empty() { &varchar[..] } else { clauses.returning };
        arguments.push(out.cast(&null, data_type));
        for default in [clauses.empty_default, clauses.error_default] {
            arguments.push(out.cast(default.unwrap_or(&null), data_type));
        }
    } else if clauses.empty_default.is_some() || clauses.error_default.is_some() {
        return None;
    }
    arguments.extend(clauses.passing.iter().flat_map(|(name, value)| [out.text(name.clone()), value.clone()]));
    match (is_value, is_word(name, "JSON_QUERY")) {
        (true, _) if is_text(clauses.returning) => return returned("$json_value", arguments, &clauses, out),
        (true, _) => out.call("$json_value", arguments),
        (_, true) => return returned("$json_query", arguments, &clauses, out),
        _ => out.call("$json_exists", arguments),
    }
    Some(())
}

/// Whether a type is one of texts.
fn is_text(data_type: &[TokenWithSpan]) -> bool {
    data_type.first().is_some_and(|first| is_word(first, "VARCHAR") || is_word(first, "CHAR"))
}

/// A call whose result is text, as long as its type says, or its bytes.
fn returned(name: &str, arguments: Vec<Vec<TokenWithSpan>>, clauses: &Clauses<'_>, out: &mut Output<'_>) -> Option<()> {
    let data_type = clauses.returning;
    let mut call = Vec::new();
    Output { span: out.span, tokens: &mut call }.call(name, arguments);
    match data_type {
        [first, ..] if is_word(first, "VARBINARY") => out.call(clauses.bytes.unwrap_or("to_utf8"), vec![call]),
        // Texts have no encoding.
        _ if clauses.bytes.is_some() => return None,
        [] => out.tokens.extend(call),
        [first] if is_word(first, "VARCHAR") => out.tokens.extend(call),
        _ if is_text(data_type) => {
            let cast = out.cast(&call, data_type);
            out.tokens.extend(cast);
        }
        _ => return None,
    }
    Some(())
}

fn construct(is_object: bool, arguments: &[TokenWithSpan], clauses: &Clauses<'_>, out: &mut Output<'_>) -> Option<()> {
    let members = if arguments.is_empty() { Vec::new() } else { parts(arguments, |token| token.token == Token::Comma) };
    let mut values = vec![out.text(clauses.options())];
    for member in members {
        let value = if is_object {
            let (name, value) = name_and_value(member)?;
            values.push(name.to_vec());
            value
        } else {
            member
        };
        let value = formatted(value, "$json_input", out)?;
        values.push(if is_call_of_json(&value) { out.called("$json_input", value) } else { value });
    }
    returned(if is_object { "$json_object" } else { "$json_array" }, values, clauses, out)
}

/// `[KEY] name VALUE value` and `name: value`.
fn name_and_value(member: &[TokenWithSpan]) -> Option<(&[TokenWithSpan], &[TokenWithSpan])> {
    let follows = |token: &TokenWithSpan| matches!(token.token, Token::Colon | Token::LParen | Token::Period) || is_word(token, "VALUE");
    let member = match member {
        [key, second, ..] if is_word(key, "KEY") && !follows(second) => &member[1..],
        other => other,
    };
    let middle = (1..member.len()).find(|&at| (member[at].token == Token::Colon || is_word(&member[at], "VALUE")) && is_top(member, at))?;
    let (name, value) = (&member[..middle], &member[middle + 1..]);
    (!value.is_empty()).then_some((name, value))
}

fn is_call_of_json(value: &[TokenWithSpan]) -> bool {
    let is_name = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.quote_style.is_some() && CALLS_OF_JSON.contains(&word.value.as_str()));
    let is_whole = || value.get(1).is_some_and(|second| second.token == Token::LParen) && closings(value)[1] == value.len() - 1;
    match value {
        // The cast that `RETURNING` has made has the place of its call.
        [cast, _, call, ..] if is_word(cast, "CAST") => cast.span == call.span && is_name(call) && is_whole(),
        [call, ..] => is_name(call) && is_whole(),
        [] => false,
    }
}

/// A value that `FORMAT JSON` may stand behind, as an argument of this function if it does; `None` for another encoding than UTF-8.
fn formatted(value: &[TokenWithSpan], function: &str, out: &Output<'_>) -> Option<Vec<TokenWithSpan>> {
    let format = (1..value.len().saturating_sub(1)).find(|&at| is_word(&value[at], "FORMAT") && is_word(&value[at + 1], "JSON") && is_top(value, at));
    let Some(format) = format else { return (!value.is_empty()).then(|| value.to_vec()) };
    is_utf8(&value[format + 2..]).then(|| out.called(function, value[..format].to_vec()))
}

/// Whether what stands behind `FORMAT JSON` asks for no other encoding than UTF-8.
fn is_utf8(encoding: &[TokenWithSpan]) -> bool {
    match encoding {
        [] => true,
        [encoding, utf8] => is_word(encoding, "ENCODING") && is_word(utf8, "UTF8"),
        _ => false,
    }
}

/// What stands behind the arguments.
#[derive(Default)]
struct Clauses<'a> {
    passing: Vec<(String, Vec<TokenWithSpan>)>,
    returning: &'a [TokenWithSpan],
    /// The function that makes bytes of the text, if it is asked for another encoding than UTF-8.
    bytes: Option<&'static str>,
    empty: Option<&'static str>,
    error: Option<&'static str>,
    empty_default: Option<&'a [TokenWithSpan]>,
    error_default: Option<&'a [TokenWithSpan]>,
    wrapper: Option<&'static str>,
    quotes: Option<&'static str>,
    nulls: Option<&'static str>,
    unique: Option<&'static str>,
}

impl<'a> Clauses<'a> {
    fn read(tokens: &'a [TokenWithSpan], out: &Output<'_>) -> Option<Self> {
        let mut clauses = Self::default();
        let mut at = 0;
        while at < tokens.len() {
            at += clauses.read_one(&tokens[at..], out)?;
        }
        Some(clauses)
    }

    /// Reads the clause that the tokens begin with: of how many it is.
    fn read_one(&mut self, tokens: &'a [TokenWithSpan], out: &Output<'_>) -> Option<usize> {
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| is_word(token, word));
        let end = (1..tokens.len()).find(|&at| starts_clause(tokens, at) && is_top(tokens, at)).unwrap_or(tokens.len());
        let first = tokens.first()?;
        if is_word(first, "PASSING") {
            for part in parts(&tokens[1..end], |token| token.token == Token::Comma) {
                let [.., keyword, name] = part else { return None };
                let Token::Word(name) = &name.token else { return None };
                if !is_word(keyword, "AS") {
                    return None;
                }
                // As in Trino, whose paths tell letters apart.
                let name = if name.quote_style.is_none() { name.value.to_uppercase() } else { name.value.clone() };
                self.passing.push((name, formatted(&part[..part.len() - 2], "$json_input", out)?));
            }
            return Some(end);
        }
        if is_word(first, "RETURNING") {
            let format = (1..end).find(|&at| is_word(&tokens[at], "FORMAT")).unwrap_or(end);
            self.returning = &tokens[1..format];
            let is_json = tokens.get(format + 1).is_some_and(|json| is_word(json, "JSON"));
            let encoding = tokens.get(format + 2..end).unwrap_or_default();
            self.bytes = match encoding {
                [encoding, utf16] if is_word(encoding, "ENCODING") && is_word(utf16, "UTF16") => Some("$to_utf16"),
                [encoding, utf32] if is_word(encoding, "ENCODING") && is_word(utf32, "UTF32") => Some("$to_utf32"),
                _ => None,
            };
            let is_known = format == end || is_json && (self.bytes.is_some() || is_utf8(encoding));
            return (format > 1 && is_known).then_some(end);
        }
        if is_word(first, "DEFAULT") {
            let on = (1..tokens.len()).find(|&at| is(at, "ON") && (is(at + 1, "EMPTY") || is(at + 1, "ERROR")) && is_top(tokens, at))?;
            let default = if is(on + 1, "EMPTY") { &mut self.empty_default } else { &mut self.error_default };
            *default = Some(&tokens[1..on]);
            return (on > 1).then_some(on + 2);
        }
        if is(1, "ON") && is(2, "NULL") {
            self.nulls = Some(if is(0, "NULL") { "null" } else { "absent" });
            return Some(3);
        }
        if is(1, "UNIQUE") {
            self.unique = Some(if is(0, "WITH") { "with" } else { "without" });
            return Some(if is(2, "KEYS") { 3 } else { 2 });
        }
        if is(1, "QUOTES") {
            self.quotes = Some(if is(0, "OMIT") { "omit" } else { "keep" });
            let behind = ["ON", "SCALAR", "STRING"].iter().zip(2..).take_while(|(word, at)| is(*at, word)).count();
            return Some(2 + behind);
        }
        if is(0, "WITH") || is(0, "WITHOUT") {
            let kind = usize::from(is(1, "CONDITIONAL") || is(1, "UNCONDITIONAL"));
            let array = usize::from(is(1 + kind, "ARRAY"));
            let conditional = if is(1, "CONDITIONAL") { "conditional" } else { "unconditional" };
            self.wrapper = is(0, "WITH").then_some(conditional);
            return is(1 + kind + array, "WRAPPER").then_some(2 + kind + array);
        }
        self.read_behaviour(tokens)
    }

    /// `NULL ON EMPTY` and its kin.
    fn read_behaviour(&mut self, tokens: &[TokenWithSpan]) -> Option<usize> {
        const BEHAVIOURS: [(&[&str], &str); 7] = [
            (&["NULL"], "null"),
            (&["ERROR"], "error"),
            (&["TRUE"], "true"),
            (&["FALSE"], "false"),
            (&["UNKNOWN"], "unknown"),
            (&["EMPTY", "ARRAY"], "array"),
            (&["EMPTY", "OBJECT"], "object"),
        ];
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| is_word(token, word));
        let (words, behaviour) = BEHAVIOURS.into_iter().find(|(words, _)| words.iter().enumerate().all(|(at, word)| is(at, word)))?;
        let on = words.len();
        if !is(on, "ON") {
            return None;
        }
        if is(on + 1, "EMPTY") {
            self.empty = Some(behaviour);
        } else if is(on + 1, "ERROR") {
            self.error = Some(behaviour);
        } else {
            return None;
        }
        Some(on + 2)
    }

    /// As the functions take them.
    fn options(&self) -> String {
        let options = [
            ("empty", self.empty),
            ("error", self.error),
            ("wrapper", self.wrapper),
            ("quotes", self.quotes),
            ("null", self.nulls),
            ("unique", self.unique),
        ];
        let options = options.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        options.collect::<Vec<_>>().join(";")
    }
}

/// Whether a clause begins here that is behind the arguments.
fn starts_clause(tokens: &[TokenWithSpan], at: usize) -> bool {
    let is = |ahead: usize, words: &[&str]| tokens.get(at + ahead).is_some_and(|token| words.iter().any(|word| is_word(token, word)));
    // Behind these an operand begins.
    let begins_operand = at > 0 && matches!(tokens[at - 1].token, Token::Comma | Token::Colon);
    let stands_for_value = is(0, &["NULL", "ERROR", "TRUE", "FALSE", "UNKNOWN", "ABSENT"]) && is(1, &["ON"]) && is(2, &["EMPTY", "ERROR", "NULL"]);
    !begins_operand && (stands_for_value || is(0, &["PASSING", "RETURNING", "DEFAULT"]) && at + 1 < tokens.len())
        || is(0, &["EMPTY"]) && is(1, &["ARRAY", "OBJECT"]) && is(2, &["ON"])
        || is(0, &["WITH", "WITHOUT"]) && is(1, &["WRAPPER", "ARRAY", "CONDITIONAL", "UNCONDITIONAL", "UNIQUE"])
        || is(0, &["KEEP", "OMIT"]) && is(1, &["QUOTES"])
}

/// Whether a token stands within no parentheses of these.
fn is_top(tokens: &[TokenWithSpan], at: usize) -> bool {
    let depth = tokens[..at].iter().fold(0_i64, |depth, token| match token.token {
        Token::LParen | Token::LBracket => depth + 1,
        Token::RParen | Token::RBracket => depth - 1,
        _ => depth,
    });
    depth == 0
}

/// What is between these tokens, which stand within no parentheses.
fn parts(tokens: &[TokenWithSpan], is_end: impl Fn(&TokenWithSpan) -> bool) -> Vec<&[TokenWithSpan]> {
    let (mut depth, mut start, mut found) = (0_i64, 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth -= 1,
            _ if depth == 0 && is_end(token) => {
                found.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&tokens[start..]);
    found
}

#[cfg(test)]
mod tests {
    use super::super::dialect::TrinoDialect;
    use super::*;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn plained(sql: &str) -> String {
        let tokens = Tokenizer::new(&TrinoDialect, sql).tokenize_with_location().unwrap();
        let tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
        let texts: Vec<String> = plain(tokens).into_iter().map(|token| token.token.to_string()).filter(|text| text != "EOF").collect();
        texts.join(" ")
    }

    #[test]
    fn calls_become_plain() {
        for (sql, expected) in [
            ("select json '[1]', json from t", r#"select "$json_literal" ( '[1]' ) , json from t"#),
            ("json_exists(x, 'lax $')", r#""$json_exists" ( x , 'lax $' , '' )"#),
            (
                "json_exists(f(a, b) FORMAT JSON, 'lax $' PASSING 1 AS \"n\", y FORMAT JSON AS j TRUE ON ERROR)",
                r#""$json_exists" ( "$json_text" ( f ( a , b ) ) , 'lax $' , 'error=true' , 'n' , 1 , 'J' , "$json_input" ( y ) )"#,
            ),
            (
                "json_value(x, 'lax $' RETURNING decimal(4, 2) DEFAULT g(1) ON EMPTY ERROR ON ERROR)",
                r#""$json_value" ( x , 'lax $' , 'error=error' , CAST ( NULL AS decimal ( 4 , 2 ) ) , CAST ( g ( 1 ) AS decimal ( 4 , 2 ) ) , CAST ( NULL AS decimal ( 4 , 2 ) ) )"#,
            ),
            (
                "json_query(x, 'lax $' WITH CONDITIONAL ARRAY WRAPPER KEEP QUOTES ON SCALAR STRING EMPTY ARRAY ON EMPTY)",
                r#""$json_query" ( x , 'lax $' , 'empty=array;wrapper=conditional;quotes=keep' )"#,
            ),
            ("json_query(x, 'lax $' RETURNING varbinary FORMAT JSON)", r#""to_utf8" ( "$json_query" ( x , 'lax $' , '' ) )"#),
            ("json_array(1 RETURNING varbinary FORMAT JSON ENCODING UTF16)", r#""$to_utf16" ( "$json_array" ( '' , 1 ) )"#),
            ("json_array(1 RETURNING varchar FORMAT JSON ENCODING UTF32)", "json_array ( 1 RETURNING varchar FORMAT JSON ENCODING UTF32 )"),
            ("json_object()", r#""$json_object" ( '' )"#),
            (
                "json_object('a': 1, KEY b VALUE null, key: 2 ABSENT ON NULL WITH UNIQUE KEYS)",
                r#""$json_object" ( 'null=absent;unique=with' , 'a' , 1 , b , null , key , 2 )"#,
            ),
            (
                "json_array(1, json_array(), '[]' FORMAT JSON NULL ON NULL RETURNING varchar(9))",
                r#"CAST ( "$json_array" ( 'null=null' , 1 , "$json_input" ( "$json_array" ( '' ) ) , "$json_input" ( '[]' ) ) AS varchar ( 9 ) )"#,
            ),
            ("json_value(x)", "json_value ( x )"),
            ("json_value(x, 'lax $' NONSENSE ON ERROR, 1)", "json_value ( x , 'lax $' NONSENSE ON ERROR , 1 )"),
            ("json_value", "json_value"),
        ] {
            assert_eq!(plained(sql), expected);
        }
    }

    #[test]
    fn nesting_ends_somewhere() {
        let deep = format!("{}1{}", "json_array(".repeat(10_000), ")".repeat(10_000));
        assert!(plained(&deep).contains("json_array ("));
    }
}
