//! Paths of SQL/JSON, such as `lax $.a[*] ?(@.b > 1).c`: what they are, and how they are read.

use datafusion::error::Result;
use nunatak_core::Code;

use super::error;
use super::number::{Number, Operator};
use super::sql_tokens::{Token, tokens};
use super::sql_value::Value;

/// How many operators a path may have.
const OPERATORS_MAX: usize = 500;

/// How deeply parentheses may be nested.
const NESTING_MAX: usize = 64;

/// A path.
#[derive(Debug)]
pub(super) struct SqlPath {
    /// Whether what does not fit is an error, instead of nothing.
    pub(super) is_strict: bool,
    pub(super) expression: Expression,
}

/// What gives values.
#[derive(Debug)]
pub(super) enum Expression {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`
    Last,
    /// `$name`
    Variable(String),
    Literal(Value),
    /// Steps from what something gives.
    Steps(Box<Expression>, Vec<Step>),
    /// `+` or, if so, `-`.
    Sign(bool, Box<Expression>),
    Reckoned(Operator, Box<Expression>, Box<Expression>),
}

/// A step.
#[derive(Debug)]
pub(super) enum Step {
    /// `.name`; `.*` without a name.
    Member(Option<String>),
    /// `..name`
    Descendant(String),
    /// `[1, 2 to 3]`
    Places(Vec<(Expression, Option<Expression>)>),
    /// `[*]`
    Elements,
    /// `?(...)`
    Filter(Predicate),
    /// `.size()` and its kin.
    Method(Method),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Type,
    Size,
    Double,
    Ceiling,
    Floor,
    Abs,
    KeyValue,
}

/// What is true, false or unknown.
#[derive(Debug)]
pub(super) enum Predicate {
    Compare(Comparison, Expression, Expression),
    StartsWith(Expression, Expression),
    Exists(Expression),
    IsUnknown(Box<Predicate>),
    Not(Box<Predicate>),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl SqlPath {
    /// Errors: `SYNTAX_ERROR`, and `NOT_SUPPORTED` for what Trino does not have either.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let tokens = tokens(text).ok_or_else(|| wrong(text, "has characters that mean nothing there"))?;
        let mut parser = Parser { text, tokens, at: 0, operators: 0, depth: 0 };
        let is_strict = match parser.word() {
            Some("lax") => false,
            Some("strict") => true,
            _ => return Err(wrong(text, "does not begin with lax or strict")),
        };
        parser.at += 1;
        let expression = parser.either()?;
        let expression = parser.values(expression)?;
        if parser.at < parser.tokens.len() {
            return Err(parser.unexpected());
        }
        Ok(Self { is_strict, expression })
    }
}

fn wrong(text: &str, what: &str) -> datafusion::error::DataFusionError {
    error(Code::SyntaxError, format!("the JSON path '{text}' {what}"))
}

/// What parentheses may hold.
enum Either {
    Values(Expression),
    /// Of these, some are delimited: in parentheses, or `exists(...)`.
    Predicate(Predicate, bool),
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    operators: usize,
    depth: usize,
}

impl Parser<'_> {
    fn unexpected(&self) -> datafusion::error::DataFusionError {
        match self.tokens.get(self.at) {
            Some(Token::Word(word) | Token::Text(word) | Token::Number(word)) => wrong(self.text, &format!("has an unexpected {word}")),
            Some(Token::Variable(name)) => wrong(self.text, &format!("has an unexpected ${name}")),
            Some(Token::Mark(mark)) => wrong(self.text, &format!("has an unexpected {mark}")),
            None => wrong(self.text, "ends too early"),
        }
    }

    fn word(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.word() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Mark(mark)) if *mark == wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        if self.take(wanted) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Counts what makes a path deeper.
    fn count(&mut self) -> Result<()> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX { Err(wrong(self.text, &format!("has more than {OPERATORS_MAX} operators"))) } else { Ok(()) }
    }

    fn values(&self, either: Either) -> Result<Expression> {
        match either {
            Either::Values(expression) => Ok(expression),
            Either::Predicate(..) => Err(wrong(self.text, "has a condition where a value is wanted")),
        }
    }

    fn predicate(&self, either: Either) -> Result<Predicate> {
        match either {
            Either::Predicate(predicate, _) => Ok(predicate),
            Either::Values(_) => Err(wrong(self.text, "has a value where a condition is wanted")),
        }
    }

    /// Anything: operators that bind less tightly are read first.
    fn either(&mut self) -> Result<Either> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(wrong(self.text, &format!("has more than {NESTING_MAX} parentheses within each other")));
        }
        let mut left = self.conjunction()?;
        while self.take("||") {
            self.count()?;
            let right = self.conjunction()?;
            left = Either::Predicate(Predicate::Or(Box::new(self.predicate(left)?), Box::new(self.predicate(right)?)), false);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Either> {
        let mut left = self.condition()?;
        while self.take("&&") {
            self.count()?;
            let right = self.condition()?;
            left = Either::Predicate(Predicate::And(Box::new(self.predicate(left)?), Box::new(self.predicate(right)?)), false);
        }
        Ok(left)
    }

    fn condition(&mut self) -> Result<Either> {
        if self.take("!") {
            return match self.primary()? {
                Either::Predicate(predicate, true) => Ok(Either::Predicate(Predicate::Not(Box::new(predicate)), false)),
                _ => Err(wrong(self.text, "has '!' before what is not in parentheses")),
            };
        }
        let left = match self.sum()? {
            Either::Predicate(predicate, true) if self.word() == Some("is") => {
                self.at += 1;
                if !self.take_word("unknown") {
                    return Err(self.unexpected());
                }
                return Ok(Either::Predicate(Predicate::IsUnknown(Box::new(predicate)), false));
            }
            Either::Predicate(predicate, is_delimited) => return Ok(Either::Predicate(predicate, is_delimited)),
            Either::Values(left) => left,
        };
        if self.take_word("starts") {
            if !self.take_word("with") {
                return Err(self.unexpected());
            }
            let right = self.primary()?;
            return match self.values(right)? {
                prefix @ (Expression::Variable(_) | Expression::Literal(Value::Text(_))) => {
                    Ok(Either::Predicate(Predicate::StartsWith(left, prefix), false))
                }
                _ => Err(wrong(self.text, "has something else than text or a variable behind 'starts with'")),
            };
        }
        if self.word() == Some("like_regex") {
            return Err(error(Code::NotSupported, "like_regex is not supported in JSON paths"));
        }
        let Some(comparison) = self.comparison() else { return Ok(Either::Values(left)) };
        let right = self.sum()?;
        Ok(Either::Predicate(Predicate::Compare(comparison, left, self.values(right)?), false))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let Some(Token::Mark(mark)) = self.tokens.get(self.at) else { return None };
        let comparison = match *mark {
            "==" => Comparison::Equal,
            "!=" | "<>" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.at += 1;
        Some(comparison)
    }

    fn sum(&mut self) -> Result<Either> {
        let mut left = self.product()?;
        loop {
            let operator = if self.take("+") {
                Operator::Add
            } else if self.take("-") {
                Operator::Subtract
            } else {
                return Ok(left);
            };
            self.count()?;
            let right = self.product()?;
            left = Either::Values(Expression::Reckoned(operator, Box::new(self.values(left)?), Box::new(self.values(right)?)));
        }
    }

    fn product(&mut self) -> Result<Either> {
        let mut left = self.signed()?;
        loop {
            let operator = if self.take("*") {
                Operator::Multiply
            } else if self.take("/") {
                Operator::Divide
            } else if self.take("%") {
                Operator::Modulus
            } else {
                return Ok(left);
            };
            self.count()?;
            let right = self.signed()?;
            left = Either::Values(Expression::Reckoned(operator, Box::new(self.values(left)?), Box::new(self.values(right)?)));
        }
    }

    fn signed(&mut self) -> Result<Either> {
        let is_minus = self.take("-");
        if !is_minus && !self.take("+") {
            return self.with_steps();
        }
        self.count()?;
        let value = self.signed()?;
        Ok(Either::Values(Expression::Sign(is_minus, Box::new(self.values(value)?))))
    }

    fn with_steps(&mut self) -> Result<Either> {
        let start = match self.primary()? {
            Either::Values(start) => start,
            predicate => return Ok(predicate),
        };
        let mut steps = Vec::new();
        while let Some(step) = self.step()? {
            steps.push(step);
        }
        Ok(Either::Values(if steps.is_empty() { start } else { Expression::Steps(Box::new(start), steps) }))
    }

    fn step(&mut self) -> Result<Option<Step>> {
        if self.take("..") {
            return match self.name() {
                Some(name) => Ok(Some(Step::Descendant(name))),
                None => Err(self.unexpected()),
            };
        }
        if self.take("?") {
            self.expect("(")?;
            let either = self.either()?;
            let predicate = self.predicate(either)?;
            self.expect(")")?;
            return Ok(Some(Step::Filter(predicate)));
        }
        if self.take("[") {
            return self.places().map(Some);
        }
        if !self.take(".") {
            return Ok(None);
        }
        if self.take("*") {
            return Ok(Some(Step::Member(None)));
        }
        let is_word = self.word().is_some();
        let Some(name) = self.name() else { return Err(self.unexpected()) };
        if !is_word || !self.take("(") {
            return Ok(Some(Step::Member(Some(name))));
        }
        let method = match name.as_str() {
            "type" => Method::Type,
            "size" => Method::Size,
            "double" => Method::Double,
            "ceiling" => Method::Ceiling,
            "floor" => Method::Floor,
            "abs" => Method::Abs,
            "keyvalue" => Method::KeyValue,
            "datetime" => return Err(error(Code::NotSupported, "the method datetime() is not supported in JSON paths")),
            other => return Err(wrong(self.text, &format!("calls {other}(), which is no method"))),
        };
        self.expect(")")?;
        Ok(Some(Step::Method(method)))
    }

    /// The name of a member, with or without quotes.
    fn name(&mut self) -> Option<String> {
        let name = match self.tokens.get(self.at)? {
            Token::Word(name) | Token::Text(name) => name.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(name)
    }

    /// What is within brackets that are open.
    fn places(&mut self) -> Result<Step> {
        if self.take("*") {
            self.expect("]")?;
            return Ok(Step::Elements);
        }
        let mut places = Vec::new();
        loop {
            self.count()?;
            let from = self.sum()?;
            let from = self.values(from)?;
            let to = match self.take_word("to") {
                true => {
                    let to = self.sum()?;
                    Some(self.values(to)?)
                }
                false => None,
            };
            places.push((from, to));
            if !self.take(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(Step::Places(places))
    }

    fn primary(&mut self) -> Result<Either> {
        let Some(token) = self.tokens.get(self.at).cloned() else { return Err(self.unexpected()) };
        let at = self.at;
        self.at += 1;
        let value = match token {
            Token::Mark("$") => Expression::Root,
            Token::Mark("@") => Expression::Current,
            Token::Mark("(") => {
                let inner = self.either()?;
                self.expect(")")?;
                return Ok(match inner {
                    Either::Predicate(predicate, _) => Either::Predicate(predicate, true),
                    values => values,
                });
            }
            Token::Variable(name) => Expression::Variable(name),
            Token::Text(text) => Expression::Literal(Value::Text(text)),
            Token::Number(text) => match Number::of_literal(&text) {
                Some(number) => Expression::Literal(Value::Number(number)),
                None => return Err(wrong(self.text, &format!("has the number {text}, which is too large"))),
            },
            Token::Word(word) => match word.as_str() {
                "last" => Expression::Last,
                "null" => Expression::Literal(Value::Null),
                "true" => Expression::Literal(Value::Boolean(true)),
                "false" => Expression::Literal(Value::Boolean(false)),
                "exists" if self.take("(") => {
                    let inner = self.either()?;
                    let inner = self.values(inner)?;
                    self.expect(")")?;
                    return Ok(Either::Predicate(Predicate::Exists(inner), true));
                }
                _ => {
                    self.at = at;
                    return Err(self.unexpected());
                }
            },
            Token::Mark(_) => {
                self.at = at;
                return Err(self.unexpected());
            }
        };
        Ok(Either::Values(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        for path in [
            "lax $",
            "strict $.a.\"b c\"[0, 1 to last - 1][*].*..d",
            "lax $ ?(@.a > 1 && (@.b == \"x\" || !(@ starts with $p)) && exists(@.c ?(@ != null)))",
            "lax ($.a + 1) * -2 / $x % 1.5e0",
            "lax $[*] ?((@ > 0) is unknown).keyvalue().name",
            "lax $ ?(((((((((((((((((((((((((((((((@ > 1)))))))))))))))))))))))))))))))",
        ] {
            assert!(SqlPath::parse(path).is_ok(), "{path}: {:?}", SqlPath::parse(path).err());
        }
        for path in [
            "",
            "$",
            "lax",
            "lax a",
            "lax $.",
            "lax $ > 1",
            "lax $ ?(@)",
            "lax $ ?(1)",
            "lax $[",
            "lax $.a(",
            "lax $.nope()",
            "lax \"a",
            "lax $ $",
            "lax $ ?(!@ > 1)",
        ] {
            assert!(SqlPath::parse(path).is_err(), "{path}");
        }
        assert!(SqlPath::parse(&format!("lax {}$", "-".repeat(100_000))).is_err());
        assert!(SqlPath::parse(&format!("lax {}$", "(".repeat(100_000))).is_err());
    }
}
