//! `nunatak ingest`: files into a table, by the SQL a user would type.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::client::{Client, Connection};
use crate::failure::{Failure, plain};
use crate::sql::statement::{self, literal};
use crate::sql::{Progress, name, seconds};
use crate::terminal;

/// Load CSV, JSON or Parquet files into a table; the schema and the table are made when missing.
///
/// The server reads the files, so it has to see them under the same path. Each file is one commit: it is loaded as a whole or not at all.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The files; .gz and .zst are unpacked
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The table: SCHEMA.TABLE or CATALOG.SCHEMA.TABLE
    #[arg(long, value_name = "NAME", value_parser = table_name)]
    table: TableName,
    /// The files' format [default: by their ending]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// How a new table is partitioned: 'day(ts), bucket(8, id)'
    #[arg(long, value_name = "TRANSFORMS")]
    partitioning: Option<String>,
    /// The sign between the fields of a CSV file [default: ',', and a tab for .tsv]
    #[arg(long, value_name = "SIGN")]
    delimiter: Option<String>,
    /// A text that means NULL in a CSV file; may be repeated [default: the empty text]
    #[arg(long, value_name = "TEXT")]
    null_value: Vec<String>,
    /// What to do with a row that cannot be read
    #[arg(long, value_enum, default_value_t = OnError::Abort)]
    on_error: OnError,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FileFormat {
    Csv,
    Json,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    /// Load nothing of the file
    Abort,
    /// Leave the row out
    Skip,
}

/// The parts of a table's name, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TableName {
    catalog: Option<String>,
    schema: String,
    table: String,
}

/// A file to load.
#[derive(Debug)]
struct Source {
    path: String,
    format: FileFormat,
    options: Vec<Setting>,
}

/// An option of a file's format.
#[derive(Debug)]
enum Setting {
    Delimiter(String),
    NullValues(Vec<String>),
    OnError(OnError),
}

/// Runs the subcommand.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let sources = arguments.files.iter().map(|file| source(file, &arguments)).collect::<Result<Vec<_>, _>>()?;
    let partitioning = arguments.partitioning.as_deref().map(transforms).unwrap_or_default();
    let mut client = Client::connect(&arguments.connection).await?;
    let name = &arguments.table;
    statement::run(&mut client, &format!("CREATE SCHEMA IF NOT EXISTS {}", name.schema_sql())).await?;
    let mut exists = exists(&mut client, name).await?;
    if exists && !partitioning.is_empty() {
        terminal::note(&format!("note: table {} exists, so --partitioning changes nothing", name.display()));
    }
    let started = Instant::now();
    let mut total = 0;
    for source in &sources {
        let sql = if exists { source.copy_into(name) } else { source.create_table(name, &partitioning) };
        total += load(&mut client, source, &sql).await?;
        exists = true;
    }
    let files = if sources.len() == 1 { "1 file".to_owned() } else { format!("{} files", sources.len()) };
    terminal::result_line(&format!("{}: {} from {files} in {}", name.display(), statement::count(total), seconds(started.elapsed())))
}

/// Loads one file and says how many rows it had.
async fn load(client: &mut Client, source: &Source, sql: &str) -> Result<u64, Failure> {
    let progress = Progress::start(true, &source.path);
    let rows = statement::run(client, sql).await?.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0);
    let elapsed = progress.elapsed();
    drop(progress);
    terminal::note(&format!("{}: {} in {}", source.path, statement::count(rows), seconds(elapsed)));
    Ok(rows)
}

/// Whether the table is there. Not by a Flight SQL listing: its patterns find more than the name, and it looks into every catalog.
async fn exists(client: &mut Client, name: &TableName) -> Result<bool, Failure> {
    let catalog = name.catalog.as_ref().map(|catalog| format!("{}.", name::quoted(catalog))).unwrap_or_default();
    let (schema, table) = (literal(&name.schema), literal(&name.table));
    let sql = format!("SELECT count(*) FROM {catalog}information_schema.tables WHERE table_schema = {schema} AND table_name = {table}");
    Ok(statement::run(client, &sql).await?.is_some_and(|count| count > 0))
}

impl TableName {
    fn schema_sql(&self) -> String {
        let schema = name::quoted(&self.schema);
        self.catalog.as_ref().map_or(schema.clone(), |catalog| format!("{}.{schema}", name::quoted(catalog)))
    }

    fn sql(&self) -> String {
        format!("{}.{}", self.schema_sql(), name::quoted(&self.table))
    }

