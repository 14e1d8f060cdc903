//! What paths of SQL/JSON find in a value.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::from_json::double_of;
use super::number::Number;
use super::sql_path::{Comparison, Expression, Method, Predicate, SqlPath, Step};
use super::sql_value::Value;

/// Why a path has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The path does not fit the value.
    Unfit(String),
    /// There is no variable of that name.
    Unnamed(String),
}

type Evaluated<T> = Result<T, Failure>;

/// A value of the document, or one that was made of it.
pub(super) type Item<'a> = Cow<'a, Value>;

/// What a path is applied to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) root: &'a Value,
    /// What `PASSING` names.
    pub(super) variables: &'a [(&'a str, Value)],
}

fn unfit<T>(what: impl Into<String>) -> Evaluated<T> {
    Err(Failure::Unfit(what.into()))
}

impl SqlPath {
    /// The values that the path leads to.
    pub(super) fn find<'a>(&'a self, subject: Subject<'a>) -> Evaluated<Vec<Item<'a>>> {
        Scope { is_strict: self.is_strict, subject, current: None, last: None }.values(&self.expression)
    }
}

/// Where an expression stands.
#[derive(Clone)]
struct Scope<'a> {
    is_strict: bool,
    subject: Subject<'a>,
    /// What a filter looks at.
    current: Option<Item<'a>>,
    /// The last place of the array within whose brackets this is.
    last: Option<i64>,
}

