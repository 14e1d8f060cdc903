//! Planning over as many files as a large table has.

use std::time::Instant;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use nunatak_catalog::spec::{Datum, PrimitiveType};

use super::*;
use crate::scan::scan_of;

const FILES: usize = 100_000;
const MANIFESTS: usize = 2_000;
const COLUMNS: i32 = 10;
/// What the process of the measurement may take, with its own 70 MB.
const MEMORY_MB_MAX: u64 = 300;

/// A table of as many files as given, in as many manifests, each with a day of its own and metrics for every column.
async fn large(files: usize, manifests: usize) -> Staged {
    let columns: Vec<(String, Type)> = (0..COLUMNS).map(|index| (format!("c{index}"), Type::Primitive(PrimitiveType::Long))).collect();
    let columns: Vec<(&str, Type)> = columns.iter().map(|(name, column)| (name.as_str(), column.clone())).collect();
    let mut staged = Staged::new(&columns, &[(1, "c0_part", Transform::Identity)]);
    let entry = |index: usize, staged: &Staged| {
        let base = index as i64;
        let all = |value: i64| (1..=COLUMNS).map(|id| (id, Datum::long(value + i64::from(id)))).collect::<HashMap<_, _>>();
        let counts = |value: u64| (1..=COLUMNS).map(|id| (id, value)).collect::<HashMap<_, _>>();
        let path = staged.path(&format!("data/c0_part={}/00000-{index}-6b5d5a3e-7d3a-4f0f-9d53-5a2f6f2c1b11.parquet", base / 100));
        let mut file = data_file(path, 10_000, 1 << 20, vec![Some(Literal::long(base / 100))]);
        file.lower_bounds(all(base * 10)).upper_bounds(all(base * 10 + 9)).value_counts(counts(10_000)).null_value_counts(counts(0));
        file.column_sizes(counts(100_000)).split_offsets(Some(vec![4])).build().unwrap()
    };
    let of_manifest = files.div_ceil(manifests);
    for first in (0..files).step_by(of_manifest) {
        staged.append((first..files.min(first + of_manifest)).map(|index| entry(index, &staged)).collect()).await;
    }
    staged
}

/// The memory of this process, in MB.
fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// `cargo test --release --locked -- --ignored --nocapture plans_of_100_000_files` shows times and memory; see docs/benchmarks.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of half a minute"]
async fn plans_of_100_000_files() {
    let staged = large(FILES, MANIFESTS).await;
    let scan = Arc::new(ScanContext::new(Arc::new(ManifestCache::new(256 << 20)), Arc::default()));
    let context = SessionContext::new();
    println!("before: {} MB", memory_mb());
    for (condition, expected) in [("true", FILES), ("c0 = 5", 100), ("c3 between 500000 and 500100", 11)] {
        for _ in 0..3 {
            let snapshot = staged.table.metadata.current_snapshot().cloned();
            let provider = IcebergTable::new(staged.table.clone(), snapshot, Arc::clone(&scan)).unwrap();
            context.deregister_table("t").unwrap();
            context.register_table("t", Arc::new(provider)).unwrap();
            let start = Instant::now();
            let plan = context.sql(&format!("select sum(c1), max(c2) from t where {condition}")).await.unwrap().create_physical_plan().await.unwrap();
            let took = start.elapsed();
            let memory_mb = memory_mb();
            println!("{condition}: {} ms, {memory_mb} MB with the plan", took.as_millis());
            assert!(memory_mb < MEMORY_MB_MAX);
            assert_eq!(scan_files(&plan), expected);
        }
    }
}

fn scan_files(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let files = scan_of(plan.as_ref()).map_or(0, |config| config.file_groups.iter().map(|group| group.len()).sum());
    plan.children().into_iter().fold(files, |files, child| files + scan_files(child))
}
