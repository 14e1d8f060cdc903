//! Names that no column of a table gets: those of the metadata columns that Iceberg reserves (table spec, "Reserved Field IDs"). Engines show these beside the columns of
//! every table, and some cannot read a table at all that has one of its own.

use nunatak_core::{Error, Result};

use crate::spec::Schema;

/// The names, in lower case.
const NAMES: [&str; 7] = ["_file", "_pos", "_spec_id", "_partition", "_deleted", "_row_id", "_last_updated_sequence_number"];

/// That a column may be called so.
///
/// Errors: `NOT_SUPPORTED`.
pub fn check_name(name: &str) -> Result<()> {
    match NAMES.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        true => {
            Err(Error::not_supported(format!("no column can be called '{name}': Iceberg reserves the name for a metadata column of every table"))
                .with_hint("give it another name"))
        }
        false => Ok(()),
    }
}

/// The same for all columns of a new table. Fields within rows may have any name.
///
/// Errors: `NOT_SUPPORTED`.
pub fn check_names(schema: &Schema) -> Result<()> {
    schema.as_struct().fields().iter().try_for_each(|field| check_name(&field.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_metadata_columns_are_refused_in_any_case() {
        assert!(check_name("_pos").is_err() && check_name("_Row_ID").is_err());
        assert!(check_name("pos").is_ok() && check_name("_position").is_ok() && check_name("file").is_ok());
    }
}
