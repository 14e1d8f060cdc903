//! Scalar functions as data, and as DataFusion's.

use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::call::Call;
use crate::signature::{Overload, Resolved, choose};

/// What computes a function from its arguments.
pub type Run = fn(&Call<'_>) -> Result<ArrayRef>;

/// What a function returns for types of arguments, where its signatures cannot say it: they are as [`Scalar::signatures`] have converted them.
pub type Returns = fn(&[DataType]) -> Result<DataType>;

/// What a function returns for types of arguments, and those of them that are constants: texts among these are as they were written.
pub type ReturnsFor = fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType>;

/// For which values of its one argument, which has that type, a function has a result: from the first one, which is among them, up to the second, which is not.
/// `None` if they are no such range. It lets a comparison with the result be one with the argument, of which there are statistics.
pub type Preimage = fn(&DataType, &ScalarValue) -> Option<(ScalarValue, ScalarValue)>;

/// The same for a function of a value, which has that type, and a constant behind it.
pub type PreimageBeside = fn(&DataType, &ScalarValue, &ScalarValue) -> Option<(ScalarValue, ScalarValue)>;

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
    /// What it returns, where that depends on the values of constants.
    pub returns_for: Option<ReturnsFor>,
    /// For which values it has a result.
    pub preimage: Option<Preimage>,
    /// For which values it has a result, beside a constant.
    pub preimage_beside: Option<PreimageBeside>,
    /// What computes it.
    pub run: Run,
    /// Whether it sees NULLs. Otherwise a row with a NULL among its arguments is NULL.
    pub sees_nulls: bool,
    /// Whether it takes constants as they are ([`Call::operand`]). Otherwise they are columns, too.
    pub takes_constants: bool,
    /// How its results depend on time.
    pub volatility: Volatility,
    /// What it does, in one sentence.
    pub about: &'static str,
}

