use std::fmt::Write as _;

use async_trait::async_trait;
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::execution::SessionState;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;

use super::*;

/// All orders are taken, whatever they cost.
const ALL: Limits = Limits { cost_min: -1.0, order_part_max: f64::INFINITY, semi_join_part_max: f64::INFINITY };

/// A table of which only the statistics are known: columns of whole numbers that begin at 0, or of which nothing is known.
#[derive(Debug)]
struct Known {
    rows: usize,
    greatest: Vec<(&'static str, i64)>,
}

#[async_trait]
impl TableProvider for Known {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.greatest.iter().map(|(name, _)| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let column = |greatest: i64| match greatest {
            UNKNOWN => ColumnStatistics::new_unknown(),
            greatest => ColumnStatistics {
                min_value: Precision::Inexact(ScalarValue::from(0_i64)),
                max_value: Precision::Inexact(ScalarValue::from(greatest)),
                ..ColumnStatistics::new_unknown()
            },
        };
        let column_statistics = self.greatest.iter().map(|(_, greatest)| column(*greatest)).collect();
        Some(Statistics { num_rows: Precision::Inexact(self.rows), total_byte_size: Precision::Absent, column_statistics })
    }

    async fn scan(&self, _: &dyn Session, _: Option<&Vec<usize>>, _: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        datafusion::common::not_impl_err!("a table without rows to read")
    }
}

const UNKNOWN: i64 = -1;

/// The scans of a plan, from its top to its bottom, with the joins around them.
fn shape(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table().to_owned(),
        LogicalPlan::Join(join) => {
            let sign = if join.join_type == JoinType::Inner { "*" } else { "in" };
            format!("({} {sign} {})", shape(&join.left), shape(&join.right))
        }
        other => other.inputs().first().map(|input| shape(input)).unwrap_or_default(),
    }
}

async fn shape_of(context: &SessionContext, sql: &str) -> String {
    let plan = context.state().create_logical_plan(sql).await.unwrap();
    shape(&with_join_order(context.state().optimize(&plan).unwrap()).await.unwrap())
}

fn shop() -> SessionContext {
    let context = SessionContext::new();
    let tables = [
        ("sales", 1_000_000, vec![("item", 1_000), ("day", 2_000), ("quantity", 100), ("client", 50_000)]),
        ("stock", 2_000_000, vec![("item", 1_000), ("day", 2_000), ("quantity", 1_000)]),
        ("items", 1_000, vec![("item", 1_000), ("kind", 10)]),
        ("days", 2_000, vec![("day", 2_000), ("week", 300), ("year", 6)]),
        ("clients", 50_000, vec![("client", 50_000), ("town", 500)]),
        ("events", 10_000_000, vec![("client", UNKNOWN), ("place", UNKNOWN)]),
        ("places", 2_000, vec![("place", UNKNOWN)]),
    ];
    for (name, rows, greatest) in tables {
        context.register_table(name, Arc::new(Known { rows, greatest })).unwrap();
    }
    context
}

#[tokio::test]
async fn what_leaves_few_rows_is_joined_first() {
    let context = shop();
    // Each sale meets all days of its item, unless the week is looked at before.
    let sql = "SELECT count(*) FROM sales s JOIN stock t ON s.item = t.item JOIN items i ON i.item = s.item JOIN days d ON d.day = s.day JOIN days e ON e.day = t.day
               WHERE d.week = e.week AND t.quantity < s.quantity AND d.year = 2";
    let shape = shape_of(&context, sql).await;
    assert!(shape.contains("days * sales"), "{shape}");
    assert!(!shape.contains("sales * stock") && !shape.contains("stock * sales"), "{shape}");
}

#[tokio::test]
async fn equal_columns_join_whichever_are_named() {
    let sql = "SELECT count(*) FROM sales s JOIN stock t ON s.item = t.item JOIN items i ON i.item = t.item AND i.kind = 3 AND i.item = 7";
    let shape = shape_of(&shop(), sql).await;
    assert!(shape.contains("items * sales") || shape.contains("items * stock"), "{shape}");
}

#[tokio::test]
async fn orders_that_are_hardly_better_stay_as_written() {
    let context = shop();
    assert_eq!(
        shape_of(&context, "SELECT count(*) FROM sales s JOIN clients c ON c.client = s.client JOIN days d ON d.day = s.day").await,
        "((sales * clients) * days)"
    );
    assert_eq!(
        shape_of(&context, "SELECT count(*) FROM days d JOIN items i ON d.week = i.kind JOIN days e ON e.day = d.day").await,
        "((days * items) * days)"
    );
}

