//! One data file while it is being written.

use std::sync::Arc;

use arrow::array::RecordBatch;
use nunatak_core::Result;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use super::metrics::{NanCounts, describe};
use super::partition::Partition;
use super::report::FileReport;
use super::shape::WriteShape;
use super::upload::{PART_BYTES, Upload, UploadedBytes, from_parquet};

pub(super) struct OpenFile {
    shape: Arc<WriteShape>,
    /// The number of its partition.
    pub(super) partition: usize,
    report: FileReport,
    writer: AsyncArrowWriter<Upload>,
    uploaded: UploadedBytes,
    nans: NanCounts,
}

impl OpenFile {
    pub(super) fn create(shape: Arc<WriteShape>, number: usize, partition: &Partition, name: &str) -> Result<Self> {
        let location = shape.locations.file(&partition.folder, name);
        let upload = Upload::new(&shape.storage, &location)?;
        let uploaded = upload.bytes();
        // An embedded Arrow schema would override the Parquet types and hide the field ids from readers.
        let options = ArrowWriterOptions::new()
            .with_properties(shape.parquet.clone())
            .with_parquet_schema(shape.schema.parquet.clone())
            .with_skip_arrow_metadata(true);
        let writer = AsyncArrowWriter::try_new_with_options(upload, shape.schema.arrow.clone(), options);
        let writer = writer.map_err(|error| from_parquet(error, &location))?;
        let report = FileReport {
            location,
            spec_id: shape.spec_id,
            partition: partition.values.clone(),
            sort_order_id: shape.sort_order_id,
            ..FileReport::default()
        };
        let nans = NanCounts::new(&shape.schema.leaves);
        Ok(Self { shape, partition: number, report, writer, uploaded, nans })
    }

    pub(super) fn location(&self) -> &str {
        &self.report.location
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.nans.add(rows, &self.shape.schema.leaves)?;
        self.report.rows += rows.num_rows() as u64;
        self.writer.write(rows).await.map_err(|error| from_parquet(error, &self.report.location))
    }

    /// Ends the row group that is being filled, to free its memory.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.writer.flush().await.map_err(|error| from_parquet(error, &self.report.location))
    }

    /// How large the file would be if it ended here.
    pub(super) fn size_bytes(&self) -> u64 {
        self.uploaded.get() + self.buffered_bytes() as u64
    }

    /// The encoded rows that wait for the end of their row group.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    /// What the file holds in memory: the row group, and the part of the upload that is not sent yet.
    pub(super) fn memory_bytes(&self) -> usize {
        let part = usize::try_from(self.uploaded.get()).unwrap_or(usize::MAX).min(PART_BYTES);
        self.writer.memory_size() + part
    }

    /// Completes the file. When that fails nothing is left to be aborted.
    pub(super) async fn finish(mut self) -> Result<FileReport> {
        let footer = match self.writer.finish().await {
            Ok(footer) => footer,
            Err(error) => {
                let error = from_parquet(error, &self.report.location);
                self.abort().await;
                return Err(error);
            }
        };
        self.report.bytes = self.uploaded.get();
        self.report.nan_counts = self.nans.into_counts();
        describe(&mut self.report, &footer, self.shape.schema.leaves.iter().enumerate(), &self.shape.metrics);
        Ok(self.report)
    }

    pub(super) async fn abort(self) {
        self.writer.into_inner().abort().await;
    }
}
