//! Queries made of parts of others, which are planned before the statement that they stand in.

use datafusion::sql::sqlparser::ast::{Query, SetExpr, With};

/// A query that is a body and nothing else.
pub(super) fn plain(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// The queries that have names within all of these: of each list those before the first one that has itself to wait for others.
pub(super) fn known(withs: &[Option<With>], waits: impl Fn(&Query) -> bool) -> Option<With> {
    let mut all: Option<With> = None;
    for with in withs.iter().flatten() {
        let queries = with.cte_tables.iter().take_while(|named| !waits(&named.query)).cloned();
        let whole = all.get_or_insert_with(|| With { cte_tables: Vec::new(), ..with.clone() });
        whole.recursive |= with.recursive;
        whole.cte_tables.extend(queries);
    }
    all.filter(|with| !with.cte_tables.is_empty())
}
