//! Files that are handed on to others as they are: their content as it comes, or an address by which whoever has it reads one without credentials.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use nunatak_core::Result;
use object_store::signer::Signer;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt};
use url::Url;

use super::{Location, Storage, error};

/// Up to this size a local file is read as a whole: it would come in pieces of a few KiB, each by a thread of its own.
const WHOLE_BYTES_MAX: u64 = 32 << 20;

/// A file as it is read.
pub struct FileContent {
    /// Its length.
    pub bytes: u64,
    /// What is in it.
    pub content: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Storage {
    /// Reads a file as it comes; `None` when there is no such file.
    pub async fn read_as_it_comes(&self, location: &str) -> Result<Option<FileContent>> {
        let (store, path) = self.resolve(location)?;
        let Some(found) = error::if_there(store.get(&path).await, location)? else { return Ok(None) };
        let bytes = found.meta.size;
        if matches!(found.payload, GetResultPayload::File(..)) && bytes <= WHOLE_BYTES_MAX {
            let content = found.bytes().await.map_err(|error| error::from_object_store(error, location))?;
            return Ok(Some(FileContent { bytes, content: futures::stream::once(async move { Ok(content) }).boxed() }));
        }
        let location = location.to_owned();
        let content = found.into_stream().map_err(move |error| error::from_object_store(error, &location)).boxed();
        Ok(Some(FileContent { bytes, content }))
    }

    /// An address by which others read a file for a time, without credentials; `None` if its store signs none.
    pub async fn signed_address(&self, location: &str, valid_for: Duration) -> Result<Option<Url>> {
        let parsed = Location::parse(location)?;
        let Some(signer) = self.entry(&parsed)?.signs else { return Ok(None) };
        let signed = signer.signed_url(reqwest::Method::GET, &parsed.object_path()?, valid_for).await;
        signed.map(Some).map_err(|error| error::from_object_store(error, location))
    }

    /// Whether [`Self::signed_address`] gives addresses there.
    pub fn signs_addresses(&self, location: &str) -> Result<bool> {
        Ok(self.entry(&Location::parse(location)?)?.signs.is_some())
    }
}

/// A store that signs addresses, too.
pub(super) fn signing<S: ObjectStore + Signer>(store: Arc<S>, signs: &mut Option<Arc<dyn Signer>>) -> Arc<dyn ObjectStore> {
    *signs = Some(Arc::clone(&store) as Arc<dyn Signer>);
    store
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::StorageProperties;
    use super::*;

    #[tokio::test]
    async fn files_are_handed_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("{}/x", directory.path().display());
        let storage = Storage::new();
        assert!(storage.read_as_it_comes(&file).await.unwrap().is_none());
        storage.write(&file, Bytes::from_static(b"content")).await.unwrap();
        let FileContent { bytes, content } = storage.read_as_it_comes(&file).await.unwrap().unwrap();
        assert_eq!((bytes, content.try_collect::<Vec<_>>().await.unwrap().concat()), (7, b"content".to_vec()));
        assert!(!storage.signs_addresses(&file).unwrap() && storage.signed_address(&file, Duration::from_secs(1)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn addresses_are_signed_with_keys_of_our_own() {
        let properties = |more: &[(&str, &str)]| -> BTreeMap<String, String> {
            let own = [("s3.endpoint", "http://127.0.0.1:9"), ("s3.access-key-id", "id"), ("s3.secret-access-key", "s3cr3t"), ("s3.region", "x")];
            own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let storage = Storage::with_properties(StorageProperties::of_known(properties(&[])));
        let address = storage.signed_address("s3://lake/a b", Duration::from_secs(60)).await.unwrap().unwrap();
        assert!(address.as_str().starts_with("http://127.0.0.1:9/lake/a%20b?") && address.as_str().contains("X-Amz-Expires=60"), "{address}");
        assert!(!address.as_str().contains("s3cr3t"));
    }
}