impl<'a> Scope<'a> {
    fn values(&self, expression: &'a Expression) -> Evaluated<Vec<Item<'a>>> {
        match expression {
            Expression::Root => Ok(vec![Cow::Borrowed(self.subject.root)]),
            Expression::Current => match &self.current {
                Some(current) => Ok(vec![current.clone()]),
                None => unfit("'@' has no meaning outside of a filter"),
            },
            Expression::Last => match self.last {
                Some(last) => Ok(vec![Cow::Owned(Value::Number(Number::Bigint(last)))]),
                None => unfit("'last' has no meaning outside of brackets"),
            },
            Expression::Variable(name) => match self.subject.variables.iter().find(|(known, _)| known == name) {
                Some((_, value)) => Ok(vec![Cow::Borrowed(value)]),
                None => Err(Failure::Unnamed(name.clone())),
            },
            Expression::Literal(value) => Ok(vec![Cow::Borrowed(value)]),
            Expression::Steps(start, steps) => {
                let mut items = self.values(start)?;
                for step in steps {
                    items = self.step(step, items)?;
                }
                Ok(items)
            }
            Expression::Sign(is_minus, operand) => {
                let operands = self.unwrapped(self.values(operand)?);
                operands.into_iter().map(|item| signed(*is_minus, item)).collect()
            }
            Expression::Reckoned(operator, left, right) => {
                let (left, right) = (self.single_number(left)?, self.single_number(right)?);
                match left.reckon(*operator, &right) {
                    Some(result) => Ok(vec![Cow::Owned(Value::Number(result))]),
                    None => unfit("numbers are too large, or one is divided by zero"),
                }
            }
        }
    }

    fn single_number(&self, expression: &'a Expression) -> Evaluated<Number> {
        let mut items = self.unwrapped(self.values(expression)?);
        match (items.pop(), items.is_empty()) {
            (Some(item), true) => match item.as_ref() {
                Value::Number(number) => Ok(number.clone()),
                other => unfit(format!("a {} is no number", other.kind())),
            },
            _ => unfit("there is not one number on each side of an operator"),
        }
    }

    /// If lax, the elements of arrays in their place.
    fn unwrapped(&self, items: Vec<Item<'a>>) -> Vec<Item<'a>> {
        if self.is_strict || !items.iter().any(|item| matches!(item.as_ref(), Value::Array(_))) {
            return items;
        }
        items.into_iter().flat_map(parts_or_itself).collect()
    }

    fn step(&self, step: &'a Step, items: Vec<Item<'a>>) -> Evaluated<Vec<Item<'a>>> {
        let mut found = Vec::new();
        match step {
            Step::Member(name) => {
                for item in self.unwrapped(items) {
                    self.members(item, name.as_deref(), &mut found)?;
                }
            }
            Step::Descendant(name) => items.into_iter().for_each(|item| descendants(item, name, &mut found)),
            Step::Elements => {
                for item in items {
                    match item.as_ref() {
                        Value::Array(_) => found.extend(parts_or_itself(item)),
                        other if self.is_strict => return unfit(format!("'[*]' is applied to a {}", other.kind())),
                        _ => found.push(item),
                    }
                }
            }
            Step::Places(places) => {
                for item in items {
                    self.places(item, places, &mut found)?;
                }
            }
            Step::Filter(predicate) => {
                for item in self.unwrapped(items) {
                    let scope = Self { current: Some(item.clone()), ..self.clone() };
                    if scope.holds(predicate)? == Some(true) {
                        found.push(item);
                    }
                }
            }
            Step::Method(method @ (Method::Type | Method::Size)) => {
                for item in items {
                    found.push(Cow::Owned(self.described(*method, item.as_ref())?));
                }
            }
            Step::Method(method) => {
                for item in self.unwrapped(items) {
                    called(*method, item.as_ref(), &mut found)?;
                }
            }
        }
        Ok(found)
    }

    /// The member of that name, or all of them.
    fn members(&self, item: Item<'a>, name: Option<&str>, found: &mut Vec<Item<'a>>) -> Evaluated<()> {
        let kind = item.kind();
        let Some(members) = members_of(item) else {
            return if self.is_strict { unfit(format!("a {kind} has no members")) } else { Ok(()) };
        };
        let Some(name) = name else {
            found.extend(members.into_iter().map(|(_, value)| value));
            return Ok(());
        };
        match members.into_iter().find(|(known, _)| known == name) {
            Some((_, value)) => found.push(value),
            None if self.is_strict => return unfit(format!("there is no member '{name}'")),
            None => {}
        }
        Ok(())
    }

    fn places(&self, item: Item<'a>, places: &'a [(Expression, Option<Expression>)], found: &mut Vec<Item<'a>>) -> Evaluated<()> {
        let is_array = matches!(item.as_ref(), Value::Array(_));
        if self.is_strict && !is_array {
            return unfit(format!("a {} has no places", item.kind()));
        }
        let elements = parts_or_itself(item);
        let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
        let scope = Self { last: Some(length - 1), ..self.clone() };
        for (from, to) in places {
            let from = scope.place(from)?;
            let to = match to {
                Some(to) => scope.place(to)?,
                None => from,
            };
            if self.is_strict && (from < 0 || to < from || to >= length) {
                return unfit(format!("places {from} to {to} are none of an array of {length} elements"));
            }
            let part = from.max(0)..to.saturating_add(1).min(length);
            found.extend(part.filter_map(|place| elements.get(usize::try_from(place).ok()?).cloned()));
        }
        Ok(())
    }

    fn place(&self, expression: &'a Expression) -> Evaluated<i64> {
        match self.single_number(expression)?.to_place() {
            Some(place) => Ok(place),
            None => unfit("a place is too large"),
        }
    }

    fn described(&self, method: Method, value: &Value) -> Evaluated<Value> {
        Ok(match (method, value) {
            (Method::Type, value) => Value::Text(value.kind().to_owned()),
            (_, Value::Array(elements)) => Value::Number(Number::Bigint(i64::try_from(elements.len()).unwrap_or(i64::MAX))),
            (_, value) if self.is_strict => return unfit(format!("size() is applied to a {}", value.kind())),
            _ => Value::Number(Number::Bigint(1)),
        })
    }

    /// `None` is unknown. Errors: those that are no matter of values.
    fn holds(&self, predicate: &'a Predicate) -> Evaluated<Option<bool>> {
        Ok(match predicate {
            Predicate::Compare(comparison, left, right) => {
                let (Some(left), Some(right)) = (self.operands(left)?, self.operands(right)?) else { return Ok(None) };
                let results = left.iter().flat_map(|left| right.iter().map(move |right| compared(*comparison, left, right)));
                self.any(results)
            }
            Predicate::StartsWith(text, prefix) => {
                let (Some(texts), Some(prefixes)) = (self.operands(text)?, self.operands(prefix)?) else { return Ok(None) };
                let [prefix] = prefixes.as_slice() else { return Ok(None) };
                self.any(texts.iter().map(|text| match (text.as_ref(), prefix.as_ref()) {
                    (Value::Text(text), Value::Text(prefix)) => Some(text.starts_with(prefix.as_str())),
                    _ => None,
                }))
            }
            Predicate::Exists(expression) => match self.values(expression) {
                Ok(items) => Some(!items.is_empty()),
                Err(Failure::Unfit(_)) => None,
                Err(unnamed) => return Err(unnamed),
            },
            Predicate::IsUnknown(predicate) => Some(self.holds(predicate)?.is_none()),
            Predicate::Not(predicate) => self.holds(predicate)?.map(|holds| !holds),
            Predicate::And(left, right) => match (self.holds(left)?, self.holds(right)?) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Predicate::Or(left, right) => match (self.holds(left)?, self.holds(right)?) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        })
    }

    /// `None` if there are none since the path does not fit.
    fn operands(&self, expression: &'a Expression) -> Evaluated<Option<Vec<Item<'a>>>> {
        match self.values(expression) {
            Ok(items) => Ok(Some(self.unwrapped(items))),
            Err(Failure::Unfit(_)) => Ok(None),
            Err(unnamed) => Err(unnamed),
        }
    }

    /// Whether one of these holds. If strict, all are looked at, and an unknown one makes it unknown; if lax, the first that is not false says it.
    fn any(&self, results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
        let mut found = false;
        for result in results {
            match result {
                Some(true) if !self.is_strict => return Some(true),
                Some(holds) => found |= holds,
                None => return None,
            }
        }
        Some(found)
    }
}

fn signed(is_minus: bool, item: Item<'_>) -> Evaluated<Item<'_>> {
    match item.as_ref() {
        Value::Number(number) if is_minus => match number.negated() {
            Some(negated) => Ok(Cow::Owned(Value::Number(negated))),
            None => unfit("a number is too large"),
        },
        Value::Number(_) => Ok(item),
        other => unfit(format!("a {} is no number", other.kind())),
    }
}

/// The elements of an array; another value by itself.
fn parts_or_itself(item: Item<'_>) -> Vec<Item<'_>> {
    match item {
        Cow::Borrowed(Value::Array(elements)) => elements.iter().map(Cow::Borrowed).collect(),
        Cow::Owned(Value::Array(elements)) => elements.into_iter().map(Cow::Owned).collect(),
        other => vec![other],
    }
}

/// The members of an object.
fn members_of(item: Item<'_>) -> Option<Vec<(Cow<'_, str>, Item<'_>)>> {
    match item {
        Cow::Borrowed(Value::Object(members)) => {
            Some(members.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value))).collect())
        }
        Cow::Owned(Value::Object(members)) => Some(members.into_iter().map(|(name, value)| (Cow::Owned(name), Cow::Owned(value))).collect()),
        _ => None,
    }
}

/// Values of members of that name, at any depth.
fn descendants<'a>(item: Item<'a>, name: &str, found: &mut Vec<Item<'a>>) {
    match members_of(item.clone()) {
        Some(members) => {
            found.extend(members.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()));
            members.into_iter().for_each(|(_, value)| descendants(value, name, found));
        }
        None if matches!(item.as_ref(), Value::Array(_)) => parts_or_itself(item).into_iter().for_each(|element| descendants(element, name, found)),
        None => {}
    }
}

