//! Which files and manifests filters leave.

use std::collections::HashMap;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use nunatak_catalog::snapshot::manifests;
use nunatak_catalog::spec::{Datum, PrimitiveType};

use super::*;
use crate::scan::pruning::Pruner;

const DAY: i64 = 86_400_000_000;

fn primitive(primitive: PrimitiveType) -> Type {
    Type::Primitive(primitive)
}

/// `id bigint, ts timestamp, price double, name varchar`
fn columns() -> Vec<(&'static str, Type)> {
    let types = [PrimitiveType::Long, PrimitiveType::Timestamp, PrimitiveType::Double, PrimitiveType::String];
    ["id", "ts", "price", "name"].into_iter().zip(types.map(primitive)).collect()
}

fn bounds(builder: &mut DataFileBuilder, id: i32, lower: Datum, upper: Datum) -> &mut DataFileBuilder {
    builder.lower_bounds(HashMap::from([(id, lower)])).upper_bounds(HashMap::from([(id, upper)]))
}

fn physical(provider: &IcebergTable, filter: Expr) -> Arc<dyn PhysicalExpr> {
    let schema = DFSchema::try_from(Arc::clone(provider.shape().schema())).unwrap();
    SessionContext::new().create_physical_expr(filter, &schema).unwrap()
}

/// The names of the files that are left, without the folder.
async fn left(staged: &Staged, filter: Expr) -> Vec<String> {
    let provider = staged.provider();
    let filter = physical(&provider, filter);
    let pruned_from_manifests = provider.plan_files(vec![Arc::clone(&filter)]).await.unwrap();
    provider.load_files().await.unwrap();
    let pruned_from_list = provider.plan_files(vec![filter]).await.unwrap();
    assert_eq!(pruned_from_manifests.files, pruned_from_list.files);
    let mut names: Vec<String> = pruned_from_list.files.iter().map(|entry| entry.file.file_path().rsplit('/').next().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn ts(micros: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(micros), None))
}

#[tokio::test]
async fn column_bounds_leave_what_can_match() {
    let mut staged = Staged::new(&columns(), &[]);
    let low = bounds(&mut data_file(staged.path("low"), 10, 100, vec![]), 1, Datum::long(1), Datum::long(10)).build().unwrap();
    let high = bounds(&mut data_file(staged.path("high"), 10, 100, vec![]), 1, Datum::long(11), Datum::long(20)).build().unwrap();
    let unknown = data_file(staged.path("unknown"), 10, 100, vec![]).build().unwrap();
    staged.append(vec![low, high, unknown]).await;
    assert_eq!(left(&staged, col("id").eq(lit(15_i64))).await, ["high", "unknown"]);
    assert_eq!(left(&staged, col("id").lt(lit(11_i64))).await, ["low", "unknown"]);
    assert_eq!(left(&staged, col("id").in_list(vec![lit(3_i64), lit(4_i64)], false)).await, ["low", "unknown"]);
    assert_eq!(left(&staged, col("price").gt(lit(1.0))).await, ["high", "low", "unknown"]);
}

#[tokio::test]
async fn bounds_of_floats_count_only_without_nan() {
    let mut staged = Staged::new(&columns(), &[]);
    let mut files = Vec::new();
    for (name, nans) in [("unknown", HashMap::new()), ("some", HashMap::from([(3, 1)])), ("none", HashMap::from([(3, 0)]))] {
        let mut builder = data_file(staged.path(name), 10, 100, vec![]);
        bounds(&mut builder, 3, Datum::double(1.0), Datum::double(5.0)).nan_value_counts(nans);
        files.push(builder.build().unwrap());
    }
    staged.append(files).await;
    assert_eq!(left(&staged, col("price").gt(lit(100.0))).await, ["some", "unknown"]);
}

