//! Results that lie in storage until their clients have fetched them. A result is cut into segments, each a file of its own; the name of one tells when it may be deleted,
//! so that no list of them is kept: whoever cleans up, after a crash too, needs nothing but the names.

mod name;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::TryStreamExt;
pub use nunatak_catalog::storage::FileContent;
use nunatak_catalog::storage::{Location, Storage, StorageProperties, Storages};
use nunatak_core::config::{Retrieval, SpoolLocation, Spooling};
use nunatak_core::{Code, Error, Result};

pub use self::name::SegmentName;

/// The folder in the data directory.
const FOLDER: &str = "spooled";

/// How many files one look deletes at a time: the listing goes on behind them.
const SWEEP_FILES: usize = 250;

/// The place of spooled results. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Arc<Storage>,
    /// Without a slash at its end.
    folder: String,
    settings: Spooling,
}

impl Spool {
    /// The place that the settings name; `None` if there is none. Nothing is asked of a server for it.
    ///
    /// Errors: `CONFIGURATION_INVALID` for properties that mean nothing, a place that is none or a local folder that cannot be made, and where the store signs no addresses and should.
    pub(super) async fn open(settings: &Spooling, data_dir: &Path, storages: &Storages) -> Result<Option<Self>> {
        let folder = match &settings.location {
            SpoolLocation::Unnamed | SpoolLocation::Nowhere => return Ok(None),
            SpoolLocation::DataDir => format!("file://{}", data_dir.join(FOLDER).display()),
            SpoolLocation::At(folder) => folder.clone(),
        };
        let invalid = |error: Error| Error::new(Code::ConfigurationInvalid, format!("spooling.location: {}", error.message())).with_source(error);
        let storage = storages.get(&StorageProperties::new(settings.storage.clone()).map_err(invalid)?);
        let signs = storage.signs_addresses(&folder).map_err(invalid)?;
        if settings.retrieval == Retrieval::Storage && !signs {
            let why = format!("spooling.retrieval: the store of '{folder}' signs no addresses");
            return Err(Error::new(Code::ConfigurationInvalid, why).with_hint("set it to coordinator, or spool to S3, Google Cloud Storage or Azure"));
        }
        // Of a store that is reached over the network it is known when something is written.
        if Location::parse(&folder).map_err(invalid)?.is_local() {
            storage.make_folder(&folder).await.map_err(invalid)?;
        }
        tracing::info!(location = %folder, "results are spooled for clients that ask for it");
        Ok(Some(Self(Arc::new(Inner { storage, folder, settings: settings.clone() }))))
    }

    /// How results are spooled.
    pub fn settings(&self) -> &Spooling {
        &self.0.settings
    }

    /// A name for the next segment of a query, which has `number` others.
    pub fn name(&self, query: &str, number: usize) -> SegmentName {
        SegmentName::new(SystemTime::now() + self.0.settings.ttl, query, number)
    }

    /// Writes a segment; whoever reads it has all of it.
    pub async fn write(&self, name: &SegmentName, bytes: Bytes) -> Result<()> {
        self.0.storage.write(&self.location(name), bytes).await
    }

    /// Reads a segment; `None` if it is not there, or not any more.
    pub async fn read(&self, name: &SegmentName) -> Result<Option<FileContent>> {
        self.0.storage.read_as_it_comes(&self.location(name)).await
    }

    /// Deletes segments. One that is gone is no error.
    pub async fn delete(&self, names: &[SegmentName]) -> Result<()> {
        let locations: Vec<String> = names.iter().map(|name| self.location(name)).collect();
        self.0.storage.delete_files(&locations).await
    }

    /// The address by which a client reads a segment from its store, if that is how segments are fetched.
    pub async fn signed_address(&self, name: &SegmentName) -> Result<Option<String>> {
        match self.0.settings.retrieval {
            Retrieval::Coordinator => Ok(None),
            Retrieval::Storage => {
                let signed = self.0.storage.signed_address(&self.location(name), self.0.settings.ttl).await?;
                Ok(signed.map(String::from))
            }
        }
    }

    /// Deletes the segments that cannot be fetched any more at a time, and gives how many they were. Other files stay as they are.
    pub(crate) async fn sweep(&self, now: SystemTime) -> Result<usize> {
        let mut files = self.0.storage.list(&self.0.folder)?;
        let (mut old, mut deleted) = (Vec::new(), 0);
        while let Some(file) = files.try_next().await? {
            let name = file.location.rsplit('/').next().unwrap_or_default();
            if name::until(name).is_some_and(|until| until < now) {
                old.push(file.location);
            }
            if old.len() >= SWEEP_FILES {
                deleted += old.len();
                self.0.storage.delete_files(&std::mem::take(&mut old)).await?;
            }
        }
        deleted += old.len();
        self.0.storage.delete_files(&old).await?;
        Ok(deleted)
    }

    fn location(&self, name: &SegmentName) -> String {
        format!("{}/{name}", self.0.folder)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nunatak_core::config::{Sources, load};

    use super::*;

    async fn open(change: impl FnOnce(&mut Spooling), data_dir: &Path) -> Result<Option<Spool>> {
        let mut settings = load(&Sources::default())?.config.spooling;
        change(&mut settings);
        Spool::open(&settings, data_dir, &Storages::default()).await
    }

    #[tokio::test]
    async fn segments_are_there_until_their_time() {
        let directory = tempfile::tempdir().unwrap();
        assert!(open(|_| {}, directory.path()).await.unwrap().is_none());
        let spool = open(Spooling::in_data_dir, directory.path()).await.unwrap().unwrap();
        let names = [spool.name("q", 0), spool.name("q", 1)];
        for name in &names {
            spool.write(name, Bytes::from_static(b"rows")).await.unwrap();
        }
        let other = directory.path().join("spooled/other");
        std::fs::write(&other, b"").unwrap();
        assert_eq!(spool.read(&names[0]).await.unwrap().unwrap().bytes, 4);
        assert_eq!(spool.signed_address(&names[0]).await.unwrap(), None);
        spool.delete(&names[..1]).await.unwrap();
        spool.delete(&names[..1]).await.unwrap();
        assert!(spool.read(&names[0]).await.unwrap().is_none());
        let ttl = spool.settings().ttl;
        assert_eq!(spool.sweep(SystemTime::now() + ttl - Duration::from_secs(60)).await.unwrap(), 0);
        assert_eq!(spool.sweep(SystemTime::now() + ttl + Duration::from_secs(60)).await.unwrap(), 1);
        assert!(spool.read(&names[1]).await.unwrap().is_none() && other.exists());
    }

    #[tokio::test]
    async fn a_place_of_no_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, b"").unwrap();
        for (location, retrieval) in
            [(format!("file://{}/x", file.display()), Retrieval::Coordinator), (format!("file://{}", directory.path().display()), Retrieval::Storage)]
        {
            let change = |settings: &mut Spooling| (settings.location, settings.retrieval) = (SpoolLocation::At(location), retrieval);
            assert_eq!(open(change, directory.path()).await.unwrap_err().code(), Code::ConfigurationInvalid);
        }
    }
}
