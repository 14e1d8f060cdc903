//! The functions that a session has, for `SHOW FUNCTIONS` and the reference.

use std::collections::BTreeMap;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Documentation, Volatility};

/// One way to call a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedFunction {
    /// Its name.
    pub name: String,
    /// `scalar`, `aggregate` or `window`.
    pub kind: &'static str,
    /// The types of its arguments; where only DataFusion knows them, their names. Both are separated by commas.
    pub arguments: String,
    /// The type of its result; empty where only DataFusion knows it.
    pub returns: String,
    /// Whether it gives the same for the same arguments.
    pub is_deterministic: bool,
    /// What it does.
    pub about: String,
    /// Whether it is one of ours, by Trino's rules.
    pub is_ours: bool,
}

/// Functions that become something else before a query is planned (`sql::queries`): their names, kinds, signatures, and what they do.
const REWRITTEN: [(&str, &str, &[&str], &str); 4] = [
    ("current_timezone", "scalar", &["() -> varchar"], "The time zone of the session."),
    ("date", "scalar", &["(varchar) -> date", "(timestamp) -> date", "(timestamptz) -> date"], "The date of a text or a moment."),
    (
        "reduce_agg",
        "aggregate",
        &["(T, S, function(S, T, S), function(S, S, S)) -> S"],
        "What a function gives for the state that it made of a state and each value in turn.",
    ),
    (
        "regexp_replace",
        "scalar",
        &["(varchar, varchar, function(array(varchar), varchar)) -> varchar"],
        "The text with what a function gives for the groups of a pattern in place of what the pattern finds.",
    ),
];

/// The functions of a session, sorted; those that only plans call are left out.
pub fn listed(state: &SessionState) -> Vec<ListedFunction> {
    // A function may have several definitions.
    let mut ours: BTreeMap<&str, Vec<ListedFunction>> = BTreeMap::new();
    for definition in nunatak_functions::definitions() {
        for name in std::iter::once(definition.name).chain(definition.aliases.iter().copied()) {
            let is_deterministic = definition.volatility != Volatility::Volatile;
            let ways = definition.signatures.iter().map(|signature| of_signature(name, "scalar", signature, is_deterministic, definition.about));
            ours.entry(name).or_default().extend(ways);
        }
    }
    for definition in nunatak_functions::lambda::definitions() {
        let ways = definition.forms.iter().map(|form| of_signature(definition.name, "scalar", form, true, definition.about));
        ours.entry(definition.name).or_default().extend(ways);
    }
    for (name, signatures, about) in nunatak_functions::aggregate::described() {
        let ways = signatures.iter().map(|signature| of_signature(name, "aggregate", signature, true, about));
        ours.entry(name).or_default().extend(ways);
    }
    let mut found = Vec::new();
    let mut add = |name: &str, other: ListedFunction| match ours.get(name).filter(|ways| ways.iter().all(|way| way.kind == other.kind)) {
        Some(ways) => found.extend(ways.iter().cloned()),
        None => found.push(other),
    };
    for (name, function) in state.scalar_functions() {
        add(name, of_datafusion(name, "scalar", function.documentation(), function.signature().volatility));
    }
    for (name, function) in state.higher_order_functions() {
        add(name, of_datafusion(name, "scalar", function.documentation(), Volatility::Immutable));
    }
    for (name, function) in state.aggregate_functions() {
        add(name, of_datafusion(name, "aggregate", function.documentation(), function.signature().volatility));
    }
    for (name, function) in state.window_functions() {
        add(name, of_datafusion(name, "window", function.documentation(), function.signature().volatility));
    }
    for (name, kind, signatures, about) in REWRITTEN {
        found.extend(signatures.iter().map(|signature| of_signature(name, kind, signature, true, about)));
    }
    found.retain(|function| !function.name.starts_with('$'));
    found.sort();
    found.dedup();
    found
}

fn of_signature(name: &str, kind: &'static str, signature: &str, is_deterministic: bool, about: &str) -> ListedFunction {
    let (arguments, returns) = signature.rsplit_once("->").unwrap_or((signature, ""));
    let arguments = arguments.trim();
    ListedFunction {
        name: name.to_owned(),
        kind,
        arguments: arguments.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(arguments).to_owned(),
        returns: returns.trim().to_owned(),
        is_deterministic,
        about: about.to_owned(),
        is_ours: true,
    }
}

fn of_datafusion(name: &str, kind: &'static str, documentation: Option<&Documentation>, volatility: Volatility) -> ListedFunction {
    let example = documentation.map_or("", |text| text.syntax_example.as_str());
    let arguments = example.split_once('(').map_or("", |(_, rest)| rest.rsplit_once(')').map_or(rest, |(inner, _)| inner));
    ListedFunction {
        name: name.to_owned(),
        kind,
        arguments: arguments.to_owned(),
        returns: String::new(),
        is_deterministic: volatility != Volatility::Volatile,
        about: documentation.map(|text| text.description.trim().to_owned()).unwrap_or_default(),
        is_ours: false,
    }
}
