//! What metadata knows of each file of a scan, worked out when the file is asked for: a plan over 100,000 files would need hundreds of megabytes to carry it.
//!
//! A file of a scan has its manifest's entry as an extension, which it shares with the cache of manifests. [`FileFacts`] makes statistics of it where files are put in
//! order, where one is opened (dynamic filters of joins and of top-n leave out whole files by them), and where it is sent to another node.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::Result;
use datafusion_datasource::morsel::{MorselPlanner, Morselizer};
use nunatak_catalog::snapshot::FileEntry;

use super::bounds::ColumnSource;
use super::deletes::FileDeletes;
use super::statistics;

/// Makes statistics of the files of a scan.
pub(super) struct FileFacts {
    /// In the order of what the scan reads; `None` for columns of which nobody asks anything.
    columns: Vec<Option<ColumnSource>>,
}

impl fmt::Debug for FileFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFacts").field("columns", &self.columns.len()).finish()
    }
}

impl FileFacts {
    /// The facts about these columns, which are in the order of what the scan reads.
    pub(super) fn new(columns: Vec<Option<ColumnSource>>) -> Self {
        Self { columns }
    }

    /// What the optimiser may believe of a file.
    pub(super) fn of_file(&self, entry: &FileEntry, deletes: Option<&FileDeletes>) -> Statistics {
        statistics::of_file(entry, &self.columns, deletes)
    }

    /// The file with its statistics, as its reader may believe them.
    pub(super) fn described(&self, file: PartitionedFile) -> PartitionedFile {
        let Some(entry) = file.extension::<Arc<FileEntry>>() else { return file };
        let deletes = file.extension::<Arc<FileDeletes>>();
        let of_file = self.of_file(entry, deletes.map(Arc::as_ref));
        let of_file = statistics::for_reading(of_file, entry, &self.columns);
        PartitionedFile { statistics: Some(Arc::new(of_file)), ..file }
    }
}

/// Reads files that are described first.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) inner: Box<dyn Morselizer>,
    pub(super) facts: Arc<FileFacts>,
}

impl Morselizer for Described {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        self.inner.plan_file(self.facts.described(file))
    }
}
