//! What joining inputs costs, and the order that costs least.

use std::collections::HashMap;

use datafusion::logical_expr::Expr;

use super::estimate::{Relation, Values, combinations};
use super::tree::{Condition, Equality, Inputs, Order, Tree};

/// Up to so many inputs all orders are compared, of which there are 3^n.
const EXACT_MAX: usize = 11;

/// Hash tables of more rows are not given to all tasks: about what DataFusion takes for a small one, which is 1 MiB.
const GIVEN_TO_ALL_MAX: f64 = 20_000.0;

/// What it costs to look for a row in a hash table, beside giving it out or putting it into one.
const LOOKED_UP: f64 = 0.5;

/// The inputs of a tree, what is expected of them, and what joins them.
pub(super) struct Graph {
    relations: Vec<Relation>,
    /// Expressions that have the same value in a row of the result. Whichever two of them are compared, the others need not be.
    classes: Vec<Vec<Member>>,
    /// Equalities that belong to no class.
    equalities: Vec<(Equality, (Values, Values))>,
    /// Other conditions, and the part of rows for which they hold.
    conditions: Vec<(Condition, f64)>,
}

/// One of the expressions that are equal.
struct Member {
    expression: Expr,
    input: usize,
    values: Values,
}

/// How an order is joined, and what that costs.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) order: Order,
    inputs: Inputs,
    pub(super) rows: f64,
    pub(super) cost: f64,
}

impl Graph {
    pub(super) fn new(tree: Tree, relations: Vec<Relation>) -> Self {
        let mut graph = Self { relations, classes: Vec::new(), equalities: Vec::new(), conditions: Vec::new() };
        for equality in tree.equalities {
            graph.add(equality);
        }
        for condition in tree.conditions {
            let part = graph.relations.iter().enumerate().find(|(input, _)| condition.inputs == 1 << input).map(|(_, relation)| relation);
            let part = part.unwrap_or(&Relation::default()).part(&condition.expression);
            graph.conditions.push((condition, part));
        }
        graph
    }

    /// Adds an equality to the class of its sides. A class has at most one expression of each input, as those would have to be compared as well.
    fn add(&mut self, equality: Equality) {
        let sides = [&equality.left, &equality.right];
        let places = sides.map(|side| self.classes.iter().position(|class| class.iter().any(|member| member.expression == side.expression)));
        if places[0].is_some() && places[0] == places[1] {
            return;
        }
        let [left, right] = [0, 1].map(|side| places[side].map_or(sides[side].inputs, |place| inputs_of(&self.classes[place])));
        let members =
            sides.map(|side| Member { expression: side.expression.clone(), input: side.inputs.trailing_zeros() as usize, values: self.values(side) });
        if left & right != 0 || sides.iter().any(|side| !side.inputs.is_power_of_two()) {
            let [left, right] = members;
            self.equalities.push((equality, (left.values, right.values)));
            return;
        }
        let mut class: Vec<Member> = members.into_iter().zip(places).filter(|(_, place)| place.is_none()).map(|(member, _)| member).collect();
        let mut places: Vec<usize> = places.into_iter().flatten().collect();
        places.sort_unstable();
        for place in places.into_iter().rev() {
            class.extend(self.classes.swap_remove(place));
        }
        class.sort_by(|one, other| one.values.count.total_cmp(&other.values.count));
        self.classes.push(class);
    }

    /// Those of an expression of several inputs are those of the one that has most.
    fn values(&self, side: &Condition) -> Values {
        let of = self.relations.iter().enumerate().filter(|(input, _)| side.inputs & 1 << input != 0);
        let greater = |one: Values, other: Values| if one.count < other.count { other } else { one };
        of.map(|(_, relation)| relation.values(&side.expression)).reduce(greater).unwrap_or_default()
    }

    /// The equalities by which two sets of inputs are joined: an expression of either side for each.
    pub(super) fn keys(&self, left: Inputs, right: Inputs) -> Vec<(Expr, Expr)> {
        let of_class = |class: &Vec<Member>| {
            let one = |of: Inputs| class.iter().find(|member| of & 1 << member.input != 0).map(|member| member.expression.clone());
            one(left).zip(one(right))
        };
        let of_equality = |(equality, _): &(Equality, _)| {
            let (one, other) = (&equality.left, &equality.right);
            let joins = |one: &Condition, other: &Condition| one.inputs & !left == 0 && other.inputs & !right == 0;
            let pair = |one: &Condition, other: &Condition| (one.expression.clone(), other.expression.clone());
            joins(one, other).then(|| pair(one, other)).or_else(|| joins(other, one).then(|| pair(other, one)))
        };
        self.classes.iter().filter_map(of_class).chain(self.equalities.iter().filter_map(of_equality)).collect()
    }

