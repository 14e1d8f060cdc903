//! Puffin files with statistics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nunatak_catalog::Storage;
use nunatak_catalog::statistics::read_blobs;

fuzz_target!(|bytes: &[u8]| {
    nunatak_fuzz::let_panics_be_caught();
    let path = std::env::temp_dir().join(format!("nunatak-fuzz-{}.puffin", std::process::id()));
    std::fs::write(&path, bytes).expect("a temporary file can be written");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    let _ = runtime.block_on(read_blobs(&Storage::new(), &path.display().to_string()));
});
