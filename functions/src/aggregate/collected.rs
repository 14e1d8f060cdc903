//! Rows that are kept until the last stage: for `DISTINCT`, for `ORDER BY` within a function, and for functions that see all rows of a group at once.
//!
//! What goes from one stage to the next is one list of rows: the arguments, and behind them what they are ordered by.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortColumn, SortOptions, cast, concat, filter_record_batch, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::function::{Aggregate, Types};
use super::keys::Keys;

fn row_fields<'a>(arguments: impl Iterator<Item = &'a DataType>) -> Fields {
    arguments.enumerate().map(|(index, data_type)| Field::new(format!("c{index}"), data_type.clone(), true)).collect()
}

fn list_of_rows(fields: Fields) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields), true)))
}

/// The type of the column that holds the rows of a group.
pub(super) fn collected_type<'a>(arguments: &'a [DataType], order: impl Iterator<Item = &'a DataType>) -> DataType {
    list_of_rows(row_fields(arguments.iter().chain(order)))
}

/// The rows of a group.
#[derive(Debug)]
pub(super) struct Collected {
    definition: &'static Aggregate,
    types: Types,
    fields: Fields,
    order: Vec<SortOptions>,
    /// Which arguments there are already, if they count once.
    seen: Option<Keys>,
    rows: Vec<RecordBatch>,
    bytes: usize,
}

impl Collected {
    pub(super) fn new(definition: &'static Aggregate, types: Types, order: Vec<(DataType, SortOptions)>, is_distinct: bool) -> Result<Self> {
        let fields = row_fields(types.arguments.iter().chain(order.iter().map(|(data_type, _)| data_type)));
        let seen = if is_distinct { Some(Keys::new(&types.arguments)?) } else { None };
        let order = order.into_iter().map(|(_, options)| options).collect();
        Ok(Self { definition, types, fields, order, seen, rows: Vec::new(), bytes: 0 })
    }

    fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        if columns.len() != self.fields.len() {
            return exec_err!("{} was given {} columns instead of {}", self.definition.name, columns.len(), self.fields.len());
        }
        let columns = columns.iter().zip(&self.fields).map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        });
        let mut batch = RecordBatch::try_new(Arc::new(Schema::new(self.fields.clone())), columns.collect::<std::result::Result<_, _>>()?)?;
        if let Some(seen) = &mut self.seen {
            let mut known = seen.len();
            let places = seen.places(&batch.columns()[..self.types.arguments.len()])?;
            let is_new: BooleanArray = places
                .into_iter()
                .map(|place| {
                    let is_new = place >= known;
                    known = known.max(place + 1);
                    Some(is_new)
                })
                .collect();
            batch = filter_record_batch(&batch, &is_new)?;
        }
        if batch.num_rows() > 0 {
            self.bytes += batch.columns().iter().map(|column| column.get_array_memory_size()).sum::<usize>();
            self.rows.push(batch);
        }
        Ok(())
    }

    /// All columns, each in one piece.
    fn columns(&self) -> Result<Vec<ArrayRef>> {
        (0..self.fields.len())
            .map(|index| {
                let parts: Vec<&dyn Array> = self.rows.iter().map(|batch| batch.column(index).as_ref()).collect();
                match parts.is_empty() {
                    true => Ok(arrow::array::new_empty_array(self.fields[index].data_type())),
                    false => Ok(concat(&parts)?),
                }
            })
            .collect()
    }
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states.first().and_then(|state| state.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| exec_datafusion_err!("the rows of {} are no list", self.definition.name))?;
        for rows in lists.iter().flatten() {
            let rows = rows.as_struct_opt().ok_or_else(|| exec_datafusion_err!("the rows of {} are no rows", self.definition.name))?;
            self.add(rows.columns())?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let rows = StructArray::try_new(self.fields.clone(), self.columns()?, None)?;
        let field = Arc::new(Field::new_list_field(DataType::Struct(self.fields.clone()), true));
        let list = ListArray::try_new(field, OffsetBuffer::from_lengths([rows.len()]), Arc::new(rows), None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut columns = self.columns()?;
        let arguments = self.types.arguments.len();
        let rows = columns.first().map_or(0, |column| column.len());
        if !self.order.is_empty() {
            let keys: Vec<SortColumn> = columns[arguments..]
                .iter()
                .zip(&self.order)
                .map(|(values, options)| SortColumn { values: Arc::clone(values), options: Some(*options) })
                .collect();
            let indices = lexsort_to_indices(&keys, None)?;
            columns = columns[..arguments].iter().map(|column| take(column, &indices, None)).collect::<std::result::Result<_, _>>()?;
        }
        columns.truncate(arguments);
        let mut whole = (self.definition.start)(&self.types)?;
        if rows > 0 {
            whole.update_batch(&columns)?;
        }
        whole.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes + self.seen.as_ref().map_or(0, Keys::size)
    }
}
