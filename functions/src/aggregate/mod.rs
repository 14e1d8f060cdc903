//! Aggregate functions.
//!
//! One is an `Aggregate`, with signatures like those of scalar functions. What `DISTINCT` and `ORDER BY` within a call mean, and frames of windows that rows leave, is the same for
//! all of them (`collected`, `sliding`): a function has only an accumulator of rows that come one after the other. Those of one number (`fold`) and of a few doubles
//! (`numbers`) have accumulators of many groups, too.

mod any;
mod average;
mod best;
mod checksum;
mod collected;
mod extremes;
mod fold;
mod frequent;
mod function;
mod keys;
mod listagg;
mod maps;
mod moments;
mod numbers;
mod numeric_histogram;
mod order;
mod percentile;
mod sketches;
mod sliding;
mod sums;

use std::sync::{Arc, LazyLock};

use datafusion::functions_aggregate::bool_and_or::bool_and_udaf;
use datafusion::logical_expr::AggregateUDF;

static FUNCTIONS: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
    let every = Arc::new((*bool_and_udaf()).clone().with_aliases(["every"]));
    definitions().map(function::function).chain(extremes::functions()).chain([every]).collect()
});

fn definitions() -> impl Iterator<Item = &'static function::Aggregate> {
    let groups = [
        any::FUNCTIONS,
        average::FUNCTIONS,
        best::FUNCTIONS,
        checksum::FUNCTIONS,
        frequent::FUNCTIONS,
        listagg::FUNCTIONS,
        maps::FUNCTIONS,
        moments::FUNCTIONS,
        numeric_histogram::FUNCTIONS,
        percentile::FUNCTIONS,
        sketches::FUNCTIONS,
        sums::FUNCTIONS,
    ];
    groups.into_iter().flatten()
}

/// All aggregate functions.
pub fn aggregates() -> &'static [Arc<AggregateUDF>] {
    &FUNCTIONS
}

/// Names of the functions as users know them, other ones included, with the ways to call them and what they do. A name may come several times.
pub fn described() -> impl Iterator<Item = (&'static str, &'static [&'static str], &'static str)> {
    let of_one = |function: &'static function::Aggregate| {
        let name = match function.name {
            best::GREATEST => "max",
            best::LEAST => "min",
            name => name,
        };
        std::iter::once(name).chain(function.aliases.iter().copied()).map(move |name| (name, function.signatures, function.about))
    };
    definitions().flat_map(of_one).chain(extremes::DESCRIBED)
}

/// The name by which an aggregate function is planned with this number of arguments: `max(x, n)` is another function than `max(x)`.
pub fn name_for(name: &str, arguments: usize) -> &str {
    match (name, arguments) {
        ("max", 2) => best::GREATEST,
        ("min", 2) => best::LEAST,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            aggregates().iter().flat_map(|function| std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str))).collect();
        names.sort_unstable();
        let twice: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
