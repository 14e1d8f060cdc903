//! Views: entries of Hive's kind for views, whose metadata is a file as the Iceberg view spec has it.

use std::collections::HashMap;

use nunatak_core::{Code, Result};

use super::descriptor;
use super::entry::{Entry, Kind};
use super::swap::{self, Change, Swap};
use super::tables::now;
use super::{HiveCatalog, check_name};
use crate::backend::names::view_not_found;
use crate::backend::{Catalog, ViewFile, metadata_file, purge, view_file};
use crate::commit::CommitError;
use crate::commit::attempts::LOOKS_AFTER;
use crate::spec::{Schema, ViewMetadata};
use crate::storage::Location;
use crate::table::{TableName, View};

impl HiveCatalog {
    /// A view with its metadata file, if it is there.
    pub(super) async fn find_view(&self, name: &TableName) -> Result<Option<ViewFile>> {
        let Some((_, location)) = self.find(name, Kind::View).await? else { return Ok(None) };
        let metadata = view_file::load(&self.storage, name, &location).await?;
        Ok(Some(ViewFile { metadata, location }))
    }

    /// Makes a view, or a new version of it.
    pub(super) async fn make_view(&self, view: View, columns: Schema, replace: bool) -> Result<()> {
        let name = &view.name;
        check_name(&name.table, "view")?;
        if replace && let Some(base) = self.find_view(name).await? {
            let metadata = view_file::replace(&view, columns, base.metadata.clone())?;
            return self.swap_view(name, &base, metadata).await.map(drop).map_err(swap::into_error);
        }
        let metadata = view_file::create(&view, columns, self.stage_location(name).await?)?;
        self.write_view(name, metadata).await.map(drop)
    }

    /// Makes a view of whole metadata.
    pub(super) async fn write_view(&self, name: &TableName, metadata: ViewMetadata) -> Result<ViewFile> {
        check_name(&name.table, "view")?;
        self.require_free(name).await?;
        let folder = format!("{}/metadata", metadata.location());
        let location = metadata_file::next_location(&folder, metadata.properties(), None)?;
        metadata_file::put(&self.storage, &metadata, &location).await?;
        let file = ViewFile { metadata, location };
        let inserted = self.insert_view(name, &file).await;
        if inserted.as_ref().is_err_and(|error| error.code() != Code::CommitStateUnknown) {
            self.discard(name, &file.location).await;
        }
        inserted.map(|()| file)
    }

    /// Makes a view of metadata that is there. The file is not ours: it stays whatever happens.
    pub(super) async fn register_view(&self, name: &TableName, location: &str) -> Result<ViewFile> {
        check_name(&name.table, "view")?;
        let metadata = view_file::load(&self.storage, name, location).await?;
        self.require_free(name).await?;
        let file = ViewFile { metadata, location: location.to_owned() };
        self.insert_view(name, &file).await?;
        Ok(file)
    }

    /// Makes the entry of a view.
    async fn insert_view(&self, name: &TableName, file: &ViewFile) -> Result<()> {
        let ViewFile { metadata, location } = file;
        let options = self.metastore.options();
        let described = descriptor::of_view(metadata, location, None, &HashMap::new(), options);
        let mut entry = Entry::make(name, Kind::View, descriptor::owner(metadata.properties(), options), now());
        entry.set_parameters(&described.over(entry.parameters()));
        entry.set_descriptor(described.descriptor);
        entry.set_text(&self.text(name, metadata)?);
        self.insert(name, "view", entry, location).await
    }

    /// Puts other metadata in the place of a view's, if it is still `base`.
    pub(super) async fn swap_view(&self, name: &TableName, base: &ViewFile, metadata: ViewMetadata) -> Result<ViewFile, CommitError> {
        let text = self.text(name, &metadata)?;
        let folder = format!("{}/metadata", metadata.location());
        let location = metadata_file::next_location(&folder, metadata.properties(), Some(&base.location))?;
        metadata_file::put(&self.storage, &metadata, &location).await?;
        let options = self.metastore.options();
        let described = descriptor::of_view(&metadata, &location, Some(&base.location), base.metadata.properties(), options);
        let change = Change::Described { location: location.clone(), described, text: Some(text) };
        let swap = Swap { name: name.clone(), kind: Kind::View, old: base.location.clone(), change, locks: options.lock_enabled };
        let mut swapped = swap::swap(&self.metastore, swap).await;
        if matches!(swapped, Err(CommitError::Unknown(_))) && self.points_to(name, &location).await {
            swapped = Ok(());
        }
        if matches!(swapped, Err(CommitError::Conflict(_) | CommitError::Failed(_))) {
            self.discard(name, &location).await;
        }
        swapped.map(|()| ViewFile { metadata, location })
    }

    /// Looks, after a lost answer, whether the metadata of an entry lies there now.
    async fn points_to(&self, name: &TableName, location: &str) -> bool {
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            if matches!(self.metastore.entry(name).await, Ok(Some(entry)) if entry.metadata_location().as_deref() == Some(location)) {
                return true;
            }
        }
        false
    }

    /// The text that the metastore shows for a view.
    fn text(&self, name: &TableName, metadata: &ViewMetadata) -> Result<String> {
        Ok(view_file::view(name, &self.name, metadata)?.sql)
    }

    /// Drops a view with its files.
    pub(super) async fn remove_view(&self, name: &TableName) -> Result<()> {
        let (_, location) = self.find(name, Kind::View).await?.ok_or_else(|| view_not_found(name))?;
        let folder = location.rsplitn(3, '/').nth(2).unwrap_or_default();
        let others = self.near(name, &[Location::parse(folder)?]).await?;
        self.remove(name, view_not_found(name)).await?;
        let others: Vec<String> = others.into_iter().map(|(_, _, location)| location).collect();
        if let Err(error) = purge::purge_view(&self.storage, &location, &self.warehouse, &others).await {
            tracing::warn!(%error, view = %name, "files of a dropped view were left behind");
        }
        Ok(())
    }
}
