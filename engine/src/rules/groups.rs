//! Which expressions of a query have one type, since their values are compared with each other or one of them is chosen: the only list of these.

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, Operator};

/// Expressions that have one type.
pub(super) struct Group<'a> {
    pub(super) members: Vec<Member<'a>>,
    /// Whether the expression around them has the type of its first member: that of `CASE` has, before DataFusion makes its branches alike.
    pub(super) decides: bool,
    /// Whether one of them is the value of the expression around them, or a part of it: their type shows.
    pub(super) chooses: bool,
}

/// An expression of a group.
pub(super) struct Member<'a> {
    pub(super) expression: &'a mut Expr,
    pub(super) part: Part,
}

/// What of an expression's values is compared or chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The value.
    Whole,
    /// The elements of an array.
    Elements,
    /// The keys of a map.
    Keys,
}

impl Part {
    /// The type of this part of a type; `None` if it has no such part.
    pub(super) fn of(self, whole: &DataType) -> Option<DataType> {
        match (self, whole) {
            (Self::Whole, whole) => Some(whole.clone()),
            (Self::Elements, DataType::List(element)) => Some(element.data_type().clone()),
            (Self::Keys, DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(pair) => pair.first().map(|key| key.data_type().clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The whole type whose part is this one. The keys of a map stay as they are.
    pub(super) fn around(self, part: &DataType) -> DataType {
        match self {
            Self::Elements => DataType::new_list(part.clone(), true),
            Self::Whole | Self::Keys => part.clone(),
        }
    }
}

/// The groups among the operands of an expression. Those of unions, joins, `VALUES` and `IN (subquery)` are in plans, and not here.
pub(super) fn groups(expression: &mut Expr) -> Vec<Group<'_>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => vec![wholes([left.as_mut(), right.as_mut()])],
        Expr::Between(Between { expr, low, high, .. }) => vec![wholes([expr.as_mut(), low.as_mut(), high.as_mut()])],
        Expr::InList(InList { expr, list, .. }) => vec![wholes(std::iter::once(expr.as_mut()).chain(list.iter_mut()))],
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (mut compared, mut chosen) = (Vec::new(), Vec::new());
            for (when, then) in when_then_expr {
                compared.push(when.as_mut());
                chosen.push(then.as_mut());
            }
            chosen.extend(else_expr.as_deref_mut());
            let chosen = Group { decides: true, chooses: true, ..wholes(chosen) };
            match expr {
                Some(expr) => vec![wholes(std::iter::once(expr.as_mut()).chain(compared)), chosen],
                None => vec![chosen],
            }
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => match parts(func.name(), args.len()) {
            Some(parts) => {
                let members = args.iter_mut().zip(parts).map(|(expression, part)| Member { expression, part });
                let chooses = matches!(func.name(), "coalesce" | "nvl" | "greatest" | "least" | "make_array");
                vec![Group { members: members.collect(), decides: false, chooses }]
            }
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn wholes<'a>(expressions: impl IntoIterator<Item = &'a mut Expr>) -> Group<'a> {
    let members = expressions.into_iter().map(|expression| Member { expression, part: Part::Whole });
    Group { members: members.collect(), decides: false, chooses: false }
}

pub(super) fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// What is alike of the first arguments of a function with that many; `None` if nothing is.
pub(super) fn parts(function: &str, arguments: usize) -> Option<Vec<Part>> {
    use Part::{Elements, Keys, Whole};
    Some(match function {
        "coalesce" | "nvl" | "greatest" | "least" | "make_array" => vec![Whole; arguments],
        "array_concat" => vec![Elements; arguments],
        "array_has" | "array_position" | "array_positions" | "array_remove" | "array_remove_n" | "array_remove_all" | "array_append" => {
            vec![Elements, Whole]
        }
        "array_replace" | "array_replace_n" | "array_replace_all" => vec![Elements, Whole, Whole],
        "array_prepend" => vec![Whole, Elements],
        "array_has_all" | "array_has_any" | "array_except" | "array_intersect" | "array_union" => vec![Elements, Elements],
        // `m[k]` is a `get_field`, as `r.f` is, whose row has no keys.
        "get_field" | "map_extract" => vec![Keys, Whole],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::functions_nested::expr_fn::array_has;
    use datafusion::logical_expr::{case, col, lit};

    use super::*;

    fn shown(mut expression: Expr) -> Vec<Vec<(String, Part)>> {
        let shown = |group: Group<'_>| group.members.into_iter().map(|member| (member.expression.to_string(), member.part)).collect();
        groups(&mut expression).into_iter().map(shown).collect()
    }

    fn whole(name: &str) -> (String, Part) {
        (name.to_owned(), Part::Whole)
    }

    #[test]
    fn what_is_compared_and_what_is_chosen() {
        assert_eq!(shown(col("a").lt(col("b"))), [[whole("a"), whole("b")]]);
        assert!(shown(col("a") + col("b")).is_empty());
        assert_eq!(shown(col("a").in_list(vec![col("b"), col("c")], false)), [[whole("a"), whole("b"), whole("c")]]);
        let simple = case(col("a")).when(col("b"), col("x")).otherwise(col("y")).unwrap();
        assert_eq!(shown(simple), [[whole("a"), whole("b")], [whole("x"), whole("y")]]);
    }

    #[test]
    fn elements_are_compared_with_values() {
        assert_eq!(shown(array_has(col("a"), lit(true))), [[("a".to_owned(), Part::Elements), whole("Boolean(true)")]]);
    }
}
