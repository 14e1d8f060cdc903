//! How many rows a plan gives, as far as the metadata of its tables tells: rows, least and greatest values, and numbers of distinct values where `ANALYZE` has counted them.
//! Estimates of the textbook kind (Selinger et al., "Access Path Selection in a Relational Database Management System", 1979): conditions are independent of each other, the
//! values of a column are spread evenly, and of two columns that are joined all values of the one with fewer are among those of the other.

use std::collections::{BTreeSet, HashMap};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, TableScan};

/// Of tables that tell nothing.
const ROWS_UNKNOWN: f64 = 1_000.0;

/// The parts of rows for which conditions hold of which no more is known.
const EQUAL: f64 = 0.1;
const RANGE: f64 = 0.33;
const LIKE: f64 = 0.1;
const NULL: f64 = 0.05;
const OTHER: f64 = 0.3;

/// The least part of rows that a condition is believed to leave.
const PART_MIN: f64 = 1e-7;

/// What is expected of the rows of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Relation {
    /// At least 1.
    pub(super) rows: f64,
    /// The rows of the greatest of its tables.
    pub(super) of_rows: f64,
    columns: HashMap<Column, Facts>,
}

/// What is expected of a column.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// How many values it has; `None` is unknown.
    distinct: Option<f64>,
    /// The part of the values of its table that it has.
    part: f64,
    /// The rows of the table that it comes from.
    of_rows: f64,
    least: Option<f64>,
    greatest: Option<f64>,
}

/// How many values something has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    pub(super) count: f64,
    /// Whether metadata tells that; else it is a guess.
    is_known: bool,
}

impl Values {
    /// Those of so many rows, if no more is known: between a few for all and another one for each.
    fn unknown(rows: f64) -> Self {
        Self { count: rows.powf(0.75), is_known: false }
    }

    /// Of how many pairs of a value of each the values are equal in one. Where nothing is known the side with fewer rows is taken for one that the other refers to.
    pub(super) fn per_match(self, other: Self) -> f64 {
        match (self.is_known, other.is_known) {
            (true, true) => self.count.max(other.count),
            (true, false) => self.count,
            (false, true) => other.count,
            (false, false) => self.count.min(other.count),
        }
    }
}

impl Relation {
    fn of(rows: f64, of_rows: f64) -> Self {
        Self { rows: rows.max(1.0), of_rows: of_rows.max(1.0), columns: HashMap::new() }
    }

    /// How many values an expression has, which is to be joined by.
    pub(super) fn values(&self, expression: &Expr) -> Values {
        match uncast(expression) {
            Expr::Column(column) => self.columns.get(column).map_or(Values::unknown(self.rows), |facts| match facts.distinct {
                Some(count) => Values { count, is_known: true },
                None => Values::unknown(facts.of_rows),
            }),
            Expr::Literal(..) => Values { count: 1.0, is_known: true },
            _ => Values::unknown(self.rows),
        }
    }

