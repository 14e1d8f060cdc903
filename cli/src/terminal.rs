//! The only place that writes to stdout and stderr: results on the one, everything that is for people on the other.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// Writes bytes of a result to stdout at once.
pub(crate) fn result(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}

/// Writes a line of a result to stdout.
pub(crate) fn result_line(line: &str) -> Result<(), Failure> {
    result(format!("{line}\n").as_bytes())
}

/// Writes a line to stderr. There is nowhere left to complain when that fails.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether a person reads stderr.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person types and reads: the shell is interactive.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