    /// The conditions that can be asked where two sets of inputs are joined, and not before.
    pub(super) fn conditions(&self, left: Inputs, right: Inputs) -> Vec<Expr> {
        let is_due = |inputs: Inputs| inputs & !(left | right) == 0 && inputs & !left != 0 && inputs & !right != 0;
        let equalities =
            self.equalities.iter().map(|(equality, _)| equality).filter(|equality| is_due(equality.inputs()) && !equality.is_between(left, right));
        let equalities = equalities.map(|equality| equality.left.expression.clone().eq(equality.right.expression.clone()));
        let others = self.conditions.iter().filter(|(condition, _)| is_due(condition.inputs)).map(|(condition, _)| condition.expression.clone());
        equalities.chain(others).collect()
    }

    /// The conditions on a single input.
    pub(super) fn conditions_of(&self, input: usize) -> Vec<Expr> {
        self.conditions.iter().filter(|(condition, _)| condition.inputs == 1 << input).map(|(condition, _)| condition.expression.clone()).collect()
    }

    /// The expressions that are still asked once these inputs are joined.
    pub(super) fn wanted_after(&self, inputs: Inputs) -> Vec<&Expr> {
        let is_open = |of: Inputs| of & inputs != 0 && of & !inputs != 0;
        let of_class = |class: &&Vec<Member>| is_open(inputs_of(class));
        let classes =
            self.classes.iter().filter(of_class).flatten().filter(|member| inputs & 1 << member.input != 0).map(|member| &member.expression);
        let equalities = self.equalities.iter().map(|(equality, _)| equality).filter(|equality| is_open(equality.inputs()));
        let equalities = equalities.flat_map(|equality| [&equality.left.expression, &equality.right.expression]);
        let others = self.conditions.iter().filter(|(condition, _)| is_open(condition.inputs)).map(|(condition, _)| &condition.expression);
        classes.chain(equalities).chain(others).collect()
    }

    /// The rows of these inputs joined.
    fn rows(&self, inputs: Inputs) -> f64 {
        let has = |input: &usize| inputs & 1 << input != 0;
        let all: f64 = self.relations.iter().enumerate().filter(|(input, _)| has(input)).map(|(_, relation)| relation.rows).product();
        let mut keys: HashMap<(usize, usize), Vec<(Values, Values)>> = HashMap::new();
        for class in &self.classes {
            let members: Vec<&Member> = class.iter().filter(|member| has(&member.input)).collect();
            for pair in members.windows(2) {
                let [one, other] = pair else { continue };
                keys.entry((one.input.min(other.input), one.input.max(other.input))).or_default().push((one.values, other.values));
            }
        }
        let joined: f64 =
            keys.iter().map(|((one, other), keys)| 1.0 / combinations(keys, self.relations[*one].of_rows, self.relations[*other].of_rows)).product();
        let equalities = self
            .equalities
            .iter()
            .filter(|(equality, _)| equality.inputs() & !inputs == 0)
            .map(|(_, (left, right))| 1.0 / left.per_match(*right).max(1.0));
        let others = self.conditions.iter().filter(|(condition, _)| condition.inputs & !inputs == 0).map(|(_, part)| *part);
        (all * joined * equalities.chain(others).product::<f64>()).max(1.0)
    }

    fn input(&self, input: usize) -> Plan {
        Plan { order: Order::Input(input), inputs: 1 << input, rows: self.rows(1 << input), cost: 0.0 }
    }

    /// Two plans joined.
    fn joined(&self, one: &Plan, other: &Plan) -> Plan {
        self.with_rows(one, other, self.rows(one.inputs | other.inputs))
    }

    /// The same, which gives that many rows. The side with fewer rows is the one of which a hash table is made, and comes first.
    fn with_rows(&self, one: &Plan, other: &Plan, rows: f64) -> Plan {
        let (left, right) = in_order(one, other);
        Plan {
            order: Order::join(left.order.clone(), right.order.clone()),
            inputs: left.inputs | right.inputs,
            rows,
            cost: self.cost(one, other, rows),
        }
    }

    fn cost(&self, one: &Plan, other: &Plan, rows: f64) -> f64 {
        let (left, right) = in_order(one, other);
        // Without keys each row meets each.
        let met = if self.is_joined(left.inputs, right.inputs) { rows } else { left.rows * right.rows };
        // A table that is too large to be given to all is divided, and then both sides are.
        let sent = if left.rows > GIVEN_TO_ALL_MAX { left.rows + right.rows } else { 0.0 };
        left.cost + right.cost + left.rows + right.rows * LOOKED_UP + met.max(rows) + sent
    }