    /// Those of its rows for which all these conditions hold.
    pub(super) fn filtered<'a>(mut self, conditions: impl IntoIterator<Item = &'a Expr>) -> Self {
        let (mut part, mut ranges) = (1.0, HashMap::new());
        for condition in conditions.into_iter().flat_map(split_conjunction) {
            match bounds(condition) {
                Some((column, least, greatest)) if self.columns.get(column).is_some_and(Facts::has_range) => {
                    let range = ranges.entry(column.clone()).or_insert((f64::NEG_INFINITY, f64::INFINITY));
                    *range = (range.0.max(least), range.1.min(greatest));
                }
                _ => part *= self.part(condition),
            }
            if let Some(column) = only_value(condition)
                && let Some(facts) = self.columns.get_mut(column)
            {
                facts.part /= facts.distinct.unwrap_or(facts.of_rows);
                facts.distinct = Some(1.0);
            }
        }
        for (column, (least, greatest)) in ranges {
            if let Some(facts) = self.columns.get_mut(&column) {
                part *= facts.narrow(least, greatest);
            }
        }
        let rows = self.rows * part.max(PART_MIN);
        self.limited(rows)
    }

    /// The part of its rows for which a condition holds.
    pub(super) fn part(&self, condition: &Expr) -> f64 {
        let of_value = |expression: &Expr| match expression {
            Expr::Column(column) => self.columns.get(column).and_then(|facts| facts.distinct).map(|distinct| 1.0 / distinct.max(1.0)),
            _ => None,
        };
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => self.part(left) * self.part(right),
                Operator::Or => 1.0 - (1.0 - self.part(left)) * (1.0 - self.part(right)),
                Operator::Eq | Operator::IsNotDistinctFrom => of_value(left).or_else(|| of_value(right)).unwrap_or(EQUAL),
                Operator::NotEq | Operator::IsDistinctFrom => 1.0 - of_value(left).or_else(|| of_value(right)).unwrap_or(EQUAL),
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => self.part_of_range(condition),
                _ => OTHER,
            },
            Expr::Between(between) => {
                if between.negated {
                    1.0 - RANGE
                } else {
                    RANGE
                }
            }
            Expr::InList(list) => {
                let part = (of_value(&list.expr).unwrap_or(EQUAL / 2.0) * list.list.len() as f64).min(1.0);
                if list.negated { 1.0 - part } else { part }
            }
            Expr::Like(like) => {
                if like.negated {
                    1.0 - LIKE
                } else {
                    LIKE
                }
            }
            Expr::Not(inner) => 1.0 - self.part(inner),
            Expr::IsNull(_) => NULL,
            Expr::IsNotNull(_) => 1.0 - NULL,
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => 1.0,
            Expr::Literal(..) => 0.0,
            Expr::Column(_) => 0.5,
            _ => OTHER,
        }
    }

    fn part_of_range(&self, condition: &Expr) -> f64 {
        let Some((column, least, greatest)) = bounds(condition) else { return RANGE };
        self.columns.get(column).filter(|facts| facts.has_range()).map_or(RANGE, |facts| facts.clone().narrow(least, greatest))
    }

    /// The same with other rows: no column has more values than rows.
    fn limited(mut self, rows: f64) -> Self {
        self.rows = rows.max(1.0);
        for facts in self.columns.values_mut() {
            let all = facts.distinct.unwrap_or(facts.of_rows);
            facts.part *= (self.rows / all).min(1.0);
            facts.distinct = facts.distinct.map(|distinct| distinct.min(self.rows));
            facts.of_rows = facts.of_rows.min(self.rows);
        }
        self
    }

    /// How many values that expression's column has before any condition.
    fn values_of_all(&self, expression: &Expr) -> f64 {
        let part = match uncast(expression) {
            Expr::Column(column) => self.columns.get(column).map_or(1.0, |facts| facts.part),
            _ => 1.0,
        };
        self.values(expression).count / part.max(PART_MIN)
    }

    /// Its columns by the names that they have in another plan, in the same order.
    fn renamed(&self, from: &DFSchema, to: &DFSchema) -> Self {
        let known = from.columns().into_iter().zip(to.columns()).filter_map(|(from, to)| Some((to, *self.columns.get(&from)?)));
        Self { columns: known.collect(), ..Self::of(self.rows, self.of_rows) }
    }
}

impl Facts {
    fn has_range(&self) -> bool {
        self.least.is_some() && self.greatest.is_some()
    }

    /// Keeps the values between two others, and tells which part of them that is.
    fn narrow(&mut self, from: f64, to: f64) -> f64 {
        let (Some(least), Some(greatest)) = (self.least, self.greatest) else { return RANGE };
        let (from, to) = (from.max(least), to.min(greatest));
        // One more, so that a single one of a few whole numbers is a part of them.
        let step = self.distinct.map_or(0.0, |distinct| (greatest - least) / distinct.max(1.0));
        let part = ((to - from + step) / (greatest - least + step)).clamp(0.0, 1.0);
        let part = if part.is_nan() { 1.0 } else { part };
        self.distinct = self.distinct.map(|distinct| (distinct * part).max(1.0));
        self.part *= part;
        (self.least, self.greatest) = (Some(from), Some(to.max(from)));
        part
    }
}

/// What an expression is a cast of, which has as many values.
fn uncast(expression: &Expr) -> &Expr {
    match expression {
        Expr::Cast(cast) => uncast(&cast.expr),
        Expr::TryCast(cast) => uncast(&cast.expr),
        Expr::Alias(alias) => uncast(&alias.expr),
        other => other,
    }
}

/// The column that a condition holds between two numbers, both included.
fn bounds(condition: &Expr) -> Option<(&Column, f64, f64)> {
    let number = |expression: &Expr| match expression {
        Expr::Literal(value, _) => number(value),
        _ => None,
    };
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), value) => (column, *op, number(value)?),
                (value, Expr::Column(column)) => (column, op.swap()?, number(value)?),
                _ => return None,
            };
            match op {
                Operator::Lt | Operator::LtEq => Some((column, f64::NEG_INFINITY, value)),
                Operator::Gt | Operator::GtEq => Some((column, value, f64::INFINITY)),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated => match between.expr.as_ref() {
            Expr::Column(column) => Some((column, number(&between.low)?, number(&between.high)?)),
            _ => None,
        },
        _ => None,
    }
}

