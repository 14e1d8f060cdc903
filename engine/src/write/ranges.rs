//! Spreads rows over tasks by ranges of their keys: the values of the partition fields, then those that the table is sorted by. Where ranges begin is found out from
//! some of the rows, so that tasks get about as many of them whatever the keys are: also when most rows are of one partition.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{SortOptions, cast, concat_batches, take_record_batch};
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::hash_utils::create_hashes;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions::math::random;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{Partitioning, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;
use futures::StreamExt;

use crate::functions::range_of::{constants, hash_of, range_of};

/// About how many rows are looked at: enough for bounds of hundreds of ranges.
const ROWS_WANTED: usize = 20_000;
/// Which part of the rows is looked at if nobody knows how many there are.
const UNKNOWN_SHARE: f64 = 0.01;
/// So many times the rows that a task should have are too many for one.
const SKEW: f64 = 1.5;

/// Some of the rows that are to be written; columns that say nothing of where a row goes are NULL.
#[derive(Clone, Debug)]
pub struct Sample(RecordBatch);

impl Sample {
    /// Gathers the rows of a plan that [`sampling`](super::sampling) made.
    pub async fn collect(mut rows: SendableRecordBatchStream) -> Result<Self> {
        let schema = rows.schema();
        let mut kept = RecordBatch::new_empty(schema.clone());
        // Of `step` rows one is kept.
        let (mut step, mut skipped) = (1, 0);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let chosen = every(step, skipped, batch.num_rows());
            skipped = (skipped + batch.num_rows()) % step;
            kept = concat_batches(&schema, [&kept, &take_record_batch(&batch, &chosen)?])?;
            if kept.num_rows() > 10 * ROWS_WANTED {
                step *= 2;
                kept = take_record_batch(&kept, &every(2, 0, kept.num_rows()))?;
            }
        }
        Ok(Self(kept))
    }
}

/// Each row whose number is a multiple of `step`, where `skipped` rows come before the first.
fn every(step: usize, skipped: usize, rows: usize) -> UInt64Array {
    (0..rows).filter(|row| (row + skipped).is_multiple_of(step)).map(|row| row as u64).collect()
}

/// The plan that gives some rows of `input`, whose number may be known, with the columns `used`.
pub(super) fn sampling(input: &LogicalPlan, rows: Option<usize>, used: &HashSet<usize>) -> Result<LogicalPlan> {
    let share = rows.map_or(UNKNOWN_SHARE, |rows| ROWS_WANTED as f64 / rows.max(1) as f64);
    let columns = input.schema().columns().into_iter().zip(input.schema().fields()).enumerate().map(|(index, (column, field))| {
        let name = field.name();
        Ok(if used.contains(&index) { Expr::Column(column) } else { lit(ScalarValue::try_from(field.data_type())?).alias(name) })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(input.clone()).filter(random().call(Vec::new()).lt(lit(share)))?.project(columns)?.build()
}

/// Whether to make rows again is about as cheap as to read the columns that the keys are made of.
pub(super) fn is_cheap(input: &LogicalPlan) -> bool {
    let by_row = match input {
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) => {
            let asks = |part: &Expr| matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_));
            input.expressions().iter().all(|expression| !expression.exists(|part| Ok(asks(part))).unwrap_or(true))
        }
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) | LogicalPlan::TableScan(_) => true,
        _ => false,
    };
    by_row && input.inputs().into_iter().all(is_cheap)
}

/// The keys of rows: what tells their partition, and what they are sorted by within it.
pub(super) struct Keys {
    pub(super) partitions: Vec<PhysicalSortExpr>,
    pub(super) order: Vec<PhysicalSortExpr>,
}

impl Keys {
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.order.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &PhysicalSortExpr> {
        self.partitions.iter().chain(&self.order)
    }

    /// Whether a sample has so many rows of one partition that one task of so many would have far more to do than the others.
    pub(super) fn are_skewed(&self, sample: &Sample, tasks: usize, schema: &Schema) -> Result<bool> {
        let rows = encoded(&evaluate(&self.partitions, &conformed(sample, schema)?)?, &options(&self.partitions))?;
        let mut counts: HashMap<&[u8], usize> = HashMap::new();
        for row in &rows {
            *counts.entry(row.data()).or_default() += 1;
        }
        let most = counts.into_values().max().unwrap_or_default();
        Ok(is_too_large(most, rows.num_rows(), tasks))
    }

