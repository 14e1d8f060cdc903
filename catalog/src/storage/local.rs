//! Files of this machine where the object store does not show all: it hides the parts of uploads that never ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use nunatak_core::{Error, Result};

use super::error::from_io;
use super::{FileStatus, FolderContent, location};

/// All files below a folder. What is no Unicode text has no location, and is left out.
pub(super) fn list(folder: String) -> BoxStream<'static, Result<FileStatus>> {
    let listed = async move {
        let folders = futures::stream::try_unfold(vec![PathBuf::from(folder)], |mut folders| async {
            let Some(folder) = folders.pop() else { return Ok::<_, Error>(None) };
            let (files, inner) = blocking(move || entries(&folder)).await?;
            folders.extend(inner);
            Ok(Some((futures::stream::iter(files.into_iter().map(Ok)), folders)))
        });
        folders.try_flatten()
    };
    futures::stream::once(listed).flatten().boxed()
}

/// The files in a folder, and its folders. One that is gone by now is empty.
fn entries(folder: &Path) -> Result<(Vec<FileStatus>, Vec<PathBuf>)> {
    let shown = folder.display().to_string();
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((files, folders)),
        entries => entries.map_err(|error| from_io(error, &shown))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| from_io(error, &shown))?;
        let status = match entry.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            status => status.map_err(|error| from_io(error, &shown))?,
        };
        let path = entry.path();
        if status.is_dir() {
            folders.push(path);
        } else if let Some(path) = path.to_str() {
            let modified = status.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            // A time that nobody knows is never long ago.
            let modified_ms = modified.and_then(|time| i64::try_from(time.as_millis()).ok()).unwrap_or(i64::MAX);
            files.push(FileStatus { location: format!("{}{path}", location::FILE_STORE), bytes: status.len(), modified_ms });
        }
    }
    Ok((files, folders))
}

/// What lies directly in a folder; `None` if there is no such folder. What is no Unicode text is left out.
pub(super) async fn list_folder(folder: String) -> Result<Option<FolderContent>> {
    blocking(move || {
        if !Path::new(&folder).is_dir() {
            return Ok(None);
        }
        let (files, folders) = entries(Path::new(&folder))?;
        let folders = folders.iter().filter_map(|folder| folder.file_name()?.to_str().map(str::to_owned)).collect();
        let files = files.iter().filter_map(|file| file.location.rsplit('/').next().map(str::to_owned)).collect();
        Ok(Some(FolderContent { folders, files }))
    })
    .await
}

/// Whether there is such a folder.
pub(super) async fn is_folder(path: &str, location: &str) -> Result<bool> {
    match tokio::fs::metadata(path).await {
        Ok(status) => Ok(status.is_dir()),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(from_io(error, location)),
    }
}

/// Deletes a file. One that is already gone is no error.
pub(super) async fn delete(path: &str, location: &str) -> Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(from_io(error, location)),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("the task that lists a folder stopped").with_source(error)),
    }
}