#[tokio::test]
async fn rows_refer_to_those_of_smaller_tables() {
    let context = shop();
    let rows = async |sql: &str| {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        relation(&context.state().optimize(&plan).unwrap()).rows.round()
    };
    assert_eq!(rows("SELECT * FROM events e JOIN clients c ON c.client = e.client").await, 1e7);
    // Nothing is known of the keys: not much fewer than there are events.
    assert!(rows("SELECT * FROM events e JOIN places p ON p.place = e.place").await >= 1e7);
}

#[tokio::test]
async fn rows_are_asked_for_before_they_are_joined() {
    let sql = "SELECT * FROM sales s JOIN stock t ON s.item = t.item WHERE s.client IN (SELECT client FROM clients WHERE town = 5)";
    assert_eq!(shape_of(&shop(), sql).await, "((sales in clients) * stock)");
}

/// Whole numbers at random that are the same each time (Knuth, "The Art of Computer Programming", vol. 2, 3.3.4).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn column(&mut self, tables: u64) -> String {
        format!("x{}.{}", self.below(tables), ["a", "b", "c"][self.below(3) as usize])
    }

    fn table(&mut self) -> RecordBatch {
        let rows = 4 + self.below(12);
        let mut column =
            |values: u64| Arc::new((0..rows).map(|_| i64::try_from(self.below(values + 1)).ok().filter(|value| *value > 0)).collect::<Int64Array>());
        let schema = Schema::new(["a", "b", "c"].map(|name| Field::new(name, DataType::Int64, true)).to_vec());
        RecordBatch::try_new(Arc::new(schema), vec![column(3), column(5), column(9)]).unwrap()
    }

    /// A query over some tables, each joined in one way or another.
    fn query(&mut self) -> String {
        let tables = 2 + self.below(5);
        let mut sql = format!("SELECT {}, {} AS second, count(*) AS count FROM t{} AS x0", self.column(tables), self.column(tables), self.below(4));
        for place in 1..tables {
            let kind = if self.below(6) == 0 { "LEFT JOIN" } else { "JOIN" };
            let (table, other) = (self.below(4), self.column(place));
            write!(sql, " {kind} t{table} AS x{place} ON x{place}.{} = {other}", ["a", "b", "c"][self.below(3) as usize]).unwrap();
            if self.below(3) == 0 {
                let operator = ["<", "=", "<>"][self.below(3) as usize];
                write!(sql, " AND x{place}.b {operator} {}", self.column(place + 1)).unwrap();
            }
        }
        sql.push_str(" WHERE true");
        for _ in 0..self.below(3) {
            let (one, other) = (self.column(tables), self.column(tables));
            write!(sql, " AND {one} {} {other}", ["=", "<=", "<>"][self.below(3) as usize]).unwrap();
        }
        if self.below(3) == 0 {
            let (column, not) = (self.column(tables), if self.below(2) == 0 { "NOT " } else { "" });
            write!(sql, " AND {not}EXISTS (SELECT 1 FROM t{} AS y WHERE y.a = {column} AND y.c > 2)", self.below(4)).unwrap();
        }
        sql + " GROUP BY 1, 2"
    }
}

async fn rows_of(state: &SessionState, plan: &LogicalPlan) -> Vec<String> {
    let plan = state.query_planner().create_physical_plan(plan, state).await.unwrap();
    let batches = collect(plan, state.task_ctx()).await.unwrap();
    let mut lines: Vec<String> = pretty_format_batches(&batches).unwrap().to_string().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Random joins give the same rows in the order that is found for them, and enough of them are in another one.
#[tokio::test]
async fn rows_are_the_same_in_all_orders() {
    let mut random = Random(1);
    let context = SessionContext::new();
    for table in 0..4 {
        context.register_batch(format!("t{table}"), random.table()).unwrap();
    }
    let (state, mut changed) = (context.state(), 0);
    for _ in 0..300 {
        let sql = random.query();
        let written = state.optimize(&state.create_logical_plan(&sql).await.unwrap()).unwrap();
        let other = ordered(written.clone(), ALL).unwrap();
        changed += usize::from(shape(&written) != shape(&other));
        assert_eq!(other.schema(), written.schema(), "{sql}");
        assert_eq!(rows_of(&state, &other).await, rows_of(&state, &written).await, "{sql}\n{}\n{}", written.display_indent(), other.display_indent());
    }
    assert!(changed > 100, "{changed}");
}
