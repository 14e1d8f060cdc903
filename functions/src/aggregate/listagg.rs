//! `listagg`: texts put together. `LISTAGG(x, sep ON OVERFLOW TRUNCATE '...' WITH COUNT) WITHIN GROUP (ORDER BY y)` comes as `listagg(x, sep, '...', true ORDER BY y)`.

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Accumulator;
use nunatak_core::{Code, Error};

use super::function::{Aggregate, Types};

/// The longest result, in bytes, as in Trino.
const BYTES_MAX: usize = 1 << 20;

pub(super) const FUNCTIONS: &[Aggregate] = &[Aggregate::of_all_rows(
    "listagg",
    &["(varchar) -> varchar", "(varchar, varchar) -> varchar", "(varchar, varchar, varchar, boolean) -> varchar"],
    start,
    "All texts in one, with a separator between them.",
)];

fn start(_: &Types) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Texts { columns: Vec::new() }))
}

#[derive(Debug)]
struct Texts {
    columns: Vec<Vec<ArrayRef>>,
}

fn texts(column: &ArrayRef) -> Result<&StringViewArray> {
    column.as_string_view_opt().ok_or_else(|| exec_datafusion_err!("a column of type {} is no text", column.data_type()))
}

/// The text in the first row, if it has one.
fn constant(column: Option<&ArrayRef>) -> Result<Option<&str>> {
    let Some(column) = column else { return Ok(None) };
    let column = texts(column)?;
    Ok((!column.is_empty() && column.is_valid(0)).then(|| column.value(0)))
}

impl Texts {
    fn joined(&self) -> Result<Option<String>> {
        let Some(first) = self.columns.first() else { return Ok(None) };
        let separator = constant(first.get(1))?.unwrap_or_default();
        let filler = constant(first.get(2))?;
        let with_count = first.get(3).and_then(|column| column.as_boolean_opt()).is_some_and(|column| !column.is_empty() && column.value(0));
        let mut values = Vec::new();
        for columns in &self.columns {
            let [column, ..] = columns.as_slice() else { return internal_err!("listagg takes a column") };
            values.extend(texts(column)?.iter().flatten());
        }
        let Some((start, rest)) = values.split_first() else { return Ok(None) };
        let mut joined = String::new();
        if start.len() <= BYTES_MAX {
            joined.push_str(start);
        } else {
            return overflowed(joined, "", filler, with_count.then_some(values.len()));
        }
        for (index, value) in rest.iter().enumerate() {
            if joined.len() + separator.len() + value.len() > BYTES_MAX {
                return overflowed(joined, separator, filler, with_count.then_some(rest.len() - index));
            }
            joined.push_str(separator);
            joined.push_str(value);
        }
        Ok(Some(joined))
    }
}

fn overflowed(mut joined: String, separator: &str, filler: Option<&str>, left: Option<usize>) -> Result<Option<String>> {
    let Some(filler) = filler else {
        let error = Error::new(Code::ExceededFunctionMemoryLimit, format!("the result of listagg is longer than {BYTES_MAX} bytes"));
        return Err(DataFusionError::External(Box::new(error.with_hint("say ON OVERFLOW TRUNCATE"))));
    };
    joined.push_str(separator);
    joined.push_str(filler);
    if let Some(left) = left {
        joined.push_str(&format!("({left})"));
    }
    Ok(Some(joined))
}

impl Accumulator for Texts {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.columns.push(columns.to_vec());
        Ok(())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        internal_err!("listagg sees all rows at once")
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("listagg sees all rows at once")
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8View(self.joined()?))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.columns.iter().flatten().map(|column| column.get_array_memory_size()).sum::<usize>()
    }
}