fn called(method: Method, value: &Value, found: &mut Vec<Item<'_>>) -> Evaluated<()> {
    let result = match (method, value) {
        (Method::KeyValue, Value::Object(members)) => {
            let pairs = members.iter().map(|(name, value)| {
                Cow::Owned(Value::Object(vec![
                    ("name".to_owned(), Value::Text(name.clone())),
                    ("value".to_owned(), value.clone()),
                    ("id".to_owned(), Value::Number(Number::Bigint(0))),
                ]))
            });
            found.extend(pairs);
            return Ok(());
        }
        (Method::Double, Value::Number(number)) => number.to_double().map(Number::Double),
        (Method::Double, Value::Text(text)) => double_of(text).map(Number::Double),
        (Method::Ceiling, Value::Number(number)) => number.whole(true),
        (Method::Floor, Value::Number(number)) => number.whole(false),
        (Method::Abs, Value::Number(number)) => number.absolute(),
        _ => None,
    };
    match result {
        Some(number) => {
            found.push(Cow::Owned(Value::Number(number)));
            Ok(())
        }
        None => unfit(format!("a method does not take this {}", value.kind())),
    }
}

/// `None` for what cannot be compared.
fn compared(comparison: Comparison, left: &Value, right: &Value) -> Option<bool> {
    let order = match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, other) | (other, Value::Null) => return other.is_scalar().then_some(comparison == Comparison::NotEqual),
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => match left.compare(right) {
            Some(order) => order,
            // What is no number is not equal to anything.
            None => return Some(comparison == Comparison::NotEqual),
        },
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}
