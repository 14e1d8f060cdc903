//! Views, with texts in any dialect.

use std::collections::HashMap;

use nunatak_core::{Code, Error};

use super::messages::{LoadedView, NewView, ViewCommit};
use super::names::{of_path, table_name, whole_name};
use super::tables::{name_list, unregistered};
use super::{Answer, Failure, NO_CONTENT, Page, RestServer, parsed};
use crate::backend::ViewFile;
use crate::commit::{CommitError, Retries, RetryPolicy};
use crate::error::from_iceberg;
use crate::messages::{Register, Rename, ViewRequirement};
use crate::spec::{IcebergError, ViewFormatVersion, ViewMetadata, ViewMetadataBuilder, ViewUpdate};
use crate::table::TableName;

impl RestServer {
    /// The names of the views of a namespace.
    pub async fn list_views(&self, namespace: &str, page: &Page) -> Result<Answer, Failure> {
        let namespace = of_path(namespace)?;
        let names = self.listed(&namespace, self.catalog.views(&namespace).await).await?;
        name_list(&namespace, names, page)
    }

    /// Makes a view.
    pub async fn create_view(&self, namespace: &str, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        self.check_views().await?;
        let NewView { name, location, schema, view_version, properties } = parsed(body)?;
        let name = table_name(&of_path(namespace)?, &name)?;
        let place = self.catalog.stage_location(&name).await?;
        let location = location.unwrap_or(place);
        let builder = ViewMetadataBuilder::new(location, schema, view_version, ViewFormatVersion::V1, properties.unwrap_or_default());
        let built = builder.and_then(ViewMetadataBuilder::build).map_err(|error| refused(&name, error))?;
        answer(&self.catalog.create_view_file(&name, built.metadata).await.map_err(Failure::not_committed)?)
    }

    /// Loads a view.
    pub async fn load_view(&self, namespace: &str, view: &str) -> Result<Answer, Failure> {
        answer(&self.view(&table_name(&of_path(namespace)?, view)?).await?)
    }

    /// Whether a view is there.
    pub async fn view_exists(&self, namespace: &str, view: &str) -> Result<Answer, Failure> {
        self.view(&table_name(&of_path(namespace)?, view)?).await?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// Changes a view, if all that the request requires holds.
    pub async fn replace_view(&self, namespace: &str, view: &str, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        self.check_views().await?;
        let name = table_name(&of_path(namespace)?, view)?;
        let ViewCommit { requirements, updates } = parsed(body)?;
        let requirements = requirements.unwrap_or_default();
        let mut retries = Retries::new(RetryPolicy::from_properties(&HashMap::new())?);
        loop {
            let base = self.view(&name).await?;
            for ViewRequirement::Uuid { uuid } in &requirements {
                let found = base.metadata.uuid().to_string();
                if !uuid.eq_ignore_ascii_case(&found) {
                    return Err(Failure::commit_failed(format!("Requirement failed: view UUID does not match: expected {uuid} != {found}")));
                }
            }
            let metadata = changed(&name, base.metadata.clone(), updates.clone())?;
            match self.catalog.replace_view_file(&name, &base, metadata).await {
                Ok(file) => return answer(&file),
                Err(CommitError::Conflict(error)) => retries.wait(error).await.map_err(Failure::commit_failed)?,
                Err(CommitError::Unknown(error)) => return Err(Failure::commit_unknown(&error)),
                Err(CommitError::Failed(error)) => return Err(Failure::not_committed(error)),
            }
        }
    }

    /// Makes a view of metadata that is there.
    pub async fn register_view(&self, namespace: &str, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        self.check_views().await?;
        let Register { name, metadata_location, .. } = parsed(body)?;
        let name = table_name(&of_path(namespace)?, &name)?;
        answer(&self.catalog.register_view_file(&name, &metadata_location).await.map_err(unregistered)?)
    }

    /// Drops a view.
    pub async fn drop_view(&self, namespace: &str, view: &str) -> Result<Answer, Failure> {
        self.check_writable()?;
        let name = table_name(&of_path(namespace)?, view)?;
        self.catalog.drop_view(&name).await.map_err(|error| missing(&name, error))?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// Gives a view another name.
    pub async fn rename_view(&self, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        let Rename { source, destination } = parsed(body)?;
        let from = whole_name(&source)?;
        self.catalog.rename_view(&from, &whole_name(&destination)?).await.map_err(|error| missing(&from, error))?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// The view as it is now. Errors: 404, also where there are none.
    async fn view(&self, name: &TableName) -> Result<ViewFile, Failure> {
        if !self.has_views().await? {
            return Err(Failure::no_such_view(name));
        }
        self.catalog.load_view_file(name).await?.ok_or_else(|| Failure::no_such_view(name))
    }
}

/// The metadata after updates.
fn changed(name: &TableName, metadata: ViewMetadata, updates: Vec<ViewUpdate>) -> Result<ViewMetadata, Failure> {
    let mut builder = metadata.into_builder();
    for update in updates {
        builder = apply(update, builder).map_err(|error| refused(name, error))?;
    }
    builder.build().map(|built| built.metadata).map_err(|error| refused(name, error))
}

fn apply(update: ViewUpdate, builder: ViewMetadataBuilder) -> Result<ViewMetadataBuilder, IcebergError> {
    match update {
        ViewUpdate::AssignUuid { uuid } => Ok(builder.assign_uuid(uuid)),
        ViewUpdate::UpgradeFormatVersion { format_version } => builder.upgrade_format_version(format_version),
        ViewUpdate::AddSchema { schema, .. } => Ok(builder.add_schema(schema)),
        ViewUpdate::SetLocation { location } => Ok(builder.set_location(location)),
        ViewUpdate::SetProperties { updates } => builder.set_properties(updates),
        ViewUpdate::RemoveProperties { removals } => Ok(builder.remove_properties(&removals)),
        ViewUpdate::AddViewVersion { view_version } => builder.add_version(view_version),
        ViewUpdate::SetCurrentViewVersion { view_version_id } => builder.set_current_version_id(view_version_id),
    }
}

fn answer(file: &ViewFile) -> Result<Answer, Failure> {
    Answer::json(&LoadedView { metadata_location: &file.location, metadata: &file.metadata })
}

/// A view that is not there is no table that is not there.
fn missing(name: &TableName, error: Error) -> Failure {
    match error.code() {
        Code::TableNotFound => Failure::no_such_view(name),
        _ => error.into(),
    }
}

fn refused(name: &TableName, error: IcebergError) -> Failure {
    from_iceberg(error, Code::IcebergCommitError, format!("view '{name}' cannot be written")).into()
}
