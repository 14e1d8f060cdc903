//! Parquet files as a table: DataFusion's own, with its pushdown and statistics. Where names or types are not those wanted, a projection lies
//! above it.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit};
use nunatak_core::{Code, Error};
use object_store::path::Path;
use url::Url;

use super::columns::{bind, duplicate};
use super::locate::{Located, of_store};
use super::source::SchemaOrigin;
use crate::error::{from_datafusion, into_datafusion};

/// What the files are called within the plan of the projection.
const FILES: &str = "files";

/// The table of the files; with a `schema`, its columns are matched by name whatever their case, and cast.
pub(super) async fn table(state: &SessionState, located: &Located, schema: Option<SchemaRef>) -> Result<Arc<dyn TableProvider>> {
    let format = Arc::new(ParquetFormat::new().with_options(state.default_table_options().parquet));
    let found = file_schema(state, &format, located).await?;
    let urls = located.files.iter().map(|file| file_url(located, &file.location)).collect::<Result<Vec<_>>>()?;
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(ListingOptions::new(format).with_file_extension(""))
        .with_schema(Arc::clone(&found));
    let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
    let files: Arc<dyn TableProvider> = Arc::new(ListingTable::try_new(config)?.with_cache(cache));
    let columns = match schema {
        Some(schema) => declared_columns(&found, &schema, located).map_err(into_datafusion)?,
        None => lower_case_columns(&found, located).map_err(into_datafusion)?,
    };
    match columns {
        Some(columns) => {
            let plan = LogicalPlanBuilder::scan(FILES, provider_as_source(files), None)?.project(columns)?.build()?;
            Ok(Arc::new(ViewTable::new(plan, None)))
        }
        None => Ok(files),
    }
}

/// The schema of all files together. An error names the file that is at fault.
async fn file_schema(state: &SessionState, format: &ParquetFormat, located: &Located) -> Result<SchemaRef> {
    let session: &dyn Session = state;
    let all = match format.infer_schema(session, &located.store, &located.files).await {
        Ok(schema) => return Ok(schema),
        Err(error) => error,
    };
    for file in &located.files {
        if let Err(error) = format.infer_schema(session, &located.store, std::slice::from_ref(file)).await {
            return Err(unreadable(&located.display(&file.location), error));
        }
    }
    let error = Error::new(Code::InvalidArguments, format!("the files that match '{}' have different columns", located.pattern));
    Err(into_datafusion(error.with_hint(from_datafusion(all).message().to_owned())))
}

fn unreadable(path: &str, error: DataFusionError) -> DataFusionError {
    if matches!(error, DataFusionError::ObjectStore(_)) {
        return of_store(error, path);
    }
    let reason = from_datafusion(error);
    into_datafusion(Error::new(Code::InvalidArguments, format!("file '{path}' is not a readable parquet file: {}", reason.message())))
}

/// The file's URL, with what URLs do not allow encoded.
fn file_url(located: &Located, location: &Path) -> Result<ListingTableUrl> {
    let broken = |error: String| into_datafusion(Error::internal(format!("no url for '{}': {error}", located.display(location))));
    let mut url = Url::parse(located.store_url.as_str()).map_err(|error| broken(error.to_string()))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(location.as_ref().split('/'));
    }
    ListingTableUrl::try_new(url, None)
}

fn files_column(name: &str) -> Expr {
    Expr::Column(Column::new(Some(FILES), name))
}

/// Names in lower case, since SQL folds names that are not quoted. Nothing if they are.
fn lower_case_columns(found: &Schema, located: &Located) -> nunatak_core::Result<Option<Vec<Expr>>> {
    let names = lower_case_names(found, located)?;
    if found.fields().iter().zip(&names).all(|(field, name)| field.name() == name) {
        return Ok(None);
    }
    Ok(Some(found.fields().iter().zip(names).map(|(field, name)| files_column(field.name()).alias(name)).collect()))
}

fn lower_case_names(found: &Schema, located: &Located) -> nunatak_core::Result<Vec<String>> {
    let mut seen = HashMap::new();
    for field in found.fields() {
        let name = field.name().to_lowercase();
        if seen.insert(name.clone(), ()).is_some() {
            return Err(duplicate(&name, &located.pattern));
        }
    }
    Ok(found.fields().iter().map(|field| field.name().to_lowercase()).collect())
}

/// The columns of `schema`, from those of the files. Nothing if they are the same.
fn declared_columns(found: &Schema, schema: &Schema, located: &Located) -> nunatak_core::Result<Option<Vec<Expr>>> {
    let binding = bind(&lower_case_names(found, located)?, schema, SchemaOrigin::Declared, &located.pattern)?;
    let is_same = |(index, field): (usize, &Arc<datafusion::arrow::datatypes::Field>)| {
        found.fields().get(index).is_some_and(|found| found.name() == field.name() && found.data_type() == field.data_type())
    };
    if found.fields().len() == schema.fields().len() && schema.fields().iter().enumerate().all(is_same) {
        return Ok(None);
    }
    let column = |(field, place): (&Arc<datafusion::arrow::datatypes::Field>, Option<usize>)| {
        let value = place.and_then(|place| found.fields().get(place)).map_or_else(|| lit(ScalarValue::Null), |found| files_column(found.name()));
        cast(value, field.data_type().clone()).alias(field.name())
    };
    Ok(Some(schema.fields().iter().zip(binding).map(column).collect()))
}
