//! `add_files`: Parquet files that others have written become files of a table where they are.

use std::collections::HashMap;

use futures::TryStreamExt;
use nunatak_catalog::Table;
use nunatak_catalog::adopted::{ADOPTED, with_adopted};
use nunatak_catalog::commit::{self, check_absent};
use nunatak_catalog::name_mapping::{NAME_MAPPING, Spellings, extended, spelled};
use nunatak_catalog::spec::DataFile;
use nunatak_catalog::storage::{FileStatus, Location};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::QualifiedName;
use nunatak_engine::write::{Adopted, adopt};

use super::super::StatementContext;
use super::Metrics;
use super::arguments::Arguments;

pub(super) fn prepare(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    mut arguments: Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let location = arguments.text("location");
    let location = location.ok_or_else(|| arguments.missing("location"))?;
    let format = arguments.text("format");
    let nested = arguments.text("recursive_directory");
    let dry_run = arguments.flag("dry_run")?;
    arguments.end()?;
    if let Some(format) = format.filter(|format| !format.eq_ignore_ascii_case("parquet")) {
        return Err(Error::not_supported(format!("files of format '{format}' cannot be added")).with_hint("format => 'PARQUET'"));
    }
    let nested = match nested.map(|nested| nested.to_lowercase()).as_deref() {
        // The folders of partitions are what such a table is made of.
        None if !table.metadata.default_partition_spec().is_unpartitioned() => Nested::Read,
        None | Some("fail") => Nested::Refused,
        Some("true") => Nested::Read,
        Some("false") => Nested::LeftOut,
        Some(other) => {
            let wrong = Error::new(Code::InvalidProcedureArgument, format!("argument 'recursive_directory' of add_files is '{other}'"));
            return Err(wrong.with_hint("write 'true', 'false' or 'fail'"));
        }
    };
    Ok(async move {
        let files = find(&table, &location, nested).await?;
        let cache = context.engine.scan().manifest_cache();
        let locations: Vec<String> = files.iter().map(|file| file.location.clone()).collect();
        check_absent(&table, &locations, cache).await?;
        let Adopted { files, name_mapping, spellings } = adopt(&table, &location, files).await?;
        let counts = (files.len() as u64, files.iter().map(DataFile::record_count).sum());
        if !dry_run {
            let catalog = context.engine.catalog(&name.catalog)?;
            let needed = |now: &Table| properties(now, name_mapping.as_ref(), &spellings, &location);
            commit::adopt(catalog.as_ref(), &table, files, needed, cache, &context.summary(&table)).await?;
        }
        Ok(vec![("added_data_files_count", counts.0), ("added_records_count", counts.1)])
    })
}

/// What becomes of files in folders below the location.
#[derive(Clone, Copy, PartialEq)]
enum Nested {
    Read,
    LeftOut,
    Refused,
}

/// The file at a location, or the files in it that are not hidden and not empty, in the order of their names.
async fn find(table: &Table, location: &str, nested: Nested) -> Result<Vec<FileStatus>> {
    let root = Location::parse(location)?;
    if let Ok(Some(bytes)) = table.storage.size_bytes(location).await {
        return Ok(vec![FileStatus { location: location.to_owned(), bytes, modified_ms: 0 }]);
    }
    let mut files = Vec::new();
    let mut listed = table.storage.list(location)?;
    while let Some(file) = listed.try_next().await? {
        let place = Location::parse(&file.location)?;
        let below = place.below(&root).unwrap_or_default().trim_start_matches('/');
        let is_hidden = below.split('/').any(|part| part.starts_with(['.', '_']) && !part.contains('='));
        if is_hidden || file.bytes == 0 {
            continue;
        }
        match (below.contains('/'), nested) {
            (true, Nested::LeftOut) => {}
            (true, Nested::Refused) => {
                let refused =
                    Error::new(Code::InvalidProcedureArgument, format!("'{location}' has folders in it, such as that of '{}'", file.location));
                return Err(refused.with_hint("recursive_directory => 'true' adds their files too, 'false' leaves them out"));
            }
            _ => files.push(file),
        }
    }
    if files.is_empty() {
        return Err(Error::new(Code::NotFound, format!("there are no files at '{location}'")));
    }
    files.sort_by(|one, other| one.location.cmp(&other.location));
    Ok(files)
}

/// What a table needs with the files: the names by which it finds its columns in those without field ids, and which files are not its alone.
fn properties(table: &Table, mapping: Option<&String>, spellings: &Spellings, location: &str) -> Result<HashMap<String, String>> {
    let metadata = &table.metadata;
    let adopted = with_adopted(metadata, location)?.map(|places| (ADOPTED.to_owned(), places));
    // One that others have given it meanwhile stays.
    let mapping = match (metadata.properties().get(NAME_MAPPING), mapping) {
        (Some(given), _) => (!spellings.is_empty()).then(|| spelled(given, spellings)).transpose()?,
        (None, Some(mapping)) => Some(spelled(&extended(mapping, metadata.current_schema())?, spellings)?),
        (None, None) => None,
    };
    Ok(adopted.into_iter().chain(mapping.map(|mapping| (NAME_MAPPING.to_owned(), mapping))).collect())
}
