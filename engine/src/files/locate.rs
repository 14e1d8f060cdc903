//! Which files a path or a glob names. Lists only the folders that the pattern leads through, so that `/data/*.csv` never walks below `/data`.

use std::sync::Arc;

use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use glob::{MatchOptions, Pattern};
use nunatak_catalog::storage::error::from_object_store;
use nunatak_core::{Code, Error};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::into_datafusion;

/// How many files one pattern may name.
const FILES_MAX: usize = 100_000;

/// The files of a pattern, sorted by path.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) pattern: String,
    pub(super) store_url: ObjectStoreUrl,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) files: Vec<ObjectMeta>,
}

impl Located {
    /// The path of a file as the user knows it.
    pub(super) fn display(&self, location: &Path) -> String {
        display_path(&self.store_url, location)
    }
}

/// The path of a file as the user knows it: without a scheme on the server's own disks.
pub(super) fn display_path(store_url: &ObjectStoreUrl, location: &Path) -> String {
    match store_url.as_str() {
        "file:///" => format!("/{location}"),
        url => format!("{}/{location}", url.trim_end_matches('/')),
    }
}

/// Lists the files of a pattern. Errors: `NOT_FOUND`, `INVALID_ARGUMENTS`, and those of the store.
pub(super) async fn locate(state: &SessionState, pattern: &str) -> Result<Located> {
    let (store_url, segments) = split_pattern(pattern).map_err(into_datafusion)?;
    let store = state.runtime_env().object_store(&store_url).map_err(|_| {
        let error = Error::new(Code::InvalidArguments, format!("no storage is configured for '{pattern}'"));
        into_datafusion(error.with_hint("configure a storage of that scheme and authority, or give a path of the server"))
    })?;
    let mut files = find(store.as_ref(), &segments, pattern).await.map_err(|error| of_store(error, pattern))?;
    if files.is_empty() {
        return Err(into_datafusion(nothing_found(pattern)));
    }
    files.sort_by(|left, right| left.location.cmp(&right.location));
    files.dedup_by(|left, right| left.location == right.location);
    Ok(Located { pattern: pattern.to_owned(), store_url, store, files })
}

/// The failure of a store as storage tells it, with the place in it.
pub(super) fn of_store(error: DataFusionError, place: &str) -> DataFusionError {
    match error {
        DataFusionError::ObjectStore(error) => into_datafusion(from_object_store(*error, place)),
        other => other,
    }
}

fn nothing_found(pattern: &str) -> Error {
    let error = Error::new(Code::NotFound, format!("no file matches '{pattern}'"));
    match std::env::current_dir() {
        Ok(folder) if !pattern.starts_with('/') && !pattern.contains("://") => {
            error.with_hint(format!("paths are those of the server, and relative to {}", folder.display()))
        }
        _ => error.with_hint("paths are those of the server, not of the client"),
    }
}

fn too_many(pattern: &str) -> DataFusionError {
    let error = Error::new(Code::InvalidArguments, format!("more than {FILES_MAX} files match '{pattern}'"));
    into_datafusion(error.with_hint("read them in parts"))
}

