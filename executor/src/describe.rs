//! The error of a task as ours, whatever Ballista has put around it on its way.

use ballista_core::error::BallistaError;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use nunatak_core::Error;
use nunatak_engine::error::from_datafusion_ref;

/// What went wrong, with the code that the same error has in a query that runs on one node.
pub(crate) fn describe(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Shared(inner) => describe(inner),
        DataFusionError::Context(_, inner) => describe(inner),
        DataFusionError::External(inner) => {
            if let Some(inner) = inner.downcast_ref::<DataFusionError>() {
                return describe(inner);
            }
            match inner.downcast_ref::<BallistaError>() {
                Some(BallistaError::DataFusionError(inner)) => describe(inner),
                Some(BallistaError::ArrowError(inner)) => describe_arrow(inner),
                _ => from_datafusion_ref(error),
            }
        }
        _ => from_datafusion_ref(error),
    }
}

fn describe_arrow(error: &ArrowError) -> Error {
    // Arrow's errors cannot be copied; those that tell of values are made again.
    let copy = match error {
        ArrowError::DivideByZero => ArrowError::DivideByZero,
        ArrowError::ArithmeticOverflow(text) => ArrowError::ArithmeticOverflow(text.clone()),
        ArrowError::CastError(text) => ArrowError::CastError(text.clone()),
        ArrowError::ParseError(text) => ArrowError::ParseError(text.clone()),
        ArrowError::ComputeError(text) => ArrowError::ComputeError(text.clone()),
        ArrowError::InvalidArgumentError(text) => ArrowError::InvalidArgumentError(text.clone()),
        ArrowError::NotYetImplemented(text) => ArrowError::NotYetImplemented(text.clone()),
        ArrowError::MemoryError(text) => ArrowError::MemoryError(text.clone()),
        ArrowError::ExternalError(inner) => match (inner.downcast_ref::<DataFusionError>(), inner.downcast_ref::<Error>()) {
            (Some(inner), _) => return describe(inner),
            (_, Some(ours)) => return ours.clone_without_source(),
            _ => ArrowError::ExternalError(inner.to_string().into()),
        },
        other => ArrowError::ExternalError(other.to_string().into()),
    };
    from_datafusion_ref(&DataFusionError::ArrowError(Box::new(copy), None))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nunatak_core::Code;
    use nunatak_engine::error::into_datafusion;

    use super::*;

    #[test]
    fn codes_survive_what_is_put_around_them() {
        let around = |inner: BallistaError| DataFusionError::Shared(Arc::new(DataFusionError::External(Box::new(inner))));
        assert_eq!(describe(&around(BallistaError::ArrowError(Box::new(ArrowError::DivideByZero)))).code(), Code::DivisionByZero);
        let ours = || into_datafusion(Error::new(Code::BadFileRow, "x.csv:3: not a number"));
        assert_eq!(describe(&around(BallistaError::DataFusionError(Box::new(ours())))).code(), Code::BadFileRow);
        let external = ArrowError::ExternalError(Box::new(ours()));
        assert_eq!(describe(&around(BallistaError::ArrowError(Box::new(external)))).message(), "x.csv:3: not a number");
        assert_eq!(describe(&DataFusionError::ResourcesExhausted("full".into())).code(), Code::ExceededLocalMemoryLimit);
    }
}
