//! Opens one file and streams its rows.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener};
use datafusion::error::Result;
use datafusion::physical_plan::metrics::Count;
use futures::stream::{self, StreamExt};
use object_store::ObjectStore;

use super::csv_decoder::CsvDecoder;
use super::decoder::{Decoder, Target};
use super::faults::FaultPolicy;
use super::input::Input;
use super::json_decoder::JsonDecoder;
use super::locate::display_path;
use super::options::{FileFormat, FileOptions};
use super::source::SchemaOrigin;
use crate::error::into_datafusion;

/// Opens the files of one partition.
#[derive(Clone)]
pub(super) struct RowFileOpener {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) store_url: ObjectStoreUrl,
    pub(super) format: FileFormat,
    pub(super) options: FileOptions,
    pub(super) origin: SchemaOrigin,
    /// All columns of the files.
    pub(super) schema: SchemaRef,
    /// The columns wanted.
    pub(super) projection: Vec<usize>,
    /// The rows of a batch.
    pub(super) rows_max: usize,
    pub(super) skipped: Count,
}

impl FileOpener for RowFileOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let opener = self.clone();
        Ok(Box::pin(async move {
            let location = &file.object_meta.location;
            let path = display_path(&opener.store_url, location);
            let decoder = opener.decoder(path.clone()).map_err(into_datafusion)?;
            let input = Input::open(opener.store, location, opener.options.compression, path).await?;
            Ok(stream::try_unfold((input, decoder), next_batch).boxed())
        }))
    }
}

impl RowFileOpener {
    fn decoder(&self, path: String) -> nunatak_core::Result<Box<dyn Decoder>> {
        let target = Target::new(Arc::clone(&self.schema), self.projection.clone(), self.options.on_error)?;
        let policy = FaultPolicy {
            path,
            on_error: self.options.on_error,
            origin: self.origin,
            sample_rows: self.options.sample_rows,
            skipped: self.skipped.clone(),
            has_warned: false,
        };
        Ok(match self.format {
            FileFormat::Json => Box::new(JsonDecoder::new(target, policy, self.rows_max)),
            FileFormat::Csv | FileFormat::Parquet => Box::new(CsvDecoder::new(&self.options, target, policy, self.rows_max)),
        })
    }
}

type Reading = (Input, Box<dyn Decoder>);

async fn next_batch((mut input, mut decoder): Reading) -> Result<Option<(RecordBatch, Reading)>> {
    loop {
        input.fill(decoder.as_mut()).await?;
        let batch = decoder.flush().map_err(into_datafusion)?;
        if batch.num_rows() > 0 {
            return Ok(Some((batch, (input, decoder))));
        }
        if input.has_ended() {
            return Ok(None);
        }
    }
}
