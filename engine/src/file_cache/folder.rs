//! The folder of a cache on disk.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nunatak_core::{Code, Error, Result};

/// How many processes may share a folder.
const PROCESSES_MAX: usize = 64;

/// A folder that belongs to this process as long as it lives.
#[derive(Debug)]
pub(super) struct CacheFolder {
    path: PathBuf,
    _locked: File,
}

impl CacheFolder {
    /// The first folder within `parent` that no other process has, so that a process finds again what it had before.
    pub(super) fn take(parent: &Path) -> Result<Self> {
        let wrong = |error| unusable(parent, error);
        for number in 0..PROCESSES_MAX {
            let path = parent.join(number.to_string());
            fs::create_dir_all(&path).map_err(wrong)?;
            let lock = File::create(parent.join(format!("{number}.lock"))).map_err(wrong)?;
            if lock.try_lock().is_ok() {
                return Ok(Self { path, _locked: lock });
            }
        }
        Err(wrong(std::io::Error::other(format!("{PROCESSES_MAX} processes use it"))))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The error for a folder in which nothing can be kept.
pub(super) fn unusable(folder: &Path, why: impl Display) -> Error {
    Error::new(Code::ConfigurationInvalid, format!("the folder '{}' for parts of data files cannot be used: {why}", folder.display()))
        .with_hint("name another data directory with --data-dir, or set cache.disk to 0B")
}
