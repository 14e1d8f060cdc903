use datafusion::arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;
use crate::functions::array_numbers;

async fn value(sql: &str) -> String {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    let state = SessionStateBuilder::new().with_config(config).with_default_features().with_analyzer_rules(super::super::analyzer_rules()).build();
    let context = SessionContext::new_with_state(state);
    nunatak_functions::scalars().iter().for_each(|function| context.register_udf(function.as_ref().clone()));
    array_numbers::all().iter().for_each(|function| context.register_udf(function.as_ref().clone()));
    let (tenth, real) = (Float64Array::from(vec![0.1]), Float32Array::from(vec![0.1]));
    // The first moment of the year 9999, and the last of the year 0.
    let (last, first) =
        (TimestampMicrosecondArray::from(vec![253_370_764_800_000_000]), TimestampMicrosecondArray::from(vec![-62_135_596_800_000_001]));
    let columns = [
        ("x", Arc::new(tenth) as ArrayRef),
        ("y", Arc::new(real) as ArrayRef),
        ("late", Arc::new(last) as ArrayRef),
        ("early", Arc::new(first) as ArrayRef),
    ];
    context.register_batch("t", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
    let table = pretty_format_batches(&rows).unwrap().to_string();
    let rows = table.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join(" ");
    rows.map(cells).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn decimals_become_floats_beside_floats() {
    assert_eq!(value("SELECT count(*) FROM t WHERE x = 0.1 AND y = 0.1 AND x IN (0.1, 5) AND x BETWEEN 0.1 AND 0.1").await, "1");
    // In fifteen digits it would be zero.
    assert_eq!(value("SELECT coalesce(NULL, x * x * 0.00000000000000000001, 1.5) > 0 FROM t").await, "true");
    assert_eq!(value("SELECT CASE WHEN x > 0.5 THEN 1.25 ELSE x END FROM t").await, "0.1");
    assert_eq!(value("SELECT count(*) FROM t WHERE x * 0.00000000000000000001 IN (SELECT 0.0) OR x NOT IN (SELECT 0.1)").await, "0");
    assert_eq!(value("SELECT count(*) FROM (SELECT x FROM t EXCEPT SELECT 0.1)").await, "0");
    assert_eq!(
        value("SELECT v FROM (SELECT 1 AS v UNION ALL SELECT 1.5 UNION ALL SELECT x * 0.00000000000000000001 FROM t) WHERE v < 0.5").await,
        "1e-21"
    );
    assert_eq!(value("SELECT v FROM (SELECT x AS v FROM t UNION ALL SELECT 0.25 FROM t) ORDER BY v").await, "0.1, 0.25");
}

#[tokio::test]
async fn types_are_known_before_they_are_compared() {
    // The union is of doubles, though its first part is not.
    assert_eq!(
        value("SELECT coalesce(v, 1.5) FROM (SELECT 1 AS v UNION ALL SELECT x * 0.00000000000000000001 FROM t) ORDER BY 1").await,
        "1e-21, 1.0"
    );
    // So is the CASE.
    assert_eq!(value("SELECT coalesce(CASE WHEN x > 1 THEN 1 ELSE x * 0.00000000000000000001 END, 1.5) FROM t").await, "1e-21");
}

#[tokio::test]
async fn decimals_become_floats_within_arrays() {
    assert_eq!(value("SELECT array_has([x], 0.1), array_has([x], 0.3), array_position([x, 0.2], 0.2) FROM t").await, "true false 2");
    assert_eq!(
        value("SELECT array_concat([x], [0.30000000000000004]), array_remove([x, 1.5], 1.5) FROM t").await,
        "[0.1, 0.30000000000000004] [0.1]"
    );
    assert_eq!(value("SELECT CASE WHEN x > 1 THEN [1] ELSE [x] END FROM t").await, "[0.1]");
}

#[tokio::test]
async fn types_within_become_alike() {
    assert_eq!(value("SELECT v FROM (SELECT [arrow_cast(1, 'Int32')] AS v UNION ALL SELECT [2]) ORDER BY v").await, "[1], [2]");
    assert_eq!(value("SELECT coalesce(NULL, [arrow_cast(1, 'Int32')], [2.5])").await, "[1.0]");
}

#[tokio::test]
async fn dates_beside_timestamps_count_microseconds() {
    assert_eq!(
        value("SELECT greatest(late, DATE '9999-12-31'), least(early, DATE '0001-01-01') FROM t").await,
        "9999-12-31T00:00:00 0000-12-31T23:59:59.999999"
    );
    assert_eq!(
        value("SELECT CASE WHEN x > 1 THEN late ELSE DATE '0001-01-01' END, coalesce(DATE '9999-12-31', late) FROM t").await,
        "0001-01-01T00:00:00 9999-12-31T00:00:00"
    );
    assert_eq!(value("SELECT CASE late WHEN DATE '9999-01-01' THEN 'first' END FROM t").await, "first");
    assert_eq!(
        value("SELECT v FROM (SELECT DATE '0001-01-01' AS v UNION ALL SELECT late FROM t) ORDER BY v").await,
        "0001-01-01T00:00:00, 9999-01-01T00:00:00"
    );
}

#[tokio::test]
async fn decimals_stay_decimals() {
    assert_eq!(value("SELECT 0.1 + 0.2, 98765432109876543.21 + 0.01").await, "0.3 98765432109876543.22");
    assert_eq!(value("SELECT 0.06 + 0.01 = 0.07").await, "true");
}

#[tokio::test]
async fn decimals_are_rounded_to_whole_numbers() {
    assert_eq!(value("SELECT ceil(0.5), floor(-9.5), ceil(9.99), arrow_typeof(ceil(9.99))").await, "1 -10 10 Decimal128(2, 0)");
    assert_eq!(value("SELECT ceil(x), floor(CAST(2 AS decimal(38, 0))) FROM t").await, "1.0 2");
    assert_eq!(
        value("SELECT CAST(1.5 AS integer), CAST(-1.5 AS bigint), CAST(x + 2.6 AS smallint), coalesce(TRY_CAST(10000000000.5 AS integer), 0) FROM t")
            .await,
        "2 -2 3 0"
    );
}

#[tokio::test]
async fn floats_have_the_digits_that_are_written() {
    for digits in ["0.30000000000000004", "3.141592653589793238", "9007199254740993.5", "123456789012345678.9", "0.12345678901234567"] {
        let read: f64 = value(&format!("SELECT CAST({digits} AS double)")).await.parse().unwrap();
        assert_eq!(read.to_bits(), digits.parse::<f64>().unwrap().to_bits());
    }
}