    /// What an order costs: the rows that joins give, those that hash tables are made of, those that are looked up there, and those that are sent elsewhere for it.
    pub(super) fn priced(&self, order: &Order) -> Plan {
        match order {
            Order::Input(input) => self.input(*input),
            Order::Join(left, right) => self.joined(&self.priced(left), &self.priced(right)),
        }
    }

    fn is_joined(&self, left: Inputs, right: Inputs) -> bool {
        let of_class = |class: &Vec<Member>| inputs_of(class) & left != 0 && inputs_of(class) & right != 0;
        self.classes.iter().any(of_class) || self.equalities.iter().any(|(equality, _)| equality.is_between(left, right))
    }

    /// The order that costs least. Inputs that nothing joins to the others come last, the smallest ones first.
    pub(super) fn cheapest(&self) -> Option<Plan> {
        let plans: Vec<Plan> = (0..self.relations.len()).map(|input| self.input(input)).collect();
        let plans = if plans.len() <= EXACT_MAX { self.all_compared(plans) } else { self.greedily(plans) };
        let mut rest = plans.into_iter();
        let first = rest.next()?;
        Some(rest.fold(first, |plan, next| self.joined(&plan, &next)))
    }

    /// The best plans of the largest connected sets, in the order of their rows.
    fn all_compared(&self, inputs: Vec<Plan>) -> Vec<Plan> {
        let all = (1_usize << inputs.len()) - 1;
        // By set, whose bits are the place.
        let mut best: Vec<Option<Plan>> = vec![None; all + 1];
        for (input, plan) in inputs.into_iter().enumerate() {
            best[1 << input] = Some(plan);
        }
        for set in 1..=all {
            let mut cheapest: Option<(f64, usize)> = None;
            let mut rows = None;
            // Each way to divide the set, once.
            let mut part = (set - 1) & set;
            while part > set ^ part {
                if let (Some(one), Some(other)) = (&best[part], &best[set ^ part])
                    && self.is_joined(one.inputs, other.inputs)
                {
                    let cost = self.cost(one, other, *rows.get_or_insert_with(|| self.rows(one.inputs | other.inputs)));
                    if cheapest.is_none_or(|(least, _)| cost < least) {
                        cheapest = Some((cost, part));
                    }
                }
                part = (part - 1) & set;
            }
            if let Some((_, part)) = cheapest
                && let (Some(one), Some(other)) = (&best[part], &best[set ^ part])
            {
                best[set] = Some(self.joined(one, other));
            }
        }
        let (mut whole, mut left) = (Vec::new(), all as Inputs);
        best.sort_by_key(|plan| plan.as_ref().map(|plan| std::cmp::Reverse(plan.inputs.count_ones())));
        for plan in best.into_iter().flatten() {
            if plan.inputs & !left == 0 {
                left &= !plan.inputs;
                whole.push(plan);
            }
        }
        whole.sort_by(|one, other| one.rows.total_cmp(&other.rows));
        whole
    }

    /// Joins the two plans of which the result is the smallest, until nothing joins what is left.
    fn greedily(&self, mut plans: Vec<Plan>) -> Vec<Plan> {
        loop {
            let mut cheapest: Option<(usize, usize, Plan)> = None;
            for one in 0..plans.len() {
                for other in one + 1..plans.len() {
                    if !self.is_joined(plans[one].inputs, plans[other].inputs) {
                        continue;
                    }
                    let plan = self.joined(&plans[one], &plans[other]);
                    let added = |plan: &Plan, one: usize, other: usize| plan.cost - plans[one].cost - plans[other].cost;
                    if cheapest.as_ref().is_none_or(|(first, second, cheapest)| added(&plan, one, other) < added(cheapest, *first, *second)) {
                        cheapest = Some((one, other, plan));
                    }
                }
            }
            let Some((one, other, plan)) = cheapest else { break };
            plans.swap_remove(other);
            plans[one] = plan;
        }
        plans.sort_by(|one, other| one.rows.total_cmp(&other.rows));
        plans
    }
}

fn inputs_of(class: &[Member]) -> Inputs {
    class.iter().fold(0, |inputs, member| inputs | 1 << member.input)
}

/// The side of which a hash table is made, and the other one.
fn in_order<'a>(one: &'a Plan, other: &'a Plan) -> (&'a Plan, &'a Plan) {
    if one.rows <= other.rows { (one, other) } else { (other, one) }
}