/// The column that a condition leaves a single value of.
fn only_value(condition: &Expr) -> Option<&Column> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(column)) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

/// A value as a number that keeps its order among those of its type.
fn number(value: &ScalarValue) -> Option<f64> {
    Some(match value {
        ScalarValue::Int8(Some(value)) => f64::from(*value),
        ScalarValue::Int16(Some(value)) => f64::from(*value),
        ScalarValue::Int32(Some(value)) | ScalarValue::Date32(Some(value)) => f64::from(*value),
        ScalarValue::Int64(Some(value))
        | ScalarValue::TimestampMicrosecond(Some(value), _)
        | ScalarValue::TimestampNanosecond(Some(value), _)
        | ScalarValue::Time64Microsecond(Some(value)) => *value as f64,
        ScalarValue::Decimal128(Some(value), _, scale) => *value as f64 / 10_f64.powi(i32::from(*scale)),
        ScalarValue::Float32(Some(value)) => f64::from(*value),
        ScalarValue::Float64(Some(value)) => *value,
        _ => return None,
    })
}

/// What is expected of a plan's rows.
pub(super) fn relation(plan: &LogicalPlan) -> Relation {
    match plan {
        LogicalPlan::TableScan(scan) => of_table(scan).filtered(&scan.filters),
        LogicalPlan::Filter(filter) => {
            // What a scan was given as well is asked but once.
            let given: &[Expr] = match filter.input.as_ref() {
                LogicalPlan::TableScan(scan) => &scan.filters,
                _ => &[],
            };
            let more: Vec<&Expr> = split_conjunction(&filter.predicate).into_iter().filter(|condition| !given.contains(condition)).collect();
            relation(&filter.input).filtered(more)
        }
        LogicalPlan::Projection(projection) => {
            let input = relation(&projection.input);
            let named = projection.schema.columns().into_iter().zip(&projection.expr);
            let known = named.filter_map(|(name, expression)| match uncast(expression) {
                Expr::Column(column) => Some((name, *input.columns.get(column)?)),
                _ => None,
            });
            Relation { columns: known.collect(), ..Relation::of(input.rows, input.of_rows) }
        }
        LogicalPlan::SubqueryAlias(alias) => relation(&alias.input).renamed(alias.input.schema(), &alias.schema),
        LogicalPlan::Aggregate(aggregate) => {
            let input = relation(&aggregate.input);
            let groups = aggregate.group_expr.iter().map(|group| match uncast(group) {
                Expr::Column(column) => input.columns.get(column).and_then(|facts| facts.distinct).unwrap_or_else(|| input.rows.sqrt()),
                _ => input.rows.sqrt(),
            });
            let rows = groups.product::<f64>().min(input.rows);
            let named = aggregate.schema.columns().into_iter().zip(&aggregate.group_expr);
            let known = named.filter_map(|(name, group)| match uncast(group) {
                Expr::Column(column) => Some((name, *input.columns.get(column)?)),
                _ => None,
            });
            Relation { columns: known.collect(), ..Relation::of(input.rows, input.of_rows) }.limited(rows)
        }
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Union(union) => {
            let inputs: Vec<Relation> = union.inputs.iter().map(|input| relation(input).renamed(input.schema(), &union.schema)).collect();
            let (rows, of_rows) = inputs.iter().fold((0.0, 0.0), |(rows, of_rows), input| (rows + input.rows, of_rows + input.of_rows));
            let columns = union.schema.columns().into_iter().filter_map(|column| {
                let all: Option<Vec<Facts>> = inputs.iter().map(|input| input.columns.get(&column).copied()).collect();
                Some((column, all?.into_iter().reduce(both)?))
            });
            Relation { columns: columns.collect(), ..Relation::of(rows, of_rows) }
        }
        LogicalPlan::Limit(limit) => {
            let input = relation(&limit.input);
            match limit.fetch.as_deref() {
                Some(Expr::Literal(value, _)) => {
                    let rows = number(value).unwrap_or(input.rows).min(input.rows);
                    input.limited(rows)
                }
                _ => input,
            }
        }
        LogicalPlan::Values(values) => Relation::of(values.values.len() as f64, values.values.len() as f64),
        LogicalPlan::EmptyRelation(_) => Relation::of(1.0, 1.0),
        other => {
            let inputs: Vec<Relation> = other.inputs().into_iter().map(relation).collect();
            let greatest = |of: fn(&Relation) -> f64| inputs.iter().map(of).fold(1.0, f64::max);
            let whole = Relation::of(greatest(|input| input.rows), greatest(|input| input.of_rows));
            Relation { columns: inputs.into_iter().flat_map(|input| input.columns).collect(), ..whole }
        }
    }
}