impl Scalar {
    /// A function whose results depend on its arguments only, and are NULL where one of them is.
    pub const fn new(name: &'static str, signatures: &'static [&'static str], run: Run, about: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            signatures,
            returns: None,
            returns_for: None,
            preimage: None,
            preimage_beside: None,
            run,
            sees_nulls: false,
            takes_constants: false,
            volatility: Volatility::Immutable,
            about,
        }
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

    /// The same, taking constants as columns of one row.
    #[must_use]
    pub const fn taking_constants(self) -> Self {
        Self { takes_constants: true, ..self }
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

    /// The same with a type of results that `returns` tells from its constants.
    #[must_use]
    pub const fn returning_for(self, returns: ReturnsFor) -> Self {
        Self { returns_for: Some(returns), ..self }
    }

    /// The same, of one argument, of whose results `preimage` tells where they come from.
    #[must_use]
    pub const fn with_preimage(self, preimage: Preimage) -> Self {
        Self { preimage: Some(preimage), ..self }
    }

    /// The same, of a value and a constant, of whose results `preimage` tells where they come from.
    #[must_use]
    pub const fn with_preimage_beside(self, preimage: PreimageBeside) -> Self {
        Self { preimage_beside: Some(preimage), ..self }
    }

    fn returned(&self, resolved: Resolved) -> Result<DataType> {
        match self.returns {
            Some(returns) => returns(&resolved.arguments),
            None => Ok(resolved.result),
        }
    }
}

/// The functions for DataFusion. Definitions of one name are ways to call one function.
pub fn functions(definitions: impl Iterator<Item = &'static Scalar>) -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<Function> = Vec::new();
    for definition in definitions {
        match functions.iter_mut().find(|function| function.name == definition.name) {
            Some(function) => function.add(definition),
            None => functions.push(Function::new(definition)),
        }
    }
    functions.into_iter().map(|function| Arc::new(ScalarUDF::new_from_impl(function))).collect()
}

#[derive(Debug)]
struct Function {
    name: &'static str,
    overloads: Vec<Overload>,
    /// The definition of each overload.
    definitions: Vec<&'static Scalar>,
    aliases: Vec<String>,
    signature: Signature,
}

impl Function {
    fn new(definition: &'static Scalar) -> Self {
        let signature = Signature::user_defined(definition.volatility);
        let mut function = Self { name: definition.name, overloads: Vec::new(), definitions: Vec::new(), aliases: Vec::new(), signature };
        function.add(definition);
        function
    }

    fn add(&mut self, definition: &'static Scalar) {
        self.overloads.extend(definition.signatures.iter().filter_map(|text| Overload::parse(text)));
        self.definitions.resize(self.overloads.len(), definition);
        self.aliases.extend(definition.aliases.iter().map(|&alias| alias.to_owned()));
    }

    /// What a call with arguments of these types is.
    fn choose(&self, types: &[DataType]) -> Result<(&'static Scalar, Resolved)> {
        let (index, resolved) = choose(self.name, &self.overloads, types)?;
        match self.definitions.get(index) {
            Some(definition) => Ok((definition, resolved)),
            None => internal_err!("function '{}' has no way {index}", self.name),
        }
    }

    /// Whether it takes integers, and no numbers of type `bigint`.
    fn takes_integers_only(&self) -> bool {
        let takes = |data_type: &DataType| self.overloads.iter().any(|overload| overload.takes(data_type));
        takes(&DataType::Int32) && !takes(&DataType::Int64)
    }

    /// The same where whole numbers that are written out may still be of type `bigint`, which they are until a statement is planned: if the function takes none, they are
    /// taken for integers, for now. Which arguments are so is said besides.
    fn choose_for_written(&self, types: &[DataType]) -> Result<(&'static Scalar, Resolved, Vec<bool>)> {
        let refusal = match self.choose(types) {
            Ok((definition, resolved)) => return Ok((definition, resolved, vec![false; types.len()])),
            Err(refusal) if !self.takes_integers_only() => return Err(refusal),
            Err(refusal) => refusal,
        };
        let narrow = |data_type: &DataType| if *data_type == DataType::Int64 { DataType::Int32 } else { data_type.clone() };
        let narrowed: Vec<DataType> = types.iter().map(narrow).collect();
        let Ok((definition, resolved)) = self.choose(&narrowed) else { return Err(refusal) };
        let are_narrowed = types.iter().zip(&resolved.arguments).map(|(has, wanted)| *has == DataType::Int64 && *wanted == DataType::Int32).collect();
        Ok((definition, resolved, are_narrowed))
    }
}

/// Whether a function takes integers and no numbers of type `bigint`, of which a call is to be [checked](check_integers) when it has been planned.
pub fn takes_integers_only(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Function>().is_some_and(Function::takes_integers_only)
}

/// Checks that a call has no argument of type `bigint` where an integer is wanted, now that whole numbers which are written out are integers. `values` are the constants
/// among the arguments. Errors: `FUNCTION_NOT_FOUND`.
pub fn check_integers(function: &ScalarUDF, types: &[DataType], values: &[Option<&ScalarValue>]) -> Result<()> {
    let Some(function) = function.inner().downcast_ref::<Function>() else { return Ok(()) };
    let (_, _, are_narrowed) = function.choose_for_written(types)?;
    let mut narrowed = are_narrowed.iter().zip(values).filter(|(is_narrowed, _)| **is_narrowed);
    if narrowed.all(|(_, value)| is_integer(*value)) { Ok(()) } else { function.choose(types).map(|_| ()) }
}

/// Whether a constant is a whole number that an integer holds.
fn is_integer(value: Option<&ScalarValue>) -> bool {
    matches!(value, Some(ScalarValue::Int64(number)) if number.is_none_or(|number| i32::try_from(number).is_ok()))
}

/// Writes the name of a call, as DataFusion does. That one makes a text of each call within it: of operators that stand in a row, which are calls one in the other, each would be
/// written as often as it is deep.
fn write_call(name: &mut String, function: &str, arguments: &[Expr]) -> Result<()> {
    name.push_str(function);
    name.push('(');
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            name.push(',');
        }
        match argument {
            Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Function>().is_some() => write_call(name, call.func.name(), &call.args)?,
            argument => write!(name, "{}", argument.schema_name())?,
        }
    }
    name.push(')');
    Ok(())
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let mut name = String::new();
        write_call(&mut name, self.name, arguments)?;
        Ok(name)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (definition, Resolved { mut arguments, .. }, are_narrowed) = self.choose_for_written(types)?;
        for ((argument, given), is_narrowed) in arguments.iter_mut().zip(types).zip(are_narrowed) {
            // A constant within a cast is none that can be seen.
            let tells =
                definition.returns_for.is_some() && (*argument == DataType::Utf8View || *argument == DataType::Int64 && given.is_signed_integer());
            if is_narrowed || tells {
                argument.clone_from(given);
            }
        }
        Ok(arguments)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (definition, resolved) = self.choose(types)?;
        definition.returned(resolved)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let (definition, resolved, _) = self.choose_for_written(&types)?;
        let data_type = match definition.returns_for {
            Some(returns) => returns(&resolved.arguments, arguments.scalar_arguments)?,
            None => definition.returned(resolved)?,
        };
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    fn preimage(&self, arguments: &[Expr], result: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let preimage = self.definitions.iter().find_map(|definition| definition.preimage);
        let beside = self.definitions.iter().find_map(|definition| definition.preimage_beside);
        let (argument, range) = match (arguments, result, preimage, beside) {
            ([argument], Expr::Literal(result, _), Some(preimage), _) => (argument, preimage(&info.get_data_type(argument)?, result)),
            ([argument, Expr::Literal(constant, _)], Expr::Literal(result, _), _, Some(preimage)) => {
                (argument, preimage(&info.get_data_type(argument)?, constant, result))
            }
            _ => return Ok(PreimageResult::None),
        };
        Ok(match range {
            Some((first, end)) => PreimageResult::Range { expr: argument.clone(), interval: Box::new(Interval::try_new(first, end)?) },
            None => PreimageResult::None,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = arguments.args.iter().map(ColumnarValue::data_type).collect();
        let (definition, resolved, _) = self.choose_for_written(&types)?;
        let is_constant =
            definition.volatility != Volatility::Volatile && arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { arguments.number_rows };
        let array = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(constant) if definition.takes_constants => constant.to_array(),
            value => value.to_array(rows),
        };
        let mut values: Vec<ArrayRef> = arguments.args.iter().map(array).collect::<Result<_>>()?;
        // Constants of a statement are evaluated without its being analysed, and what tells a type is left as it is written.
        for (value, wanted) in values.iter_mut().zip(resolved.arguments) {
            if *value.data_type() != wanted {
                *value = cast(value, &wanted)?;
            }
        }
        let sees_nulls = definition.sees_nulls || definition.takes_constants;
        let call = Call::new(&values, rows, arguments.return_field.data_type(), &arguments.config_options, sees_nulls);
        let result = (definition.run)(&call)?;
        Ok(if is_constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?) } else { ColumnarValue::Array(result) })
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::definitions;

