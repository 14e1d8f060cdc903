//! Views: entries of Hive's kind for views, whose metadata is a file as the Iceberg view spec has it.

use std::collections::HashMap;

use nunatak_core::{Code, Result};

use super::HiveCatalog;
use super::descriptor;
use super::entry::{Entry, Kind};
use super::swap::{self, Change, Swap};
use super::tables::now;
use crate::backend::names::{check_part, view_not_found};
use crate::backend::{Catalog, metadata_file, purge, view_file};
use crate::commit::CommitError;
use crate::spec::Schema;
use crate::storage::Location;
use crate::table::{TableName, View};

impl HiveCatalog {
    /// Makes a view, or a new version of it.
    pub(super) async fn make_view(&self, view: View, columns: Schema, replace: bool) -> Result<()> {
        let name = &view.name;
        check_part(&name.table, "view")?;
        if replace && let Some((_, location)) = self.find(name, Kind::View).await? {
            return self.replace_view(&view, columns, location).await;
        }
        self.require_free(name).await?;
        let metadata = view_file::create(&view, columns, self.stage_location(name).await?)?;
        let folder = format!("{}/metadata", metadata.location());
        let location = metadata_file::next_location(&folder, metadata.properties(), None)?;
        metadata_file::put(&self.storage, &metadata, &location).await?;
        let options = self.metastore.options();
        let described = descriptor::of_view(&metadata, &location, None, &HashMap::new(), options);
        let mut entry = Entry::make(name, Kind::View, descriptor::owner(metadata.properties(), options), now());
        entry.set_parameters(&described.over(entry.parameters()));
        entry.set_descriptor(described.descriptor);
        entry.set_text(&view.sql);
        let inserted = self.insert(name, "view", entry, &location).await;
        if inserted.as_ref().is_err_and(|error| error.code() != Code::CommitStateUnknown) {
            self.discard(name, &location).await;
        }
        inserted
    }

    async fn replace_view(&self, view: &View, columns: Schema, old: String) -> Result<()> {
        let name = &view.name;
        let before = view_file::load(&self.storage, name, &old).await?;
        let had = before.properties().clone();
        let metadata = view_file::replace(view, columns, before)?;
        let folder = format!("{}/metadata", metadata.location());
        let location = metadata_file::next_location(&folder, metadata.properties(), Some(&old))?;
        metadata_file::put(&self.storage, &metadata, &location).await?;
        let options = self.metastore.options();
        let described = descriptor::of_view(&metadata, &location, Some(&old), &had, options);
        let change = Change::Described { location: location.clone(), described, text: Some(view.sql.clone()) };
        let swapped = swap::swap(&self.metastore, Swap { name: name.clone(), kind: Kind::View, old, change, locks: options.lock_enabled }).await;
        if matches!(swapped, Err(CommitError::Conflict(_) | CommitError::Failed(_))) {
            self.discard(name, &location).await;
        }
        swapped.map_err(swap::into_error)
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
