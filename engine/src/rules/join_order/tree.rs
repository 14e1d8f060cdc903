//! A tree of inner joins, taken apart.

use std::collections::HashMap;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};

/// A set of inputs: bit `n` is input `n`.
pub(super) type Inputs = u64;

/// Trees of more inputs stay as they are.
pub(super) const INPUTS_MAX: usize = 60;

/// How inputs are joined.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Input(usize),
    Join(Box<Order>, Box<Order>),
}

impl Order {
    pub(super) fn join(left: Order, right: Order) -> Self {
        Self::Join(Box::new(left), Box::new(right))
    }
}

/// What a tree of inner joins consists of.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) inputs: Vec<LogicalPlan>,
    pub(super) equalities: Vec<Equality>,
    pub(super) conditions: Vec<Condition>,
}

/// `left = right`, where each side is made of columns of its own inputs.
#[derive(Clone, Debug)]
pub(super) struct Equality {
    pub(super) left: Condition,
    pub(super) right: Condition,
}

/// An expression, and the inputs that it has columns of.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) expression: Expr,
    pub(super) inputs: Inputs,
}

impl Tree {
    /// The parts of a plan that is a tree of inner joins, and the order that they have in it. `None`: it is not one, or one that must stay as it is.
    pub(super) fn of(plan: &LogicalPlan) -> Option<(Self, Order)> {
        let (mut tree, mut conditions) = (Self::default(), Vec::new());
        let order = tree.take(plan, &mut conditions)?;
        let mut places = HashMap::new();
        for (place, input) in tree.inputs.iter().enumerate() {
            for column in input.schema().columns() {
                // Names that inputs share were not seen by all of them.
                if places.insert(column, place).is_some() {
                    return None;
                }
            }
        }
        for condition in conditions {
            let placed = Condition::new(condition, &places)?;
            match placed.as_equality(&places) {
                Some(equality) => tree.equalities.push(equality),
                None => tree.conditions.push(placed),
            }
        }
        Some((tree, order))
    }

    fn take(&mut self, plan: &LogicalPlan, conditions: &mut Vec<Expr>) -> Option<Order> {
        match plan {
            LogicalPlan::Join(join) if is_inner(join) => {
                let order = Order::join(self.take(&join.left, conditions)?, self.take(&join.right, conditions)?);
                let equal = join
                    .on
                    .iter()
                    .map(|(left, right)| Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), Operator::Eq, Box::new(right.clone()))));
                conditions.extend(equal.chain(join.filter.clone().map(split_conjunction_owned).unwrap_or_default()));
                Some(order)
            }
            LogicalPlan::Projection(projection) if is_inner_join(plan) => self.take(&projection.input, conditions),
            LogicalPlan::Filter(filter) if is_inner_join(plan) => {
                conditions.extend(split_conjunction_owned(filter.predicate.clone()));
                self.take(&filter.input, conditions)
            }
            input => {
                let place = self.inputs.len();
                self.inputs.push(input.clone());
                (place < INPUTS_MAX).then_some(Order::Input(place))
            }
        }
    }
}

impl Condition {
    /// `None` if it cannot be asked at another place: it has other values each time, or no columns of the inputs.
    fn new(expression: Expr, places: &HashMap<Column, usize>) -> Option<Self> {
        if expression.is_volatile() {
            return None;
        }
        let inputs = inputs_of(&expression, places)?;
        (inputs != 0).then_some(Self { expression, inputs })
    }

    fn as_equality(&self, places: &HashMap<Column, usize>) -> Option<Equality> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = &self.expression else { return None };
        let side = |side: &Expr| Some(Self { expression: side.clone(), inputs: inputs_of(side, places).filter(|inputs| *inputs != 0)? });
        let equality = Equality { left: side(left)?, right: side(right)? };
        (equality.left.inputs & equality.right.inputs == 0).then_some(equality)
    }
}

impl Equality {
    pub(super) fn inputs(&self) -> Inputs {
        self.left.inputs | self.right.inputs
    }

    /// Whether one side is of one of these sets, and the other side of the other.
    pub(super) fn is_between(&self, one: Inputs, other: Inputs) -> bool {
        let within = |side: &Condition, of: Inputs| side.inputs & !of == 0;
        (within(&self.left, one) && within(&self.right, other)) || (within(&self.left, other) && within(&self.right, one))
    }
}

fn inputs_of(expression: &Expr, places: &HashMap<Column, usize>) -> Option<Inputs> {
    expression.column_refs().into_iter().try_fold(0, |inputs, column| Some(inputs | 1 << places.get(column)?))
}

fn is_inner(join: &Join) -> bool {
    join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNothing && !join.null_aware
}

/// Whether a plan is an inner join, with conditions and with fewer columns perhaps.
pub(super) fn is_inner_join(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => is_inner(join),
        LogicalPlan::Filter(filter) => is_inner_join(&filter.input),
        LogicalPlan::Projection(projection) => {
            let columns = projection.input.schema().columns();
            projection.expr.iter().all(|expression| matches!(expression, Expr::Column(column) if columns.contains(column)))
                && is_inner_join(&projection.input)
        }
        _ => false,
    }
}

/// How many inputs a tree of inner joins has.
pub(super) fn inputs_of_inner_joins(plan: &LogicalPlan) -> usize {
    match plan {
        LogicalPlan::Join(join) if is_inner(join) => inputs_of_inner_joins(&join.left) + inputs_of_inner_joins(&join.right),
        LogicalPlan::Projection(projection) if is_inner_join(plan) => inputs_of_inner_joins(&projection.input),
        LogicalPlan::Filter(filter) if is_inner_join(plan) => inputs_of_inner_joins(&filter.input),
        _ => 1,
    }
}
