//! The summary of a snapshot: what it changed, and the totals after it, counted on from its parent's. Keys are those of the table spec's appendix.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::spec::{DataContentType, DataFile, DataFileFormat, Operation, Struct, Summary};

/// What a snapshot adds and removes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    added: Counts,
    removed: Counts,
    partitions: HashSet<(i32, Struct)>,
}

/// Files and what is in them.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    data_files: u64,
    delete_files: u64,
    position_delete_files: u64,
    deletion_vectors: u64,
    equality_delete_files: u64,
    records: u64,
    bytes: u64,
    position_deletes: u64,
    equality_deletes: u64,
}

/// A count's names in a summary: what is added, what is removed, and the total, where there is one.
type Names = (&'static str, &'static str, Option<&'static str>);

impl Counts {
    fn count(&mut self, file: &DataFile) {
        // Of the file in which it lies among others, a deletion vector takes its part.
        let part = file.content_size_in_bytes().and_then(|bytes| u64::try_from(bytes).ok());
        self.bytes += part.unwrap_or_else(|| file.file_size_in_bytes());
        match file.content_type() {
            DataContentType::Data => {
                self.data_files += 1;
                self.records += file.record_count();
            }
            DataContentType::PositionDeletes => {
                self.delete_files += 1;
                self.position_deletes += file.record_count();
                match file.file_format() {
                    DataFileFormat::Puffin => self.deletion_vectors += 1,
                    _ => self.position_delete_files += 1,
                }
            }
            DataContentType::EqualityDeletes => {
                self.delete_files += 1;
                self.equality_delete_files += 1;
                self.equality_deletes += file.record_count();
            }
        }
    }

    fn named(&self) -> [(Names, u64); 9] {
        [
            (("added-data-files", "deleted-data-files", Some("total-data-files")), self.data_files),
            (("added-delete-files", "removed-delete-files", Some("total-delete-files")), self.delete_files),
            (("added-position-delete-files", "removed-position-delete-files", None), self.position_delete_files),
            (("added-dvs", "removed-dvs", None), self.deletion_vectors),
            (("added-equality-delete-files", "removed-equality-delete-files", None), self.equality_delete_files),
            (("added-records", "deleted-records", Some("total-records")), self.records),
            (("added-files-size", "removed-files-size", Some("total-files-size")), self.bytes),
            (("added-position-deletes", "removed-position-deletes", Some("total-position-deletes")), self.position_deletes),
            (("added-equality-deletes", "removed-equality-deletes", Some("total-equality-deletes")), self.equality_deletes),
        ]
    }
}

impl Changes {
    /// Counts a file that is added.
    pub(crate) fn add(&mut self, file: &DataFile, spec_id: i32) {
        self.added.count(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    /// Counts a file that is removed.
    pub(crate) fn remove(&mut self, file: &DataFile, spec_id: i32) {
        self.removed.count(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    /// The summary of a snapshot that makes these changes on top of `parent`. `extra` is what the caller wants to be found again.
    pub(crate) fn summary(&self, operation: Operation, parent: Option<&Summary>, extra: &BTreeMap<String, String>) -> Summary {
        let mut properties: HashMap<String, String> = extra.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for (((added_name, removed_name, total_name), added), (_, removed)) in self.added.named().into_iter().zip(self.removed.named()) {
            for (name, count) in [(added_name, added), (removed_name, removed)] {
                if count > 0 {
                    properties.insert(name.to_owned(), count.to_string());
                }
            }
            if let Some(name) = total_name
                && let Some(before) = total_before(parent, name)
            {
                properties.insert(name.to_owned(), (before + added).saturating_sub(removed).to_string());
            }
        }
        properties.insert(String::from("changed-partition-count"), self.partitions.len().to_string());
        Summary { operation, additional_properties: properties }
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
        let changes = Changes {
            added: Counts { data_files: 2, records: 10, deletion_vectors: 1, ..Counts::default() },
            removed: Counts { records: 4, ..Counts::default() },
            ..Changes::default()
        };
        let parent =
            Summary { operation: Operation::Append, additional_properties: HashMap::from([(String::from("total-records"), String::from("5"))]) };
        let extra = BTreeMap::from([(String::from("nunatak.query-id"), String::from("q"))]);
        let summary = changes.summary(Operation::Append, Some(&parent), &extra).additional_properties;
        assert_eq!(summary["total-records"], "11");
        assert_eq!((summary["added-data-files"].as_str(), summary["deleted-records"].as_str(), summary["added-dvs"].as_str()), ("2", "4", "1"));
        assert_eq!(summary["nunatak.query-id"], "q");
        assert!(!summary.contains_key("total-data-files"));
        assert!(!summary.contains_key("added-delete-files"));
    }
}
