//! `$rename_fields(value, type)`, which no statement can call: the same rows with the field names of another type, which is that of a NULL. Rows whose fields have
//! other names are cast by position, as in Trino; DataFusion casts rows by the names of their fields only.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{DFSchema, ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, lit};

use super::number_cast;

const NAME: &str = "$rename_fields";

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(RenameFields { signature: Signature::any(2, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// `value` cast to a type: rows whose fields have other names take those of the type by position.
///
/// Errors: those of casts between the types.
pub fn cast_by_position(value: Expr, to: &DataType, input: &DFSchema) -> Result<Expr> {
    let from = value.get_type(input)?;
    let named_type = renamed(&from, to);
    let value = match named_type == from {
        true => value,
        false => function().call(vec![value, lit(ScalarValue::try_from(&named_type)?)]),
    };
    // Some casts of ours are none of Arrow's: `rules::exact_casts` finds them.
    match !can_cast_types(&named_type, to) && number_cast::is_needed(&named_type, to) {
        true => Ok(cast(value, to.clone())),
        false => value.cast_to(to, input),
    }
}

/// Gives rows that are cast to a type its field names, and says whether it had others: casts go by position.
///
/// Errors: a type that has no NULL.
pub fn with_names_of(value: &mut Expr, to: &DataType, input: &DFSchema) -> Result<bool> {
    // What has no type is a parameter without a value.
    let Ok(from) = value.get_type(input) else { return Ok(false) };
    let named = renamed(&from, to);
    if !to.is_nested() || named == from {
        return Ok(false);
    }
    *value = function().call(vec![std::mem::take(value), lit(ScalarValue::try_from(&named)?)]);
    Ok(true)
}

/// The type `from` with the field names of `to`, where rows have as many fields and not the same names.
pub(super) fn renamed(from: &DataType, to: &DataType) -> DataType {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) if from.len() == to.len() => {
            let find = |field: &FieldRef| to.iter().find(|to| to.name() == field.name());
            let same_names = from.iter().all(|field| find(field).is_some());
            let fields = from.iter().zip(to).map(|(from, to)| match find(from).filter(|_| same_names) {
                Some(to) => renamed_field(from, to, from.name()),
                None => renamed_field(from, to, to.name()),
            });
            DataType::Struct(fields.collect())
        }
        (DataType::List(from), DataType::List(to)) => DataType::List(renamed_field(from, to, from.name())),
        (DataType::Map(from, sorted), DataType::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (DataType::Struct(pair), DataType::Struct(to)) => {
                let pair: Fields = pair.iter().zip(to).map(|(from, to)| renamed_field(from, to, from.name())).collect();
                DataType::Map(Arc::new(from.as_ref().clone().with_data_type(DataType::Struct(pair))), *sorted)
            }
            _ => DataType::Map(Arc::clone(from), *sorted),
        },
        (from, _) => from.clone(),
    }
}

fn renamed_field(from: &FieldRef, to: &FieldRef, name: &str) -> FieldRef {
    Arc::new(Field::new(name, renamed(from.data_type(), to.data_type()), from.is_nullable()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RenameFields {
    signature: Signature,
}

impl ScalarUDFImpl for RenameFields {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, named] => Ok(named.clone()),
            _ => exec_err!("{NAME} takes a value and a type"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let named = arguments.return_field.data_type();
        match arguments.args.into_iter().next() {
            Some(ColumnarValue::Array(values)) => Ok(ColumnarValue::Array(rename(&values, named)?)),
            Some(ColumnarValue::Scalar(value)) => {
                let values = rename(&value.to_array()?, named)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
            }
            None => exec_err!("{NAME} takes a value and a type"),
        }
    }
}

/// The same values with the names of a type.
fn rename(values: &ArrayRef, named: &DataType) -> Result<ArrayRef> {
    Ok(match named {
        _ if values.data_type() == named => Arc::clone(values),
        DataType::Struct(fields) => Arc::new(rename_row(values.as_struct(), fields)?),
        DataType::List(element) => {
            let list = values.as_list::<i32>();
            let elements = rename(list.values(), element.data_type())?;
            Arc::new(ListArray::try_new(Arc::clone(element), list.offsets().clone(), elements, list.nulls().cloned())?)
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { return exec_err!("a map has no keys") };
            let map = values.as_map();
            let pairs = rename_row(map.entries(), pair)?;
            Arc::new(MapArray::try_new(Arc::clone(entries), map.offsets().clone(), pairs, map.nulls().cloned(), *sorted)?)
        }
        _ => Arc::clone(values),
    })
}

fn rename_row(row: &StructArray, fields: &Fields) -> Result<StructArray> {
    let columns = row.columns().iter().zip(fields).map(|(column, field)| rename(column, field.data_type())).collect::<Result<Vec<_>>>()?;
    Ok(StructArray::try_new_with_length(fields.clone(), columns, row.nulls().cloned(), row.len())?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, RecordBatch, StringArray};
    use datafusion::logical_expr::col;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn row(names: [&str; 2]) -> DataType {
        DataType::Struct(Fields::from(vec![Field::new(names[0], DataType::Int32, true), Field::new(names[1], DataType::Utf8, true)]))
    }

    fn list(element: DataType) -> DataType {
        DataType::new_list(element, true)
    }

    #[test]
    fn rows_take_names_by_position_unless_they_have_the_same() {
        assert_eq!(renamed(&row(["c0", "c1"]), &row(["x", "y"])), row(["x", "y"]));
        assert_eq!(renamed(&row(["y", "x"]), &row(["x", "y"])), row(["y", "x"]));
        assert_eq!(renamed(&list(row(["c0", "c1"])), &list(row(["x", "y"]))), list(row(["x", "y"])));
        assert_eq!(renamed(&DataType::Int32, &row(["x", "y"])), DataType::Int32);
    }

    #[tokio::test]
    async fn values_are_cast() {
        let DataType::Struct(fields) = row(["c0", "c1"]) else { unreachable!() };
        let values = StructArray::new(
            fields,
            vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec![Some("a"), None]))],
            Some(vec![true, false].into()),
        );
        let batch = RecordBatch::try_from_iter([("r", Arc::new(values) as ArrayRef)]).unwrap();
        let frame = SessionContext::new().read_batch(batch).unwrap();
        let cast = cast_by_position(col("r"), &row(["x", "y"]), frame.schema()).unwrap();
        let rows = frame.select(vec![cast.alias("r")]).unwrap().collect().await.unwrap();
        let named = rows[0].column(0).as_struct();
        assert_eq!(named.data_type(), &row(["x", "y"]));
        assert_eq!((named.column(0).as_primitive::<arrow::datatypes::Int32Type>().value(0), named.is_null(1)), (1, true));
    }
}
