//! Holds the direction of the crates: `core <- catalog, state, functions <- engine <- executor, coordinator <- gateway <- cli`, nothing points back.

#![expect(clippy::expect_used, reason = "without its metadata there is nothing to test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Which crates of ours each crate may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("nunatak-core", &[]),
    ("nunatak-catalog", &["nunatak-core"]),
    ("nunatak-state", &["nunatak-core"]),
    ("nunatak-functions", &["nunatak-core"]),
    ("nunatak-engine", &["nunatak-core", "nunatak-catalog", "nunatak-functions"]),
    ("nunatak-executor", &["nunatak-core", "nunatak-catalog", "nunatak-state", "nunatak-engine"]),
    ("nunatak-coordinator", &["nunatak-core", "nunatak-catalog", "nunatak-state", "nunatak-engine"]),
    ("nunatak-gateway", &["nunatak-core", "nunatak-coordinator"]),
    (
        "nunatak",
        &["nunatak-core", "nunatak-catalog", "nunatak-state", "nunatak-engine", "nunatak-executor", "nunatak-coordinator", "nunatak-gateway"],
    ),
];

/// Crates of others that only some of ours may name: the boundary that keeps a change of theirs in one place.
const HIDDEN: &[(&str, &[&str])] = &[
    ("iceberg", &["nunatak-catalog"]),
    ("reqwest", &["nunatak-catalog"]),
    ("rusqlite", &["nunatak-catalog"]),
    ("datafusion", &["nunatak-functions", "nunatak-engine", "nunatak-coordinator", "nunatak-executor"]),
    ("tonic", &["nunatak-gateway", "nunatak-coordinator", "nunatak-executor", "nunatak"]),
    ("axum", &["nunatak-gateway", "nunatak"]),
    ("ballista-core", &["nunatak-coordinator", "nunatak-executor"]),
    ("datafusion-distributed", &["nunatak-coordinator", "nunatak-executor"]),
    ("etcd-client", &["nunatak-state"]),
];

/// The crates of the workspace, each with what it names (not for its tests).
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata gives JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let named = package["dependencies"].as_array().expect("dependencies").iter();
            let named = named.filter(|dependency| dependency["kind"].as_str() != Some("dev")).filter_map(|dependency| dependency["name"].as_str());
            (package["name"].as_str().expect("name").to_owned(), named.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn crates_point_one_way() {
    for (name, named) in dependencies() {
        let (_, allowed) = ALLOWED.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} has no line in ALLOWED"));
        for dependency in named.iter().filter(|dependency| dependency.starts_with("nunatak")) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn crates_of_others_stay_behind_their_boundary() {
    for (name, named) in dependencies() {
        for (hidden, allowed) in HIDDEN {
            assert!(!named.contains(*hidden) || allowed.contains(&name.as_str()), "{name} must not depend on {hidden}");
        }
    }
}
