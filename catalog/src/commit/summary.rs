//! The summary of a snapshot: what it changed, and the totals after it, counted on from its parent's. Keys are those of the table spec's appendix.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::spec::{DataContentType, DataFile, Operation, Struct, Summary};

/// What a snapshot adds. Removals join when there are operations that remove.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    data_files: u64,
    delete_files: u64,
    records: u64,
    bytes: u64,
    position_deletes: u64,
    equality_deletes: u64,
    partitions: HashSet<(i32, Struct)>,
}

impl Changes {
    /// Counts a file that is added.
    pub(crate) fn add(&mut self, file: &DataFile, spec_id: i32) {
        self.bytes += file.file_size_in_bytes();
        match file.content_type() {
            DataContentType::Data => {
                self.data_files += 1;
                self.records += file.record_count();
            }
            DataContentType::PositionDeletes => {
                self.delete_files += 1;
                self.position_deletes += file.record_count();
            }
            DataContentType::EqualityDeletes => {
                self.delete_files += 1;
                self.equality_deletes += file.record_count();
            }
        }
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    /// The summary of a snapshot that makes these changes on top of `parent`. `extra` is what the caller wants to be found again.
    pub(crate) fn summary(&self, operation: Operation, parent: Option<&Summary>, extra: &BTreeMap<String, String>) -> Summary {
        let mut properties: HashMap<String, String> = extra.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for (added, total, count) in self.counts() {
            if count > 0 {
                properties.insert(added.to_owned(), count.to_string());
            }
            if let Some(before) = total_before(parent, total) {
                properties.insert(total.to_owned(), (before + count).to_string());
            }
        }
        properties.insert(String::from("changed-partition-count"), self.partitions.len().to_string());
        Summary { operation, additional_properties: properties }
    }

    fn counts(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            ("added-data-files", "total-data-files", self.data_files),
            ("added-delete-files", "total-delete-files", self.delete_files),
            ("added-records", "total-records", self.records),
            ("added-files-size", "total-files-size", self.bytes),
            ("added-position-deletes", "total-position-deletes", self.position_deletes),
            ("added-equality-deletes", "total-equality-deletes", self.equality_deletes),
        ]
    }
}

/// A parent that does not say its total leaves ours unknown too: a total must not be made up.
fn total_before(parent: Option<&Summary>, total: &str) -> Option<u64> {
    match parent {
        None => Some(0),
        Some(parent) => parent.additional_properties.get(total)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_count_on_and_are_never_made_up() {
        let changes = Changes { data_files: 2, records: 10, ..Changes::default() };
        let parent =
            Summary { operation: Operation::Append, additional_properties: HashMap::from([(String::from("total-records"), String::from("5"))]) };
        let extra = BTreeMap::from([(String::from("nunatak.query-id"), String::from("q"))]);
        let summary = changes.summary(Operation::Append, Some(&parent), &extra).additional_properties;
        assert_eq!(summary["total-records"], "15");
        assert_eq!(summary["added-data-files"], "2");
        assert_eq!(summary["nunatak.query-id"], "q");
        assert!(!summary.contains_key("total-data-files"));
        assert!(!summary.contains_key("added-delete-files"));
    }
}
