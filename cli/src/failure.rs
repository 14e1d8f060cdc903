//! How the process ends when something went wrong: one line on stderr and an exit code.

use std::io;
use std::process::ExitCode;

use crate::terminal;

/// What went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A statement failed on the server; the text is the server's, `CODE: message`.
    Statement(String),
    /// Wrong usage or configuration, or nothing to talk to.
    Usage(String),
    /// Nobody reads stdout any more (`nunatak sql ... | head`): no failure for the user.
    OutputClosed,
}

impl Failure {
    /// A failed write to stdout.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Usage(format!("cannot write to stdout: {}", plain(error))),
        }
    }

    /// The statement was cancelled by Ctrl-C.
    pub(crate) fn cancelled() -> Self {
        Self::Statement("USER_CANCELED: cancelled by Ctrl-C".to_owned())
    }

    /// The line for stderr; `None` where there is nothing to say.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            // A server's text may hold more than one line, such as a plan or a file's row.
            Self::Statement(text) => Some(format!("error: {text}")),
            Self::Usage(text) => Some(format!("error: {}", text.split('\n').map(str::trim).collect::<Vec<_>>().join(" "))),
            Self::OutputClosed => None,
        }
    }

    /// Prints the line and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if let Some(line) = self.line() {
            terminal::note(&line);
        }
        match self {
            Self::Statement(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// An error's text without the number that the operating system gave it.
pub(crate) fn plain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// Errors of this process's own start-up; those of statements come from the server as text.
impl From<nunatak_core::Error> for Failure {
    fn from(error: nunatak_core::Error) -> Self {
        Self::Usage(error.user_message())
    }
}

#[cfg(test)]
mod tests {
    use nunatak_core::{Code, Error};

    use super::*;

    #[test]
    fn one_line_with_its_hint() {
        let error = Error::new(Code::ConfigurationInvalid, "cannot listen on 127.0.0.1:1 (http):\n  address already in use").with_hint("see --http");
        assert_eq!(Failure::from(error).line().as_deref(), Some("error: cannot listen on 127.0.0.1:1 (http): address already in use (see --http)"));
        let failure = Failure::Statement("TABLE_NOT_FOUND: line 1:15: table 'flight' does not exist".to_owned());
        assert_eq!(failure.line().as_deref(), Some("error: TABLE_NOT_FOUND: line 1:15: table 'flight' does not exist"));
        assert_eq!(plain(&io::Error::from_raw_os_error(13)), "permission denied");
        assert_eq!(Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe)), Failure::OutputClosed);
    }
}
