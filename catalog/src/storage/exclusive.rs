//! Files of which one of all writers that try makes one. S3 promises it with a condition (`If-None-Match`), which some stores like it pass over.

use bytes::Bytes;
use nunatak_core::Result;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use uuid::Uuid;

use super::{Created, error};

/// Whether a store keeps what is there when a file is made a second time, found out with a file beside the one that is to be made.
pub(super) async fn is_exclusive(store: &dyn ObjectStore, path: &Path, location: &str) -> Result<bool> {
    let probe = Path::from(format!("{path}.probe-{}", Uuid::new_v4().simple()));
    let failed = |error| error::from_object_store(error, location);
    let made = create(store, &probe, Bytes::from_static(b"probe")).await;
    if made.as_ref().is_err_and(error::is_not_implemented) {
        return Ok(false);
    }
    made.map_err(failed)?;
    let made_again = create(store, &probe, Bytes::from_static(b"probe")).await;
    // One that is left behind is in nobody's way.
    let _ = store.delete(&probe).await;
    made_again.map(|made_again| made_again == Created::Existed).map_err(failed)
}

/// Makes a file, if there is none.
pub(super) async fn create(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> object_store::Result<Created> {
    match store.put_opts(path, bytes.into(), PutMode::Create.into()).await {
        Ok(_) => Ok(Created::New),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(Created::Existed),
        Err(error) => Err(error),
    }
}
