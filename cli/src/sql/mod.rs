//! `nunatak sql`: statements from the command line, from files, from stdin, or typed into a shell.

mod completion;
mod metadata;
pub(crate) mod name;
mod output;
mod progress;
mod runner;
mod shell;
mod splitter;
pub(crate) mod statement;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::client::{Client, Connection};
use crate::failure::{Failure, plain};
use crate::terminal;
use output::Format;
pub(crate) use progress::{Progress, seconds};
use runner::Runner;

/// Run SQL on a server: a shell, or statements from -e, files or stdin.
///
/// Without -e and -f it is a shell when a person types, and reads statements from stdin otherwise. A statement ends with a semicolon; the last one
/// needs none. The first statement that fails ends a script with exit code 1. Results go to stdout, everything else to stderr.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The catalog that names without one mean
    #[arg(long, value_name = "NAME")]
    catalog: Option<String>,
    /// The schema that names without one mean
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// A session property, as SET SESSION sets it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    session: Vec<(String, String)>,
    /// Statements to run; may be repeated
    #[arg(short = 'e', long = "execute", value_name = "SQL", allow_hyphen_values = true)]
    execute: Vec<String>,
    /// A file of statements to run after those of -e, '-' for stdin; may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// The form of results
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Show no progress while a statement runs
    #[arg(long)]
    no_progress: bool,
}

/// A text of statements and what to call it in messages.
struct Script {
    name: Option<String>,
    text: String,
}

/// Runs the subcommand.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let interactive = arguments.execute.is_empty() && arguments.file.is_empty() && terminal::is_interactive();
    // Files are read before anything runs, so that a wrong name does not stop a script halfway.
    let scripts = if interactive { Vec::new() } else { scripts(&arguments)? };
    let mut client = Client::connect(&arguments.connection).await?;
    open_session(&mut client, &arguments).await?;
    let mut runner = Runner::new(client, arguments.format, !arguments.no_progress);
    if interactive {
        return shell::run(&mut runner).await;
    }
    for script in &scripts {
        run_script(&mut runner, script).await?;
    }
    Ok(())
}

fn scripts(arguments: &Arguments) -> Result<Vec<Script>, Failure> {
    let mut scripts: Vec<_> = arguments.execute.iter().map(|text| Script { name: None, text: text.clone() }).collect();
    for path in &arguments.file {
        scripts.push(read(path)?);
    }
    if scripts.is_empty() {
        scripts.push(read(Path::new("-"))?);
    }
    Ok(scripts)
}

fn read(path: &Path) -> Result<Script, Failure> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        ("stdin".to_owned(), std::io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    let text = text.map_err(|error| Failure::Usage(format!("file '{name}' cannot be read: {}", plain(&error))))?;
    Ok(Script { name: Some(name), text })
}

/// Brings the session to where the arguments want it, by the statements a user would type: their errors say what is wrong.
async fn open_session(client: &mut Client, arguments: &Arguments) -> Result<(), Failure> {
    match (&arguments.catalog, &arguments.schema) {
        (Some(catalog), Some(schema)) => execute(client, &format!("USE {}.{}", name::quoted(catalog), name::quoted(schema))).await?,
        (None, Some(schema)) => execute(client, &format!("USE {}", name::quoted(schema))).await?,
        (Some(catalog), None) => client.set_catalog(catalog)?,
        (None, None) => {}
    }
    for (name, value) in &arguments.session {
        execute(client, &format!("SET SESSION {name} = {}", statement::literal(value))).await?;
    }
    Ok(())
}

/// Runs a statement whose result nobody wants to see.
async fn execute(client: &mut Client, sql: &str) -> Result<(), Failure> {
    statement::run(client, sql).await.map(|_| ())
}

async fn run_script(runner: &mut Runner, script: &Script) -> Result<(), Failure> {
    let statements = splitter::split(&script.text);
    for statement in &statements {
        let outcome = runner.run(statement.text).await;
        outcome.map_err(|failure| match (failure, &script.name) {
            // Places in a server's message are counted from the start of the statement, not of the file.
            (Failure::Statement(text), Some(name)) if statement.line > 1 => {
                Failure::Statement(format!("{text} [statement at {name}:{}]", statement.line))
            }
            (failure, _) => failure,
        })?;
    }
    Ok(())
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("'{name}' is not the name of a session property"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_properties_are_read() {
        assert_eq!(property("execution_mode=a=b"), Ok(("execution_mode".to_owned(), "a=b".to_owned())));
        assert!(property("execution_mode").is_err());
        assert!(property("a b=1").is_err());
        assert!(property("=1").is_err());
    }
}
