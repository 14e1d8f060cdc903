//! `docs/reference/functions.md`, which is generated: Trino's functions and which of them are there, and those that Trino does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use datafusion::execution::session_state::SessionStateBuilder;

use super::listing::{ListedFunction, listed};
use crate::context::register_functions;

/// Names, kinds and numbers of signatures of what `SHOW FUNCTIONS` of Trino 476 lists.
const TRINO: &str = include_str!("../../../docs/reference/trino-functions.tsv");

/// The variable that has the file written.
const WRITES: &str = "NUNATAK_WRITE_REFERENCE";

/// Trino's functions that its listing leaves out, since they have a grammar of their own.
const SPECIAL: [&str; 19] = [
    "CAST",
    "TRY_CAST",
    "TRY",
    "IF",
    "COALESCE",
    "NULLIF",
    "EXTRACT",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_user",
    "current_catalog",
    "current_schema",
    "json_exists",
    "json_value",
    "json_query",
    "json_object, json_array",
];

#[test]
fn the_reference_is_up_to_date() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/functions.md"));
    let text = generated();
    if std::env::var_os(WRITES).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/reference/functions.md is not up to date: {WRITES}=1 cargo test --release -p nunatak-engine the_reference_is_up_to_date writes it"
    );
}

fn generated() -> String {
    let mut state = SessionStateBuilder::new().with_default_features().build();
    register_functions(&mut state).unwrap();
    let mut ours: BTreeMap<String, Vec<ListedFunction>> = BTreeMap::new();
    for function in listed(&state) {
        ours.entry(function.name.clone()).or_default().push(function);
    }
    let mut rows = String::new();
    let (mut there, mut names) = (0, BTreeSet::new());
    for line in TRINO.lines() {
        let mut parts = line.split('\t');
        let (Some(name), Some(kind), Some(count)) = (parts.next(), parts.next(), parts.next()) else { continue };
        names.insert(name);
        let what = ours.get(name).map(|functions| described(functions));
        there += usize::from(what.is_some());
        writeln!(rows, "| `{name}` | {kind} | {count} | {} |", what.as_deref().unwrap_or("**missing**")).unwrap();
    }
    let mut others = String::new();
    let is_special = |name: &str| SPECIAL.iter().any(|special| special.eq_ignore_ascii_case(name));
    for (name, functions) in ours.iter().filter(|(name, _)| !names.contains(name.as_str()) && !is_special(name)) {
        let about = functions.first().map(|function| in_cell(&function.about)).unwrap_or_default();
        let kind = functions.first().map_or("", |function| function.kind);
        writeln!(others, "| `{name}` | {kind} | {about} |").unwrap();
    }
    let special: Vec<String> = SPECIAL.iter().map(|name| format!("`{}`", name.replace(", ", "`, `"))).collect();
    format!(
        "# Functions\n\nThis page is generated (`engine/src/functions/reference.rs`). `SHOW FUNCTIONS LIKE 'json%'` lists the same in a session.\n\n\
         ## Trino's functions\n\n{there} of the {} functions that Trino 476 lists are there. Those with signatures behave as Trino's, which tests ask for the same \
         (`tests/system/functions`); the others are DataFusion's of that name. Besides, with a grammar of their own: {}.\n\n\
         | function | kind | signatures in Trino | nunatak |\n|---|---|---|---|\n{rows}\n\
         ## Functions that Trino does not have\n\n| function | kind | what it does |\n|---|---|---|\n{others}",
        names.len(),
        special.join(", "),
    )
}

/// The signatures of a function, or whose it is.
fn described(functions: &[ListedFunction]) -> String {
    let signature = |function: &ListedFunction| format!("`({}) -> {}`", function.arguments, function.returns);
    let signatures: Vec<String> = functions.iter().filter(|function| function.is_ours).map(signature).collect();
    if signatures.is_empty() { "DataFusion's".to_owned() } else { signatures.join("<br>") }
}

/// A text for a cell of a table.
fn in_cell(text: &str) -> String {
    let line = text.split("\n\n").next().unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