/// What two columns have of which the values are put together.
fn both(left: Facts, right: Facts) -> Facts {
    let with = |left: Option<f64>, right: Option<f64>, choose: fn(f64, f64) -> f64| Some(choose(left?, right?));
    Facts {
        distinct: with(left.distinct, right.distinct, f64::max),
        part: left.part.max(right.part),
        of_rows: left.of_rows + right.of_rows,
        least: with(left.least, right.least, f64::min),
        greatest: with(left.greatest, right.greatest, f64::max),
    }
}

/// All rows of a table.
fn of_table(scan: &TableScan) -> Relation {
    let Some(statistics) = source_as_provider(&scan.source).ok().and_then(|table| table.statistics()) else {
        return Relation::of(ROWS_UNKNOWN, ROWS_UNKNOWN);
    };
    let rows = statistics.num_rows.get_value().map_or(ROWS_UNKNOWN, |rows| *rows as f64).max(1.0);
    let all: Vec<usize> = (0..statistics.column_statistics.len()).collect();
    let indices = scan.projection.as_ref().unwrap_or(&all);
    // Conditions that only choose files are of columns which nobody reads.
    let wanted: BTreeSet<&Column> = scan.filters.iter().flat_map(Expr::column_refs).collect();
    let filtered = wanted.into_iter().filter_map(|column| Some((scan.source.schema().index_of(&column.name).ok()?, column.clone())));
    let projected = indices.iter().copied().zip(scan.projected_schema.columns());
    let columns = filtered.chain(projected).filter_map(|(index, column)| {
        let known = statistics.column_statistics.get(index)?;
        let least = known.min_value.get_value().and_then(number);
        let greatest = known.max_value.get_value().and_then(number);
        let counted = known.distinct_count.get_value().map(|count| *count as f64);
        let source = scan.source.schema();
        let whole = source.field(index).data_type().is_integer() || source.field(index).data_type() == &DataType::Date32;
        let in_range = least.zip(greatest).filter(|_| whole).map(|(least, greatest)| (greatest - least + 1.0).min(rows));
        Some((column, Facts { distinct: counted.or(in_range), part: 1.0, of_rows: rows, least, greatest }))
    });
    Relation { columns: columns.collect(), ..Relation::of(rows, rows) }
}

fn of_join(join: &Join) -> Relation {
    let (left, right) = (relation(&join.left), relation(&join.right));
    let keys: Vec<(Values, Values)> = join.on.iter().map(|(of_left, of_right)| (left.values(of_left), right.values(of_right))).collect();
    let part = 1.0 / combinations(&keys, left.of_rows, right.of_rows);
    let (left_rows, right_rows) = (left.rows, right.rows);
    // For how many values of one side the other one has a row: what the other has left of its values, which all of this side's were among.
    let found = |own: f64, other: f64, of_all: f64| (other / own.max(of_all)).min(1.0);
    let (mut left_found, mut right_found) = if keys.is_empty() { (0.5, 0.5) } else { (1.0_f64, 1.0_f64) };
    for ((of_left, of_right), (of_left_values, of_right_values)) in join.on.iter().zip(&keys) {
        left_found = left_found.min(found(of_left_values.count, of_right_values.count, right.values_of_all(of_right)));
        right_found = right_found.min(found(of_right_values.count, of_left_values.count, left.values_of_all(of_left)));
    }
    let both = Relation::of(left.rows * right.rows * part, left.of_rows.max(right.of_rows));
    let both = Relation { columns: left.columns.into_iter().chain(right.columns).collect(), ..both };
    let both = both.filtered(&join.filter);
    let rows = match join.join_type {
        JoinType::Inner => both.rows,
        JoinType::Left => both.rows.max(left_rows),
        JoinType::Right => both.rows.max(right_rows),
        JoinType::Full => both.rows.max(left_rows + right_rows),
        JoinType::LeftSemi => left_rows * left_found,
        JoinType::RightSemi => right_rows * right_found,
        JoinType::LeftAnti => left_rows * (1.0 - left_found).max(NULL),
        JoinType::RightAnti => right_rows * (1.0 - right_found).max(NULL),
        JoinType::LeftMark => left_rows,
        JoinType::RightMark => right_rows,
    };
    both.limited(rows)
}

/// Of how many pairs of rows one is joined, for keys with these numbers of values on either side. Columns of a key together have no more values than their table has rows.
pub(super) fn combinations(keys: &[(Values, Values)], left_of_rows: f64, right_of_rows: f64) -> f64 {
    let greater = keys.iter().map(|(left, right)| left.per_match(*right));
    let single = greater.clone().fold(1.0, f64::max);
    greater.product::<f64>().min(left_of_rows.min(right_of_rows)).max(single)
}
