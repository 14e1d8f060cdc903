//! The folder of shuffle files: a folder a job, within it a folder a stage.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nunatak_core::{Code, Error, Result};
use tracing::warn;

/// The ending of lock files.
const LOCK: &str = "lock";

/// The folder in which this process keeps its shuffle files.
#[derive(Debug)]
pub(crate) struct ShuffleFolder {
    path: PathBuf,
    /// Locked as long as the process lives: the folder of one that was killed can be told by it.
    lock: PathBuf,
    _locked: File,
}

impl ShuffleFolder {
    /// Makes the folder of a process within `parent`, and removes those of processes that have ended without doing so.
    pub(crate) fn create(parent: &Path, executor_id: &str) -> Result<Self> {
        let wrong = |error: std::io::Error| {
            Error::new(Code::ConfigurationInvalid, format!("the folder '{}' for shuffle files cannot be written: {error}", parent.display()))
                .with_hint("name another one with --data-dir")
        };
        fs::create_dir_all(parent).map_err(wrong)?;
        let parent = parent.canonicalize().map_err(wrong)?;
        for entry in fs::read_dir(&parent).map_err(wrong)?.flatten() {
            remove_if_abandoned(&entry.path());
        }
        let lock = parent.join(executor_id).with_extension(LOCK);
        let locked = File::create(&lock).map_err(wrong)?;
        locked.lock().map_err(wrong)?;
        let path = parent.join(executor_id);
        fs::create_dir_all(&path).map_err(wrong)?;
        Ok(Self { path, lock, _locked: locked })
    }

    /// Its path, as Ballista takes it.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Removes the files of a job, or of some of its stages.
    pub(crate) fn remove_job(&self, job: &str, stages: &[u32]) -> Result<()> {
        // What comes over the wire must not lead out of the folder.
        if job.is_empty() || !job.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return Err(Error::internal(format!("'{job}' is not the id of a job")));
        }
        let folder = self.path.join(job);
        if stages.is_empty() {
            remove(&folder);
        }
        for stage in stages {
            remove(&folder.join(stage.to_string()));
        }
        Ok(())
    }

    /// Removes the folder with all that is in it. A process that ends does not wait for the last task to let go of it.
    pub(crate) fn remove(&self) {
        remove(&self.path);
        // If it stays, the next process removes it.
        let _ = fs::remove_file(&self.lock);
    }
}

impl Drop for ShuffleFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes the folder beside a lock that nobody holds.
fn remove_if_abandoned(lock: &Path) {
    if lock.extension().is_some_and(|extension| extension == LOCK) && File::open(lock).is_ok_and(|file| file.try_lock().is_ok()) {
        remove(&lock.with_extension(""));
        let _ = fs::remove_file(lock);
    }
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => warn!(folder = %folder.display(), %error, "shuffle files cannot be removed"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("killed")).unwrap();
        fs::write(parent.path().join("killed.lock"), "").unwrap();
        let other = ShuffleFolder::create(parent.path(), "e0").unwrap();
        let folder = ShuffleFolder::create(parent.path(), "e1").unwrap();
        assert!(!parent.path().join("killed").exists() && other.path.exists());
        for stage in ["job_1/1", "job_1/2", "job_2/1"] {
            fs::create_dir_all(folder.path.join(stage)).unwrap();
        }
        folder.remove_job("job_1", &[1]).unwrap();
        assert!(!folder.path.join("job_1/1").exists() && folder.path.join("job_1/2").exists());
        folder.remove_job("job_1", &[]).unwrap();
        assert!(!folder.path.join("job_1").exists() && folder.path.join("job_2").exists());
        assert!(folder.remove_job("../e1", &[]).is_err());
        drop((folder, other));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