#[tokio::test]
async fn nulls_and_cut_off_strings_are_understood() {
    let mut staged = Staged::new(&columns(), &[]);
    let mut whole = data_file(staged.path("whole"), 10, 100, vec![]);
    bounds(&mut whole, 4, Datum::string("berlin"), Datum::string("munich")).null_value_counts(HashMap::from([(4, 0)]));
    let mut empty = data_file(staged.path("empty"), 10, 100, vec![]);
    empty.null_value_counts(HashMap::from([(4, 10)]));
    staged.append(vec![whole.build().unwrap(), empty.build().unwrap()]).await;
    assert_eq!(left(&staged, col("name").is_null()).await, ["empty"]);
    assert_eq!(left(&staged, col("name").is_not_null()).await, ["whole"]);
    assert_eq!(left(&staged, col("name").eq(lit("hamburg"))).await, ["whole"]);
    assert!(left(&staged, col("name").eq(lit("zurich"))).await.is_empty());
}

#[tokio::test]
async fn partitions_bound_their_columns() {
    let mut staged = Staged::new(&columns(), &[(2, "day", Transform::Day), (1, "bucket", Transform::Bucket(4))]);
    // By the spec's hash, 34 falls into bucket 3 of 4.
    for (name, day, bucket) in [("first", 10, 3), ("second", 11, 3), ("third", 11, 1)] {
        let partition = vec![Some(Literal::date(day)), Some(Literal::int(bucket))];
        staged.append(vec![data_file(staged.path(name), 10, 100, partition).build().unwrap()]).await;
    }
    assert_eq!(left(&staged, col("ts").gt_eq(ts(11 * DAY))).await, ["second", "third"]);
    assert_eq!(left(&staged, col("ts").lt(ts(11 * DAY))).await, ["first"]);
    assert_eq!(left(&staged, col("id").eq(lit(34_i64))).await, ["first", "second"]);
    assert_eq!(left(&staged, col("id").eq(lit(34_i64)).and(col("ts").eq(ts(11 * DAY + 5)))).await, ["second"]);
    assert_eq!(left(&staged, col("id").gt(lit(34_i64))).await, ["first", "second", "third"]);
}

#[tokio::test]
async fn manifests_are_left_out_by_their_summaries() {
    let mut staged = Staged::new(&columns(), &[(2, "day", Transform::Day), (1, "bucket", Transform::Bucket(4))]);
    for (name, day, bucket) in [("first", 10, 3), ("second", 12, 1)] {
        let partition = vec![Some(Literal::date(day)), Some(Literal::int(bucket))];
        staged.append(vec![data_file(staged.path(name), 10, 100, partition).build().unwrap()]).await;
    }
    let provider = staged.provider();
    let cache = ManifestCache::new(1 << 20);
    let manifests = manifests(&staged.table, provider.snapshot().unwrap(), &cache).await.unwrap();
    let kept = |filter: Expr| {
        let shape = provider.shape();
        let pruner = Pruner::new(Arc::clone(shape.schema()), Arc::clone(shape.columns()), vec![physical(&provider, filter)]);
        manifests.iter().filter(|manifest| pruner.keeps_manifest(manifest)).count()
    };
    assert_eq!(manifests.len(), 2);
    assert_eq!(kept(col("ts").eq(ts(12 * DAY))), 1);
    assert_eq!(kept(col("id").eq(lit(34_i64))), 1);
    assert_eq!(kept(col("ts").is_null()), 0);
    assert_eq!(kept(col("name").eq(lit("x"))), 2);
}

#[tokio::test]
async fn filters_over_single_values_are_decided_whatever_they_call() {
    let mut staged = Staged::new(&columns(), &[(4, "name", Transform::Identity)]);
    for name in [Some("berlin"), Some("Bonn"), None] {
        let path = staged.path(name.unwrap_or("null"));
        staged.append(vec![data_file(path, 10, 100, vec![name.map(Literal::string)]).build().unwrap()]).await;
    }
    let upper = datafusion::functions::string::expr_fn::upper(col("name"));
    assert_eq!(left(&staged, upper.clone().eq(lit("BONN"))).await, ["Bonn"]);
    assert_eq!(left(&staged, upper.is_null()).await, ["null"]);
    assert_eq!(left(&staged, col("name").not_eq(lit("berlin"))).await, ["Bonn"]);
}
