//! The arguments of a procedure: by name, or by their place among those that it takes.

use std::time::Duration;

use nunatak_core::units::{ByteSize, HumanDuration};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::files::OptionValue;
use nunatak_engine::sql::option_text;

/// Arguments that are taken one after the other, in the order of their places.
pub(super) struct Arguments {
    procedure: String,
    /// The code for those that are missing or unknown.
    code: Code,
    given: Vec<(Option<String>, OptionValue)>,
    /// The names that were asked for.
    known: Vec<&'static str>,
}

impl Arguments {
    /// Those of `ALTER TABLE ... EXECUTE`.
    pub(super) fn new(procedure: &str, given: Vec<(Option<String>, OptionValue)>) -> Self {
        Self { procedure: procedure.to_owned(), code: Code::InvalidProcedureArgument, given, known: Vec::new() }
    }

    /// Those of `CALL`: as in Trino it has another code for those that are missing or unknown.
    pub(super) fn of_call(procedure: &str, given: Vec<(Option<String>, OptionValue)>) -> Self {
        Self { code: Code::InvalidArguments, ..Self::new(procedure, given) }
    }

    fn take(&mut self, name: &'static str) -> Option<OptionValue> {
        self.known.push(name);
        let by_name = self.given.iter().position(|(given, _)| given.as_deref() == Some(name));
        // Those before it are taken, so that the first one without a name has its place.
        let position = by_name.or_else(|| self.given.iter().position(|(given, _)| given.is_none()))?;
        Some(self.given.remove(position).1)
    }

    /// An argument that has no place among the others.
    pub(super) fn take_named(&mut self, name: &'static str) -> Option<OptionValue> {
        self.known.push(name);
        let position = self.given.iter().position(|(given, _)| given.as_deref() == Some(name))?;
        Some(self.given.remove(position).1)
    }

    fn parse<T>(&mut self, name: &'static str, what: &str, parse: impl Fn(&OptionValue) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let wrong = || self.error(format!("argument '{name}' of {} is '{}', which is not {what}", self.procedure, option_text(&value)));
        parse(&value).map(Some).ok_or_else(wrong)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.take(name).map(|value| option_text(&value))
    }

    /// An array of texts.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>> {
        self.parse(name, "an array of texts", |value| match value {
            OptionValue::List(texts) => Some(texts.clone()),
            _ => None,
        })
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<i64>> {
        self.parse(name, "a whole number", |value| option_text(value).parse().ok())
    }

    /// `true` or `false`; the latter without it.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool> {
        Ok(self.parse(name, "true or false", |value| option_text(value).to_lowercase().parse().ok())?.unwrap_or(false))
    }

    /// A number of bytes, such as `'128MB'`.
    pub(super) fn bytes(&mut self, name: &'static str) -> Result<Option<u64>> {
        self.parse(name, "a size such as '128MB'", |value| option_text(value).parse::<ByteSize>().ok().map(|size| size.0))
    }

    /// A length of time, such as `'7d'`.
    pub(super) fn duration(&mut self, name: &'static str) -> Result<Option<Duration>> {
        self.parse(name, "a length of time such as '7d'", |value| option_text(value).parse::<HumanDuration>().ok().map(|duration| duration.0))
    }

    /// The error for an argument that is needed.
    pub(super) fn missing(&self, name: &str) -> Error {
        let missing = Error::new(self.code, format!("{} needs the argument '{name}'", self.procedure));
        missing.with_hint(format!("write {}({name} => ...)", self.procedure))
    }

    /// Nothing else is given. Errors: `INVALID_PROCEDURE_ARGUMENT`, of `CALL` `INVALID_ARGUMENTS`.
    pub(super) fn end(&self) -> Result<()> {
        let Some((name, value)) = self.given.first() else { return Ok(()) };
        let what = name.clone().unwrap_or_else(|| option_text(value));
        let takes = if self.known.is_empty() { "it takes none".to_owned() } else { format!("it takes {}", self.known.join(", ")) };
        Err(Error::new(self.code, format!("{} does not take the argument '{what}'", self.procedure)).with_hint(takes))
    }

    fn error(&self, what: String) -> Error {
        Error::new(Code::InvalidProcedureArgument, what)
    }
}
