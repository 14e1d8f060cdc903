//! Rows, and arrays and maps of them, as values of columns: `row(1, 'a')` has no field names, and takes those of the column by position. DataFusion casts rows by the
//! names of their fields only, so the names are written into the statement before it is planned.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Query, SelectItem, SetExpr, Value,
};
use nunatak_catalog::spec::{StructType, Type};

use crate::scan::types::field_names;

/// Names the fields of rows in `value`, which goes to a column of that type.
pub(super) fn name_fields(value: &mut Expr, column: &Type) {
    match (value, column) {
        (Expr::Nested(inner), _) => name_fields(inner, column),
        (Expr::Function(function), Type::Struct(fields)) if is_call(function, "row") || is_call(function, "struct") => name_row(function, fields),
        (Expr::Array(array), Type::List(list)) => array.elem.iter_mut().for_each(|element| name_fields(element, &list.element_field.field_type)),
        (Expr::Function(function), Type::Map(map)) if is_call(function, "map") => {
            for (argument, field) in arguments(function).into_iter().flatten().zip([&map.key_field, &map.value_field]) {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Array(array))) = argument {
                    array.elem.iter_mut().for_each(|element| name_fields(element, &field.field_type));
                }
            }
        }
        (Expr::Function(function), _) if is_call(function, "coalesce") => {
            for argument in arguments(function).into_iter().flatten() {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument {
                    name_fields(value, column);
                }
            }
        }
        (Expr::Case { conditions, else_result, .. }, _) => {
            conditions.iter_mut().map(|case| &mut case.result).chain(else_result.as_deref_mut()).for_each(|value| name_fields(value, column));
        }
        _ => {}
    }
}

/// Names the fields of rows in what a query gives for columns of these types: in its `VALUES`, or in the items of its `SELECT`.
pub(super) fn name_fields_of_query(query: &mut Query, columns: &[&Type]) {
    name_fields_of_body(&mut query.body, columns);
}

fn name_fields_of_body(body: &mut SetExpr, columns: &[&Type]) {
    match body {
        SetExpr::Values(values) => {
            for row in &mut values.rows {
                row.content.iter_mut().zip(columns).for_each(|(value, column)| name_fields(value, column));
            }
        }
        SetExpr::Select(select) => {
            for (item, column) in select.projection.iter_mut().zip(columns) {
                match item {
                    SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => name_fields(value, column),
                    // How many columns it stands for is not known here.
                    _ => return,
                }
            }
        }
        SetExpr::Query(query) => name_fields_of_query(query, columns),
        SetExpr::SetOperation { left, right, .. } => {
            name_fields_of_body(left, columns);
            name_fields_of_body(right, columns);
        }
        _ => {}
    }
}

fn is_call(function: &Function, name: &str) -> bool {
    function.name.to_string().eq_ignore_ascii_case(name)
}

fn arguments(function: &mut Function) -> Option<&mut Vec<FunctionArg>> {
    match &mut function.args {
        FunctionArguments::List(FunctionArgumentList { args, .. }) => Some(args),
        _ => None,
    }
}

/// `row(1, 'a')` becomes `named_struct('x', 1, 'y', 'a')`. With another number of values than there are fields it stays, and planning says so.
fn name_row(function: &mut Function, fields: &StructType) {
    let names = field_names(fields);
    let fields = fields.fields();
    let Some(values) = arguments(function) else { return };
    let is_plain = |value: &FunctionArg| matches!(value, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
    if values.len() != fields.len() || !values.iter().all(is_plain) {
        return;
    }
    let mut named = Vec::with_capacity(2 * values.len());
    for ((mut value, field), name) in std::mem::take(values).into_iter().zip(fields).zip(names) {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = &mut value {
            name_fields(value, &field.field_type);
        }
        let name = Expr::Value(Value::SingleQuotedString(name).into());
        named.extend([FunctionArg::Unnamed(FunctionArgExpr::Expr(name)), value]);
    }
    *values = named;
    function.name = vec![Ident::new("named_struct")].into();
}
