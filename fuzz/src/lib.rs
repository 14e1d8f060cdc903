//! What the targets share.

use std::sync::Once;

static ONCE: Once = Once::new();

/// Lets panics be caught: libfuzzer's hook ends the process at each of them, and libraries below us panic at some damages, which the catalog makes errors of. One that nobody
/// catches still ends the process.
pub fn let_panics_be_caught() {
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}
