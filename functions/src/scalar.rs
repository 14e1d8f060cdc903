//! Scalar functions as data, and as DataFusion's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::call::Call;
use crate::signature::{Overload, resolve};

/// What computes a function from its arguments.
pub type Run = fn(&Call<'_>) -> Result<ArrayRef>;

/// What a function returns for types of arguments, where its signatures cannot say it: they are as [`Scalar::signatures`] have converted them.
pub type Returns = fn(&[DataType]) -> Result<DataType>;

/// A scalar function.
#[derive(Clone, Copy, Debug)]
pub struct Scalar {
    /// The name, in lower case.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it takes and returns, in the form of [`crate::signature`]; of several that fit, the one which converts least is taken.
    pub signatures: &'static [&'static str],
    /// What it returns, where the signatures cannot say it.
    pub returns: Option<Returns>,
    /// What computes it.
    pub run: Run,
    /// Whether it sees NULLs. Otherwise a row with a NULL among its arguments is NULL.
    pub sees_nulls: bool,
    /// How its results depend on time.
    pub volatility: Volatility,
    /// What it does, in one sentence.
    pub about: &'static str,
}

impl Scalar {
    /// A function whose results depend on its arguments only, and are NULL where one of them is.
    pub const fn new(name: &'static str, signatures: &'static [&'static str], run: Run, about: &'static str) -> Self {
        Self { name, aliases: &[], signatures, returns: None, run, sees_nulls: false, volatility: Volatility::Immutable, about }
    }

    /// The same with other names besides.
    #[must_use]
    pub const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// The same with a type of results that `returns` tells.
    #[must_use]
    pub const fn returning(self, returns: Returns) -> Self {
        Self { returns: Some(returns), ..self }
    }

    /// The same, seeing the NULLs among its arguments.
    #[must_use]
    pub const fn seeing_nulls(self) -> Self {
        Self { sees_nulls: true, ..self }
    }

    /// The same with results that differ between calls.
    #[must_use]
    pub const fn volatile(self) -> Self {
        Self { volatility: Volatility::Volatile, ..self }
    }

    /// The same with results that are the same within a query only.
    #[must_use]
    pub const fn stable(self) -> Self {
        Self { volatility: Volatility::Stable, ..self }
    }
}

/// The function for DataFusion.
pub fn function(definition: &'static Scalar) -> Arc<ScalarUDF> {
    let overloads = definition.signatures.iter().filter_map(|text| Overload::parse(text)).collect();
    let aliases = definition.aliases.iter().map(|&alias| alias.to_owned()).collect();
    let signature = Signature::user_defined(definition.volatility);
    Arc::new(ScalarUDF::new_from_impl(Function { definition, overloads, aliases, signature }))
}

#[derive(Debug)]
struct Function {
    definition: &'static Scalar,
    overloads: Vec<Overload>,
    aliases: Vec<String>,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(resolve(self.definition.name, &self.overloads, types)?.arguments)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let resolved = resolve(self.definition.name, &self.overloads, types)?;
        match self.definition.returns {
            Some(returns) => returns(&resolved.arguments),
            None => Ok(resolved.result),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant =
            self.definition.volatility != Volatility::Volatile && arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { arguments.number_rows };
        let values: Vec<ArrayRef> = arguments.args.iter().map(|value| value.to_array(rows)).collect::<Result<_>>()?;
        let call = Call::new(&values, rows, arguments.return_field.data_type(), &arguments.config_options, self.definition.sees_nulls);
        let result = (self.definition.run)(&call)?;
        Ok(if is_constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?) } else { ColumnarValue::Array(result) })
    }
}

#[cfg(test)]
mod tests {
    use crate::definitions;
    use crate::signature::Overload;

    #[test]
    fn signatures_are_read() {
        for function in definitions() {
            for text in function.signatures {
                assert!(Overload::parse(text).is_some(), "{}{text}", function.name);
            }
        }
    }

    #[test]
    fn names_are_there_once() {
        let mut names: Vec<&str> =
            definitions().flat_map(|function| std::iter::once(function.name).chain(function.aliases.iter().copied())).collect();
        names.sort_unstable();
        let twice: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
