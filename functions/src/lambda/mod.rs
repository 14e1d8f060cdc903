//! Functions that take functions, `x -> x + 1`, beside their values.
//!
//! One is a [`HigherOrder`]: its name, the ways to call it as Trino's documentation writes them (`form.rs`), and what computes it from a call, which runs the
//! functions that it is given over all elements of a batch at once.

mod array;
mod call;
mod form;
mod map;
mod reduce;
mod sort;
mod text;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF, HigherOrderUDFImpl,
    LambdaParametersProgress, ValueOrLambda, Volatility,
};
use nunatak_core::{Code, Error};

use crate::type_name::type_name;
use call::Call;
use form::{Form, Found};
pub use text::REGEXP_REPLACE;

static FUNCTIONS: LazyLock<Vec<Arc<HigherOrderUDF>>> =
    LazyLock::new(|| definitions().map(|definition| Arc::new(HigherOrderUDF::new_from_impl(Function::new(definition)))).collect());

/// A function that takes functions. Its results depend on its arguments only.
#[derive(Clone, Copy, Debug)]
pub struct HigherOrder {
    /// The name, in lower case.
    pub name: &'static str,
    /// What it takes and returns: `(array(T), function(T, boolean)) -> array(T)`.
    pub forms: &'static [&'static str],
    run: fn(&Call<'_>) -> Result<ArrayRef>,
    /// What it does, in one sentence.
    pub about: &'static str,
}

/// The definitions of all functions that take functions.
pub fn definitions() -> impl Iterator<Item = &'static HigherOrder> {
    let groups = [array::FUNCTIONS, reduce::FUNCTIONS, sort::FUNCTIONS, map::FUNCTIONS, text::FUNCTIONS];
    groups.into_iter().flatten()
}

/// All functions that take functions.
pub fn functions() -> &'static [Arc<HigherOrderUDF>] {
    &FUNCTIONS
}

#[derive(Debug)]
struct Function {
    definition: &'static HigherOrder,
    forms: Vec<Form>,
    signature: HigherOrderSignature,
}

impl Function {
    fn new(definition: &'static HigherOrder) -> Self {
        let forms = definition.forms.iter().filter_map(|text| Form::parse(text)).collect();
        Self { definition, forms, signature: HigherOrderSignature::user_defined(Volatility::Immutable) }
    }

    /// The types of a call. Errors: `FUNCTION_NOT_FOUND` if it does not take these.
    fn find(&self, arguments: &[ValueOrLambda<DataType, Option<DataType>>]) -> Result<Found> {
        match self.forms.iter().find_map(|form| form.find(arguments)) {
            Some(found) => Ok(found),
            None => Err(self.refused(arguments)),
        }
    }

    fn refused(&self, arguments: &[ValueOrLambda<DataType, Option<DataType>>]) -> DataFusionError {
        let names = arguments.iter().map(|argument| match argument {
            ValueOrLambda::Value(data_type) => type_name(data_type),
            ValueOrLambda::Lambda(Some(gives)) => format!("function(.., {})", type_name(gives)),
            ValueOrLambda::Lambda(None) => "function(..)".to_owned(),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let error = Error::new(Code::FunctionNotFound, format!("function '{}' does not take ({names})", self.definition.name));
        DataFusionError::External(Box::new(error.with_hint(format!("it takes {}", self.definition.forms.join(", or ")))))
    }
}

/// The types of arguments of which fields are known.
fn types<L>(fields: &[ValueOrLambda<FieldRef, L>], gives: impl Fn(&L) -> Option<DataType>) -> Vec<ValueOrLambda<DataType, Option<DataType>>> {
    let of_field = |field: &ValueOrLambda<FieldRef, L>| match field {
        ValueOrLambda::Value(field) => ValueOrLambda::Value(field.data_type().clone()),
        ValueOrLambda::Lambda(lambda) => ValueOrLambda::Lambda(gives(lambda)),
    };
    fields.iter().map(of_field).collect()
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

impl HigherOrderUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.forms.iter().find_map(|form| form.values(types)) {
            Some(values) => Ok(values),
            None => Err(self.refused(&types.iter().map(|data_type| ValueOrLambda::Value(data_type.clone())).collect::<Vec<_>>())),
        }
    }

    fn coerce_values_for_lambdas(&self, fields: &[ValueOrLambda<DataType, DataType>]) -> Result<Option<Vec<DataType>>> {
        let known = fields.iter().map(|field| match field {
            ValueOrLambda::Value(data_type) => ValueOrLambda::Value(data_type.clone()),
            ValueOrLambda::Lambda(gives) => ValueOrLambda::Lambda(Some(gives.clone())),
        });
        Ok(Some(self.find(&known.collect::<Vec<_>>())?.values))
    }

    fn lambda_parameters(&self, _step: usize, fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>]) -> Result<LambdaParametersProgress> {
        let found = self.find(&types(fields, |gives| gives.as_ref().map(|field| field.data_type().clone())))?;
        let fields = |types: Vec<DataType>| types.into_iter().map(|data_type| Arc::new(Field::new("", data_type, true))).collect::<Vec<_>>();
        if found.open.iter().any(|open| *open) {
            let parameters = found.parameters.into_iter().zip(found.open).map(|(types, open)| open.then(|| fields(types)));
            return Ok(LambdaParametersProgress::Partial(parameters.collect()));
        }
        Ok(LambdaParametersProgress::Complete(found.parameters.into_iter().map(fields).collect()))
    }

    fn return_field_from_args(&self, arguments: HigherOrderReturnFieldArgs<'_>) -> Result<FieldRef> {
        let known = types(arguments.arg_fields, |gives| Some(gives.data_type().clone()));
        Ok(Arc::new(Field::new("", self.find(&known)?.result, true)))
    }

    fn invoke_with_args(&self, arguments: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array((self.definition.run)(&Call::new(&arguments)?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        for function in definitions() {
            for text in function.forms {
                assert!(Form::parse(text).is_some(), "{}{text}", function.name);
            }
        }
    }

    #[test]
    fn names_are_there_once() {
        let mut names: Vec<&str> = definitions().map(|function| function.name).chain(crate::definitions().map(|function| function.name)).collect();
        names.sort_unstable();
        let twice: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(!twice.iter().any(|name| definitions().any(|function| function.name == *name)), "{twice:?}");
    }
}
