//! DataFusion's functions that look for a value in an array, or put one there, and `coalesce`, for values of another type than the elements: a number that is written with a point is a
//! decimal, and the array has doubles. The arguments are made alike by the rules (`rules/alike`), but a query is refused before these see it unless its types fit.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::datatype::DataTypeExt;
use datafusion::error::Result;
use datafusion::functions::core::coalesce;
use datafusion::functions_nested::all_default_nested_functions;
use datafusion::logical_expr::expr::Expr;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use crate::rules::alike_arguments;

const NAMES: [&str; 19] = [
    "array_append",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_union",
    "array_concat",
    "coalesce",
    "map_extract",
];

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let theirs = all_default_nested_functions().into_iter().chain([coalesce()]).filter(|function| NAMES.contains(&function.name()));
    theirs.map(|theirs| Arc::new(ScalarUDF::new_from_impl(ArrayNumbers::new(theirs)))).collect()
});

/// The functions.
pub fn all() -> &'static [Arc<ScalarUDF>] {
    &FUNCTIONS
}

/// The types that the arguments of one of these functions get; `None` if it is another function, or they are what it takes.
pub(crate) fn argument_types(name: &str, types: &[DataType]) -> Option<Vec<DataType>> {
    if NAMES.contains(&name) { alike_arguments(name, types) } else { None }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayNumbers {
    theirs: Arc<ScalarUDF>,
    signature: Signature,
}

impl ArrayNumbers {
    fn new(theirs: Arc<ScalarUDF>) -> Self {
        let signature = Signature::user_defined(theirs.signature().volatility);
        Self { theirs, signature }
    }
}

impl ScalarUDFImpl for ArrayNumbers {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn aliases(&self) -> &[String] {
        self.theirs.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let alike = argument_types(self.name(), types);
        let fields = alike.as_deref().unwrap_or(types).iter().map(|data_type| data_type.clone().into_nullable_field_ref());
        let coerced = fields_with_udf(&fields.collect::<Vec<_>>(), self.theirs.as_ref())?;
        Ok(coerced.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.theirs.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.theirs.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.theirs.invoke_with_args(arguments)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        self.theirs.inner().with_updated_config(config)
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.theirs.simplify(arguments, context)
    }

    fn conditional_arguments<'a>(&self, arguments: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.theirs.conditional_arguments(arguments)
    }

    fn short_circuits(&self) -> bool {
        self.theirs.short_circuits()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }
}
