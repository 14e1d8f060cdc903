//! The operators of arithmetic, of whole numbers: what is out of range is refused. DataFusion lets it wrap.
//!
//! No statement can call these by name: a rule of the engine puts them in place of the operators. Decimals are in [`super::decimal_operators`].

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::error::Result;

use super::decimal_operators as decimals;
use super::magnitudes::integers;
use crate::{Call, Scalar, out_of_range};

/// Every type of numbers that are counted, twice.
const BOTH: &[&str] = &[
    "(tinyint, tinyint) -> tinyint",
    "(smallint, smallint) -> smallint",
    "(integer, integer) -> integer",
    "(bigint, bigint) -> bigint",
    "(decimal, decimal) -> decimal",
];
/// The same and floating-point numbers.
const ALL: &[&str] = &[
    "(tinyint, tinyint) -> tinyint",
    "(smallint, smallint) -> smallint",
    "(integer, integer) -> integer",
    "(bigint, bigint) -> bigint",
    "(decimal, decimal) -> decimal",
    "(real, real) -> real",
    "(double, double) -> double",
];
const NEGATE: &[&str] = &["(tinyint) -> tinyint", "(smallint) -> smallint", "(integer) -> integer", "(bigint) -> bigint"];

type Kernel = fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>;

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("$add", BOTH, |call| either(call, numeric::add, decimals::add), "The sum.").returning(decimals::type_of_sum),
    Scalar::new("$subtract", BOTH, |call| either(call, numeric::sub, decimals::subtract), "The difference.").returning(decimals::type_of_sum),
    Scalar::new("$multiply", BOTH, |call| either(call, numeric::mul, decimals::multiply), "The product.").returning(decimals::type_of_product),
    Scalar::new("$divide", BOTH, |call| either(call, numeric::div, decimals::divide), "The quotient.").returning(decimals::type_of_quotient),
    Scalar::new("$remainder", BOTH, |call| either(call, numeric::rem, decimals::remainder), "The remainder.").returning(decimals::type_of_remainder),
    Scalar::new("$negate", NEGATE, negate, "The number with the other sign."),
    Scalar::new("mod", ALL, |call| either(call, numeric::rem, decimals::remainder), "The remainder of a division.")
        .returning(decimals::type_of_remainder),
];

fn either(call: &Call<'_>, kernel: Kernel, of_decimals: fn(&Call<'_>) -> Result<ArrayRef>) -> Result<ArrayRef> {
    match call.returns() {
        DataType::Decimal128(..) => of_decimals(call),
        _ => Ok(kernel(call.argument(0)?, call.argument(1)?)?),
    }
}

fn negate(call: &Call<'_>) -> Result<ArrayRef> {
    integers(call, |number| number.checked_neg().ok_or_else(|| out_of_range(format!("{number} has no positive number in its type"))))
}