    #[test]
    fn signatures_are_read() {
        for function in definitions() {
            for text in function.signatures {
                assert!(Overload::parse(text).is_some(), "{}{text}", function.name);
            }
        }
    }

    #[test]
    fn numbers_that_are_written_out_are_integers_where_they_have_to_be() {
        let function = crate::scalar("to_big_endian_32").unwrap();
        assert!(takes_integers_only(function) && !takes_integers_only(crate::scalar("round").unwrap()));
        assert_eq!(function.coerce_types(&[DataType::Int64]).unwrap(), [DataType::Int64]);
        assert_eq!(function.coerce_types(&[DataType::Int16]).unwrap(), [DataType::Int32]);
        assert!(function.coerce_types(&[DataType::Float64]).is_err());
        let checked = |value: Option<ScalarValue>| check_integers(function, &[DataType::Int64], &[value.as_ref()]);
        assert!(checked(Some(ScalarValue::from(7_i64))).is_ok());
        for refused in [None, Some(ScalarValue::from(3_000_000_000_i64))] {
            assert!(checked(refused).unwrap_err().to_string().contains("does not take (bigint)"));
        }
    }

    #[test]
    fn calls_within_calls_are_named_as_by_datafusion() {
        let [sum, length] = ["$add", "length"].map(|name| crate::scalar(name).unwrap());
        let within = sum.call(vec![length.call(vec![col("t.s")]), lit(1_i64)]);
        let call = sum.call(vec![within, col("i") - lit(2_i64)]);
        assert_eq!(call.schema_name().to_string(), "$add($add(length(t.s),Int64(1)),i - Int64(2))");
    }

    #[test]
    fn other_names_are_names_of_one_function() {
        let mut names: Vec<&str> = definitions().map(|function| function.name).collect();
        names.sort_unstable();
        names.dedup();
        names.extend(definitions().flat_map(|function| function.aliases.iter().copied()));
        names.sort_unstable();
        let twice: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn definitions_of_one_name_do_not_take_the_same() {
        for function in definitions() {
            for other in definitions().filter(|other| other.name == function.name && !std::ptr::eq(*other, function)) {
                let same: Vec<&&str> = function.signatures.iter().filter(|text| other.signatures.contains(text)).collect();
                assert!(same.is_empty() && other.volatility == function.volatility, "{} {same:?}", function.name);
            }
        }
    }
}