    /// Rows in as many ranges as there are tasks; `None` if the sample is too small to say anything.
    pub(super) fn ranges(&self, sample: &Sample, tasks: usize, schema: &Schema, config: &Arc<ConfigOptions>) -> Result<Option<Partitioning>> {
        let sample = conformed(sample, schema)?;
        if sample.num_rows() < tasks {
            return Ok(None);
        }
        let mut expressions: Vec<PhysicalSortExpr> = self.all().cloned().collect();
        let mut arrays = evaluate(&expressions, &sample)?;
        let mut bounds = bounds(&encoded(&arrays, &options(&expressions))?, tasks);
        if bounds.is_none() {
            // Rows with the same keys are too many for one task. What tells them apart is as good as random.
            let columns =
                schema.fields().iter().enumerate().map(|(index, field)| Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>);
            let hash = ScalarFunctionExpr::try_new(hash_of(), columns.collect(), schema, Arc::clone(config))?;
            expressions.push(PhysicalSortExpr::new(Arc::new(hash), SortOptions::default()));
            arrays.push(Arc::new((0..sample.num_rows() as u64).map(scattered).collect::<UInt64Array>()));
            bounds = self::bounds(&encoded(&arrays, &options(&expressions))?, tasks);
        }
        let Some(bounds) = bounds else { return Ok(None) };
        let constants = constants(&numbers(tasks)?, &bounds, &options(&expressions));
        let constants = constants.into_iter().map(|value| Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>);
        let arguments = constants.chain(expressions.into_iter().map(|key| key.expr)).collect();
        let range: Arc<dyn PhysicalExpr> = Arc::new(ScalarFunctionExpr::try_new(range_of(), arguments, schema, Arc::clone(config))?);
        Ok(Some(Partitioning::Hash(vec![range], tasks)))
    }
}

/// The first keys of all ranges but the first; `None` if one of the ranges would have far more rows than the others.
fn bounds(keys: &Rows, ranges: usize) -> Option<Vec<Vec<u8>>> {
    let mut sorted: Vec<_> = keys.iter().collect();
    sorted.sort_unstable();
    let bounds: Vec<_> = (1..ranges).map(|range| sorted[range * sorted.len() / ranges]).collect();
    let starts = bounds.iter().map(|bound| sorted.partition_point(|key| key < bound));
    let starts: Vec<usize> = std::iter::once(0).chain(starts).chain([sorted.len()]).collect();
    let most = starts.windows(2).map(|range| range[1] - range[0]).max().unwrap_or_default();
    let balanced = !is_too_large(most, sorted.len(), ranges);
    balanced.then(|| bounds.into_iter().map(|bound| bound.data().to_vec()).collect())
}

/// Whether a task that gets `rows` of all rows has far more to do than the others.
fn is_too_large(rows: usize, all: usize, tasks: usize) -> bool {
    rows as f64 > SKEW * all as f64 / tasks as f64
}

/// Numbers for ranges, of which the exchange by hash sends each to another task.
fn numbers(tasks: usize) -> Result<Vec<u64>> {
    let mut found: Vec<Option<u64>> = vec![None; tasks];
    let mut next = 0;
    // A number has one chance in so many tasks to be that of the last one.
    while found.iter().any(Option::is_none) && next < 1000 * tasks as u64 {
        let candidates: ArrayRef = Arc::new(UInt64Array::from_iter_values(next..next + tasks as u64));
        let mut hashes = vec![0; tasks];
        create_hashes([&candidates], REPARTITION_RANDOM_STATE.random_state(), &mut hashes)?;
        for (candidate, hash) in (next..).zip(hashes) {
            found[(hash % tasks as u64) as usize].get_or_insert(candidate);
        }
        next += tasks as u64;
    }
    Ok(found.into_iter().zip(next..).map(|(number, other)| number.unwrap_or(other)).collect())
}

/// A number that looks random (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The sample with the types of the rows: an exchange may have changed their form.
fn conformed(sample: &Sample, schema: &Schema) -> Result<RecordBatch> {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let fields = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = sample.0.columns().iter().zip(fields.fields()).map(|(column, field)| cast(column, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(&fields), columns.collect::<Result<_, _>>()?)?)
}

fn evaluate(keys: &[PhysicalSortExpr], rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|key| key.expr.evaluate(rows)?.into_array(rows.num_rows())).collect()
}

fn options(keys: &[PhysicalSortExpr]) -> Vec<SortOptions> {
    keys.iter().map(|key| key.options).collect()
}

fn encoded(arrays: &[ArrayRef], options: &[SortOptions]) -> Result<Rows> {
    let fields = arrays.iter().zip(options).map(|(array, options)| SortField::new_with_options(array.data_type().clone(), *options));
    Ok(RowConverter::new(fields.collect())?.convert_columns(arrays)?)
}
