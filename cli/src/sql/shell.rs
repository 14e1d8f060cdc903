//! The interactive shell: an edited line with history and completion, a few commands of its own, and everything else is SQL.

use std::path::PathBuf;

use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Editor};

use super::completion::Assistant;
use super::metadata::Metadata;
use super::runner::Runner;
use super::{splitter, statement};
use crate::failure::Failure;
use crate::terminal;

const PROMPT: &str = "nunatak> ";
const HISTORY_ENTRIES_MAX: usize = 10_000;
const HELP: &str = "\
A statement ends with a semicolon and may span lines. Tab completes keywords and names. Ctrl-C cancels a running statement.
  \\d           tables of the current schema
  \\d NAME      columns of a table
  \\q, quit     leave (also Ctrl-D)
  help         this text";

/// A line that is for the shell and not for the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Help,
    Tables,
    Columns(String),
    Unknown(String),
}

impl Command {
    /// Reads a line; `None` means that it is SQL.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (word.to_ascii_lowercase().as_str(), rest.trim()) {
            ("\\q" | "quit" | "exit", "") => Some(Self::Quit),
            ("help" | "\\h" | "\\?", "") => Some(Self::Help),
            ("\\d" | "\\dt", "") => Some(Self::Tables),
            ("\\d", name) => Some(Self::Columns(name.to_owned())),
            (other, _) if other.starts_with('\\') => Some(Self::Unknown(word.to_owned())),
            _ => None,
        }
    }
}

/// What the shell does after a line.
enum Next {
    Line,
    Leave,
}

/// Reads and runs lines until the user leaves.
pub(super) async fn run(runner: &mut Runner) -> Result<(), Failure> {
    let metadata = Metadata::start(runner.client());
    let mut editor = editor(metadata.clone())?;
    let history = history_file();
    if let Some(path) = &history {
        // There is none at the first start.
        let _ = editor.load_history(path);
    }
    terminal::note(&format!("nunatak {}; 'help' lists the commands", env!("CARGO_PKG_VERSION")));
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(Failure::Usage(format!("cannot read from the terminal: {error}"))),
        };
        if line.trim().is_empty() {
            continue;
        }
        remember(&mut editor, history.as_ref(), &line);
        if let Next::Leave = run_line(runner, &metadata, &line).await {
            return Ok(());
        }
    }
}

fn editor(metadata: Metadata) -> Result<Editor<Assistant, FileHistory>, Failure> {
    let failed = |error: ReadlineError| Failure::Usage(format!("cannot use the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(HISTORY_ENTRIES_MAX)
        .map_err(failed)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Assistant::new(metadata)));
    Ok(editor)
}

/// Keeps the line, at once: a shell may be killed.
fn remember(editor: &mut Editor<Assistant, FileHistory>, history: Option<&PathBuf>, line: &str) {
    let is_new = editor.add_history_entry(line).unwrap_or(false);
    if let (true, Some(path)) = (is_new, history)
        && let Err(error) = editor.append_history(path)
    {
        tracing::debug!(%error, "history was not written");
    }
}

async fn run_line(runner: &mut Runner, metadata: &Metadata, line: &str) -> Next {
    match Command::parse(line) {
        Some(Command::Quit) => Next::Leave,
        Some(Command::Help) => {
            terminal::note(HELP);
            Next::Line
        }
        Some(Command::Tables) => run_sql(runner, metadata, "SHOW TABLES").await,
        Some(Command::Columns(name)) => run_sql(runner, metadata, &format!("DESCRIBE {name}")).await,
        Some(Command::Unknown(word)) => {
            terminal::note(&format!("error: unknown command '{word}', 'help' lists the commands"));
            Next::Line
        }
        None => run_sql(runner, metadata, line).await,
    }
}

/// Runs the statements of a line; the first that fails ends it, but not the shell.
async fn run_sql(runner: &mut Runner, metadata: &Metadata, text: &str) -> Next {
    for statement in splitter::split(text) {
        let outcome = runner.run(statement.text).await;
        if statement::changes_names(statement.text) {
            metadata.refresh();
        }
        match outcome {
            Ok(()) => {}
            Err(Failure::OutputClosed) => return Next::Leave,
            Err(failure) => {
                if let Some(line) = failure.line() {
                    terminal::note(&line);
                }
                break;
            }
        }
    }
    Next::Line
}

/// `$XDG_STATE_HOME/nunatak/sql-history`, below `~/.local/state` by default. `None` where there is no place for it.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    let directory = state.join("nunatak");
    std::fs::create_dir_all(&directory).ok()?;
    Some(directory.join("sql-history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_sql() {
        assert_eq!(Command::parse(" \\q "), Some(Command::Quit));
        assert_eq!(Command::parse("QUIT;"), Some(Command::Quit));
        assert_eq!(Command::parse("\\d nyc.flights;"), Some(Command::Columns("nyc.flights".to_owned())));
        assert_eq!(Command::parse("\\d"), Some(Command::Tables));
        assert_eq!(Command::parse("\\x"), Some(Command::Unknown("\\x".to_owned())));
        assert_eq!(Command::parse("help"), Some(Command::Help));
        assert_eq!(Command::parse("select 1"), None);
        assert_eq!(Command::parse("help me"), None);
    }
}