/// The store and the segments of the path in it.
fn split_pattern(pattern: &str) -> nunatak_core::Result<(ObjectStoreUrl, Vec<String>)> {
    let wrong = |reason: &str| Error::new(Code::InvalidArguments, format!("'{pattern}' is not a path or URL of files: {reason}"));
    let Some((scheme, rest)) = pattern.split_once("://") else {
        return Ok((ObjectStoreUrl::local_filesystem(), local_segments(pattern).ok_or_else(|| wrong("it is empty"))?));
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if scheme.eq_ignore_ascii_case("file") {
        let decoded = Path::from_url_path(path).map_err(|error| wrong(&error.to_string()))?;
        return Ok((ObjectStoreUrl::local_filesystem(), plain_segments(decoded.as_ref())));
    }
    let store_url = ObjectStoreUrl::parse(format!("{scheme}://{authority}")).map_err(|error| wrong(&error.to_string()))?;
    Ok((store_url, plain_segments(path)))
}

fn plain_segments(path: &str) -> Vec<String> {
    path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

/// The segments of a path of this server, from the root, without `.` and `..`.
fn local_segments(path: &str) -> Option<Vec<String>> {
    if path.is_empty() {
        return None;
    }
    let mut segments = Vec::new();
    if !path.starts_with('/') {
        let folder = std::env::current_dir().ok()?;
        segments = plain_segments(folder.to_str()?);
    }
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    Some(segments)
}

fn has_wildcard(segment: &str) -> bool {
    segment.contains(['*', '?', '['])
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

async fn find(store: &dyn ObjectStore, segments: &[String], pattern: &str) -> Result<Vec<ObjectMeta>> {
    let is_glob = segments.iter().any(|segment| has_wildcard(segment));
    let literal = Path::parse(segments.join("/")).map_err(|error| DataFusionError::ObjectStore(Box::new(error.into())))?;
    // A name may hold the characters of a glob.
    match store.head(&literal).await {
        Ok(meta) => return Ok(vec![meta]),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(_) if is_glob => {}
        Err(error) => return Err(error.into()),
    }
    if is_glob { expand(store, segments, pattern).await } else { Ok(walk(store, literal, pattern).await?.files) }
}

/// Follows the pattern from folder to folder.
async fn expand(store: &dyn ObjectStore, segments: &[String], pattern: &str) -> Result<Vec<ObjectMeta>> {
    let mut folders = vec![Path::default()];
    let mut files = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        let mut next = Vec::new();
        for folder in folders {
            if segment == "**" {
                let walked = walk(store, folder, pattern).await?;
                next.extend(walked.folders);
                if is_last {
                    files.extend(walked.files);
                }
            } else if !has_wildcard(segment) && !is_last {
                next.push(folder.join(segment.as_str()));
            } else {
                matching(store, &folder, segment, is_last, &mut next, &mut files).await?;
            }
            if files.len() > FILES_MAX || next.len() > FILES_MAX {
                return Err(too_many(pattern));
            }
        }
        folders = next;
    }
    Ok(files)
}

/// What lies in `folder` and matches: files if the pattern ends here, folders otherwise.
async fn matching(
    store: &dyn ObjectStore,
    folder: &Path,
    segment: &str,
    is_last: bool,
    folders: &mut Vec<Path>,
    files: &mut Vec<ObjectMeta>,
) -> Result<()> {
    let wanted = Pattern::new(segment).map_err(|error| {
        let error = Error::new(Code::InvalidArguments, format!("'{segment}' is not a glob: {}", error.msg));
        into_datafusion(error.with_hint("write [[] for a bracket"))
    })?;
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let listed = store.list_with_delimiter(Some(folder)).await?;
    let fits = |path: &Path| path.filename().is_some_and(|name| wanted.matches_with(name, options));
    if is_last {
        files.extend(listed.objects.into_iter().filter(|meta| fits(&meta.location)));
    } else {
        folders.extend(listed.common_prefixes.into_iter().filter(fits));
    }
    Ok(())
}

struct Walked {
    /// The folder itself, and all below it.
    folders: Vec<Path>,
    files: Vec<ObjectMeta>,
}

/// Everything below a folder, except what other tools hide: names that start with a dot or an underscore.
async fn walk(store: &dyn ObjectStore, root: Path, pattern: &str) -> Result<Walked> {
    let mut walked = Walked { folders: vec![root], files: Vec::new() };
    let mut at = 0;
    while let Some(folder) = walked.folders.get(at).cloned() {
        let listed = store.list_with_delimiter(Some(&folder)).await?;
        let is_shown = |path: &Path| path.filename().is_some_and(|name| !is_hidden(name));
        walked.folders.extend(listed.common_prefixes.into_iter().filter(is_shown));
        walked.files.extend(listed.objects.into_iter().filter(|meta| is_shown(&meta.location)));
        if walked.files.len() > FILES_MAX || walked.folders.len() > FILES_MAX {
            return Err(too_many(pattern));
        }
        at += 1;
    }
    Ok(walked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_split_into_store_and_path() -> nunatak_core::Result<()> {
        let folder = std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
        let cases = [
            ("/data/./x/../a b*.csv", "file:///", "data/a b*.csv".to_owned()),
            ("file:///data/a%20b.csv", "file:///", "data/a b.csv".to_owned()),
            ("s3://bucket/x/*.csv", "s3://bucket/", "x/*.csv".to_owned()),
            ("x.csv", "file:///", format!("{}/x.csv", folder.trim_start_matches('/'))),
        ];
        for (pattern, store, path) in cases {
            let (store_url, segments) = split_pattern(pattern)?;
            assert_eq!((store_url.as_str(), segments.join("/")), (store, path));
        }
        assert!(split_pattern("").is_err());
        Ok(())
    }
}
