//! Rows that differ, each with a number in the order in which they came. Zero and minus zero are one, and all NaNs.

use std::collections::HashMap;
use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;

use crate::nested::identity::canonical;

/// What a row costs besides its bytes.
const OVERHEAD_BYTES: usize = 48;

/// The rows that were seen.
pub(super) struct Keys {
    converter: RowConverter,
    places: HashMap<Box<[u8]>, usize>,
    bytes: usize,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.places.len()).finish_non_exhaustive()
    }
}

impl Keys {
    /// None yet, of columns of these types.
    pub(super) fn new(types: &[DataType]) -> Result<Self> {
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, places: HashMap::new(), bytes: 0 })
    }

    /// How many different rows there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The number of each of these rows: those that are new get the next ones.
    pub(super) fn places(&mut self, columns: &[ArrayRef]) -> Result<Vec<usize>> {
        let columns = columns.iter().map(canonical).collect::<Result<Vec<_>>>()?;
        let rows = self.converter.convert_columns(&columns)?;
        let mut places = Vec::with_capacity(rows.num_rows());
        for row in rows.iter() {
            let next = self.places.len();
            places.push(match self.places.get(row.data()) {
                Some(place) => *place,
                None => {
                    self.bytes += row.data().len() + OVERHEAD_BYTES;
                    self.places.insert(row.data().into(), next);
                    next
                }
            });
        }
        Ok(places)
    }

    /// The rows in the order of their numbers.
    pub(super) fn columns(&self) -> Result<Vec<ArrayRef>> {
        let mut rows: Vec<_> = self.places.iter().collect();
        rows.sort_unstable_by_key(|(_, place)| **place);
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(rows.into_iter().map(|(bytes, _)| parser.parse(bytes)))?)
    }

    /// The memory they take, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.converter.size()
    }
}
