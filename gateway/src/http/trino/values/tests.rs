//! What is written, beside what Trino 476 writes.

use std::sync::Arc;

use arrow::array::{
    BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, Int64Builder,
    IntervalMonthDayNanoArray, ListArray, MapArray, MapBuilder, NullArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, IntervalMonthDayNano};
use nunatak_coordinator::query::TYPE_MARK;

use super::keys::as_java_shows;
use super::*;

fn written(column: ArrayRef, parametric: bool) -> String {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
    let schema = announced(&batch.schema(), Some(&batch));
    let mut out = Vec::new();
    write_rows(&batch, &schema, parametric, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn json(column: impl Array + 'static) -> String {
    written(Arc::new(column), true)
}

/// The texts are those of Trino 476.
#[test]
fn values_are_written_as_trino_writes_them() {
    assert_eq!(json(Int64Array::from(vec![Some(9_007_199_254_740_993), None])), "[9007199254740993],[null]");
    assert_eq!(
        json(Float64Array::from(vec![1.5, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
        r#"[1.5],[1.0],["NaN"],["Infinity"],["-Infinity"]"#
    );
    assert_eq!(json(Float32Array::from(vec![0.1])), "[0.1]");
    let decimals = Decimal128Array::from(vec![125, -5]).with_precision_and_scale(3, 2).unwrap();
    assert_eq!(json(decimals), r#"["1.25"],["-0.05"]"#);
    assert_eq!(json(StringArray::from(vec!["a\"b\\\n\u{1}ü"])), r#"["a\"b\\\n\u0001ü"]"#);
    assert_eq!(json(BinaryArray::from(vec![&[0_u8, 255][..]])), r#"["AP8="]"#);
    let uuid = Uuid::parse_str("12151fd2-7586-11e9-8f9e-2a86e4085a59").unwrap();
    assert_eq!(json(FixedSizeBinaryArray::try_from_iter([uuid.as_bytes()].into_iter()).unwrap()), format!("[\"{uuid}\"]"));
    assert_eq!(json(Date32Array::from(vec![19_782, -719_893])), r#"["2024-02-29"],["-0001-01-01"]"#);
    assert_eq!(json(Time64MicrosecondArray::from(vec![3_723_123_456])), r#"["01:02:03.123456"]"#);
    assert_eq!(json(NullArray::new(1)), "[null]");
}

#[test]
fn timestamps_have_the_digits_that_the_client_takes() {
    let at = vec![1_704_070_923_123_456, -1];
    let plain = TimestampMicrosecondArray::from(at.clone());
    assert_eq!(json(plain.clone()), r#"["2024-01-01 01:02:03.123456"],["1969-12-31 23:59:59.999999"]"#);
    assert_eq!(written(Arc::new(plain), false), r#"["2024-01-01 01:02:03.123"],["1970-01-01 00:00:00.000"]"#);
    assert_eq!(
        json(TimestampMicrosecondArray::from(at.clone()).with_timezone("UTC")),
        r#"["2024-01-01 01:02:03.123456 UTC"],["1969-12-31 23:59:59.999999 UTC"]"#
    );
    let zoned = TimestampMicrosecondArray::from(at[..1].to_vec()).with_timezone("+02:00");
    assert_eq!(json(zoned), r#"["2024-01-01 03:02:03.123456 +02:00"]"#);
    let named = TimestampMicrosecondArray::from(at[..1].to_vec()).with_timezone("Asia/Kolkata");
    assert_eq!(json(named), r#"["2024-01-01 06:32:03.123456 Asia/Kolkata"]"#);
}

#[test]
fn texts_of_a_length_have_blanks_at_their_end() {
    let field = Field::new("c", DataType::Utf8, true).with_metadata([(TYPE_MARK.to_owned(), "char(3)".to_owned())].into());
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("ü"), None, Some("abc")]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![texts]).unwrap();
    let mut out = Vec::new();
    write_rows(&batch, &announced(&batch.schema(), Some(&batch)), true, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#"["ü  "],[null],["abc"]"#);
}

#[test]
fn intervals_are_of_months_or_of_days() {
    let value = IntervalMonthDayNano::new;
    assert_eq!(json(IntervalMonthDayNanoArray::from(vec![value(-3, 0, 0), value(14, 0, 0)])), r#"["-0-3"],["1-2"]"#);
    let nanos = ((2 * 60 + 3) * 60 + 4) * 1_000_000_000 + 567_000_000;
    assert_eq!(
        json(IntervalMonthDayNanoArray::from(vec![value(0, 1, nanos), value(0, 0, -1_000_000_000)])),
        r#"["1 02:03:04.567"],["-0 00:00:01.000"]"#
    );
    let both: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![value(1, 1, 0)]));
    let batch = RecordBatch::try_from_iter([("c", both)]).unwrap();
    let refused = write_rows(&batch, &announced(&batch.schema(), Some(&batch)), true, &mut Vec::new());
    assert_eq!(refused.err().map(|error| error.code()), Some(Code::NotSupported));
    assert_eq!(json(IntervalMonthDayNanoArray::from(vec![None, Some(value(0, 0, 0)), Some(value(1, 0, 0))])), r#"[null],["0-0"],["0-1"]"#);
}

#[test]
fn intervals_within_others_are_of_a_kind_each() {
    let interval = |months, days| -> ArrayRef { Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(months, days, 0)])) };
    let data_type = DataType::Interval(IntervalUnit::MonthDayNano);
    let fields: Fields = vec![Field::new("m", data_type.clone(), true), Field::new("d", data_type.clone(), true)].into();
    let row = StructArray::new(fields, vec![interval(1, 0), interval(0, 2)], None);
    assert_eq!(json(row.clone()), r#"[["0-1","2 00:00:00.000"]]"#);
    let element = Arc::new(Field::new("element", data_type, true));
    let list = ListArray::new(element, OffsetBuffer::from_lengths([1]), interval(14, 0), None);
    assert_eq!(json(list.clone()), r#"[["1-2"]]"#);
    let entries = Field::new("entries", row.data_type().clone(), false);
    let batch = RecordBatch::try_from_iter([("l", Arc::new(list) as ArrayRef), ("r", Arc::new(row) as ArrayRef)]).unwrap();
    let told = announced(&batch.schema(), Some(&batch));
    let kind = DataType::Interval;
    let DataType::List(element) = told.field(0).data_type() else { panic!("a list is one") };
    assert_eq!(element.data_type(), &kind(IntervalUnit::YearMonth));
    let of_row: Vec<_> = fields_of(told.field(1).data_type()).unwrap().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(of_row, [kind(IntervalUnit::YearMonth), kind(IntervalUnit::DayTime)]);
    let keys = StructArray::new(
        vec![Field::new("key", kind(IntervalUnit::MonthDayNano), false), Field::new("value", kind(IntervalUnit::MonthDayNano), true)].into(),
        vec![interval(0, 2), interval(1, 0)],
        None,
    );
    let entries = Arc::new(entries.with_data_type(keys.data_type().clone()));
    assert_eq!(json(MapArray::new(entries, OffsetBuffer::from_lengths([1]), keys, None, false)), r#"[{"2 00:00:00.000":"0-1"}]"#);
}

#[test]
fn nested_values_are_lists_and_objects() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    assert_eq!(json(lists), "[[1,null]],[null],[[]]");
    let fields: Fields = vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1])), Arc::new(StringArray::from(vec!["a"]))];
    assert_eq!(json(StructArray::new(fields, columns, None)), r#"[[1,"a"]]"#);
    let mut map = MapBuilder::new(None, Int64Builder::new(), Int64Builder::new());
    map.keys().append_value(7);
    map.values().append_null();
    map.append(true).unwrap();
    assert_eq!(json(map.finish()), r#"[{"7":null}]"#);
}

#[test]
fn keys_are_shown_as_by_java() {
    assert_eq!(as_java_shows(r#"[1,null,"a, \"b\"\\\u0001",["x:y"],{"k":1.5}]"#), "[1, null, a, \"b\"\\\u{1}, [x:y], {k=1.5}]");
    let shown = ["7", "-7", "1.0", "10000000.0", "-0.00015", "1e300", "1.5e-7", "-0.0", "100.25"].map(as_java_shows);
    assert_eq!(shown, ["7", "-7", "1.0", "1.0E7", "-1.5E-4", "1.0E300", "1.5E-7", "-0.0", "100.25"]);
}