    fn display(&self) -> String {
        let parts = self.catalog.iter().chain([&self.schema, &self.table]);
        parts.map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

impl FileFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    fn of_ending(ending: &str) -> Option<Self> {
        match ending {
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "parquet" | "pq" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl Source {
    fn create_table(&self, name: &TableName, partitioning: &[String]) -> String {
        let properties = match partitioning {
            [] => String::new(),
            transforms => format!(" WITH (partitioning = {})", array(transforms)),
        };
        let arguments: String = self.options.iter().map(Setting::as_argument).collect();
        format!("CREATE TABLE {}{properties} AS SELECT * FROM read_{}({}{arguments})", name.sql(), self.format.name(), literal(&self.path))
    }

    fn copy_into(&self, name: &TableName) -> String {
        let options: String = self.options.iter().map(Setting::as_option).collect();
        format!("COPY INTO {} FROM {} (FORMAT {}{options})", name.sql(), literal(&self.path), self.format.name())
    }
}

impl Setting {
    /// As a named argument of `read_csv`.
    fn as_argument(&self) -> String {
        match self {
            Self::Delimiter(sign) => format!(", delimiter => {}", literal(sign)),
            Self::NullValues(values) => format!(", null_values => {}", array(values)),
            Self::OnError(on_error) => format!(", on_error => {}", literal(on_error.name())),
        }
    }

    /// As an option of `COPY INTO`.
    fn as_option(&self) -> String {
        match self {
            Self::Delimiter(sign) => format!(", DELIMITER {}", literal(sign)),
            Self::NullValues(values) => values.iter().map(|value| format!(", NULL_VALUE {}", literal(value))).collect(),
            Self::OnError(on_error) => format!(", ON_ERROR {}", on_error.name()),
        }
    }
}

impl OnError {
    fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Skip => "skip",
        }
    }
}

fn array(values: &[String]) -> String {
    format!("ARRAY[{}]", values.iter().map(|value| literal(value)).collect::<Vec<_>>().join(", "))
}

/// The endings of a file's name without that of its compression: `tsv` of `a.tsv.gz`.
fn ending(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = [".gz", ".zst", ".zstd"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
    name.rsplit_once('.').map(|(_, ending)| ending.to_owned()).unwrap_or_default()
}

fn source(file: &Path, arguments: &Arguments) -> Result<Source, Failure> {
    let named = |why: &str| Failure::Usage(format!("file '{}' {why}", file.display()));
    let about = std::fs::metadata(file).map_err(|error| named(&format!("cannot be read: {}", plain(&error))))?;
    if about.is_dir() {
        return Err(named("is a directory; name the files in it"));
    }
    let path = std::path::absolute(file).map_err(|error| named(&format!("has no absolute path: {}", plain(&error))))?;
    let path = path.into_os_string().into_string().map_err(|_| named("has a name that is not Unicode"))?;
    let ending = ending(file);
    let format = arguments.format.or_else(|| FileFormat::of_ending(&ending)).ok_or_else(|| named("does not tell its format; use --format"))?;
    Ok(Source { path, format, options: settings(arguments, format, &ending) })
}

fn settings(arguments: &Arguments, format: FileFormat, ending: &str) -> Vec<Setting> {
    let mut settings = Vec::new();
    if format == FileFormat::Csv {
        let sign = arguments.delimiter.clone().or_else(|| (ending == "tsv").then(|| "\t".to_owned()));
        // Shells have no plain way to write a tab.
        settings.extend(sign.map(|sign| Setting::Delimiter(if sign == "\\t" { "\t".to_owned() } else { sign })));
        if !arguments.null_value.is_empty() {
            settings.push(Setting::NullValues(arguments.null_value.clone()));
        }
    }
    if format != FileFormat::Parquet && arguments.on_error != OnError::Abort {
        settings.push(Setting::OnError(arguments.on_error));
    }
    settings
}

/// `day(ts), bucket(8, id)` as its parts.
fn transforms(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Reads `schema.table` and `"Odd.Name".table`. Names without quotes are lower case, as in SQL.
fn table_name(text: &str) -> Result<TableName, String> {
    let parts = name::parts(text).ok_or_else(|| format!("'{text}' is not a name"))?;
    match <[String; 3]>::try_from(parts) {
        Ok([catalog, schema, table]) => Ok(TableName { catalog: Some(catalog), schema, table }),
        Err(parts) => match <[String; 2]>::try_from(parts) {
            Ok([schema, table]) => Ok(TableName { catalog: None, schema, table }),
            Err(_) => Err("write it as SCHEMA.TABLE or CATALOG.SCHEMA.TABLE".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests;
