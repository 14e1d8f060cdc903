//! The error of a task as ours, whatever Ballista has put around it on its way.

use ballista_core::error::BallistaError;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use nunatak_core::Error;
use nunatak_engine::error::{from_arrow, from_datafusion_ref};

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
    match error {
        ArrowError::DivideByZero
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::CastError(_)
        | ArrowError::ParseError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::InvalidArgumentError(_)
        | ArrowError::NotYetImplemented(_)
        | ArrowError::MemoryError(_) => from_arrow(error),
        ArrowError::ExternalError(inner) => match (inner.downcast_ref::<DataFusionError>(), inner.downcast_ref::<Error>()) {
            (Some(inner), _) => describe(inner),
            (_, Some(ours)) => ours.clone_without_source(),
            _ => from_arrow(error),
        },
        other => from_arrow(&ArrowError::ExternalError(other.to_string().into())),
    }
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
