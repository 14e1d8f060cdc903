//! The module as a whole, on files in a temporary folder.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::stream::{self, StreamExt, TryStreamExt};
use nunatak_core::Result;
use tempfile::TempDir;

use super::{FileFormat, FileOptions, OptionValue, file_table, rows_skipped};
use crate::error::from_datafusion;

type Options<'a> = &'a [(&'a str, &'a str)];

struct Folder(TempDir);

impl Folder {
    fn new() -> std::io::Result<Self> {
        TempDir::new().map(Self)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> std::io::Result<Self> {
        fs::write(self.path(name), content)?;
        Ok(self)
    }

    /// The result of a query on the table `t` of the files, as text lines without borders; or the error, with the folder's name as `DIR`.
    async fn query(&self, format: FileFormat, pattern: &str, options: Options<'_>, schema: Option<SchemaRef>, sql: &str) -> (Vec<String>, usize) {
        match self.try_query(format, pattern, options, schema, sql).await {
            Ok(result) => result,
            Err(error) => (vec![error.to_string().replace(&format!("{}/", self.0.path().display()), "DIR/")], 0),
        }
    }

    async fn try_query(
        &self,
        format: FileFormat,
        pattern: &str,
        options: Options<'_>,
        schema: Option<SchemaRef>,
        sql: &str,
    ) -> Result<(Vec<String>, usize)> {
        let pairs: Vec<_> = options.iter().map(|(name, value)| ((*name).to_owned(), OptionValue::Text((*value).to_owned()))).collect();
        let options = FileOptions::from_pairs(format, &pairs)?;
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
        let table = file_table(&context.state(), format, &self.path(pattern), &options, schema).await?;
        run(&context, table, sql).await.map_err(from_datafusion)
    }

    async fn csv(&self, name: &str, options: Options<'_>, sql: &str) -> Vec<String> {
        self.query(FileFormat::Csv, name, options, None, sql).await.0
    }

    async fn json(&self, name: &str, sql: &str) -> Vec<String> {
        self.query(FileFormat::Json, name, &[], None, sql).await.0
    }
}

async fn run(
    context: &SessionContext,
    table: Arc<dyn datafusion::catalog::TableProvider>,
    sql: &str,
) -> Result<(Vec<String>, usize), DataFusionError> {
    context.register_table("t", table)?;
    let plan = context.sql(sql).await?.create_physical_plan().await?;
    let batches = collect(Arc::clone(&plan), context.task_ctx()).await?;
    let text = pretty_format_batches(&batches)?.to_string();
    let line = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|");
    Ok((text.lines().filter(|line| line.starts_with('|')).skip(1).map(line).collect(), rows_skipped(plan.as_ref())))
}

fn schema(fields: &[(&str, DataType, bool)]) -> Option<SchemaRef> {
    Some(Arc::new(Schema::new(fields.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable)).collect::<Vec<_>>())))
}

type Tested = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn csv_columns_are_inferred() -> Tested {
    let text = "A,b ,c,d,e,f\n1,1,2013-01-01,2013-01-01 05:00,2013-01-01T05:00:00Z,true\n2,1.5,2013-01-02,2013-01-01,,FALSE\n";
    let folder = Folder::new()?.with("x.csv", text)?;
    let table = file_table(&SessionContext::new().state(), FileFormat::Csv, &folder.path("x.csv"), &FileOptions::default(), None).await?;
    let found: Vec<_> = table.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let expected = [
        ("a", DataType::Int64),
        ("b", DataType::Float64),
        ("c", DataType::Date32),
        ("d", micros(None)),
        ("e", micros(Some("UTC"))),
        ("f", DataType::Boolean),
    ];
    assert_eq!(found, expected.map(|(name, data_type)| (name.to_owned(), data_type)));
    let rows = folder.csv("x.csv", &[], "SELECT a + 1, b, c, d, e, f FROM t ORDER BY a").await;
    assert_eq!(rows, ["2|1.0|2013-01-01|2013-01-01T05:00:00|2013-01-01T05:00:00Z|true", "3|1.5|2013-01-02|2013-01-01T00:00:00||false"]);
    Ok(())
}

#[tokio::test]
async fn csv_quotes_delimiters_and_nulls() -> Tested {
    let folder = Folder::new()?
        .with("q.csv", "a,b\n\"x,\"\"y\"\"\",1\n\"p\nq\", 2 \n,\n")?
        .with("s.csv", "a;b\n'x;y';NA\n\\N;3\n")?
        .with("w.csv", "1,,x\n2,,y\n")?;
    let rows = folder.csv("q.csv", &[], "SELECT replace(a, chr(10), '/'), a IS NULL, b FROM t").await;
    assert_eq!(rows, ["x,\"y\"|false|1", "p/q|false|2", "|true|"]);
    let options = [("delimiter", ";"), ("quote", "'"), ("null_value", "NA"), ("null_value", "\\N")];
    assert_eq!(folder.csv("s.csv", &options, "SELECT a, b + 1 FROM t").await, ["x;y|", "|4"]);
    // A column without any value is a text.
    assert_eq!(folder.csv("w.csv", &[("header", "false")], "SELECT column1, column2 || '', column3 FROM t").await, ["1||x", "2||y"]);
    Ok(())
}

async fn packed(text: &str, kind: FileCompressionType) -> Result<Vec<u8>, DataFusionError> {
    let parts = stream::iter([Ok::<_, DataFusionError>(Bytes::from(text.to_owned()))]).boxed();
    Ok(kind.convert_to_compress_stream(parts)?.try_collect::<Vec<Bytes>>().await?.concat())
}

#[tokio::test]
async fn compressed_files() -> Tested {
    let text: String = std::iter::once("a\n".to_owned()).chain((0..200_000).map(|number| format!("{number}\n"))).collect();
    let gzip = packed(&text, FileCompressionType::GZIP).await?;
    let folder = Folder::new()?
        .with("x.csv.gz", &gzip)?
        .with("x.csv.zst", packed(&text, FileCompressionType::ZSTD).await?)?
        .with("x.dat", &gzip)?
        .with("short.csv.gz", &gzip[..gzip.len() / 2])?
        .with("wrong.csv.gz", &text)?;
    for (name, options) in [("x.csv.gz", [].as_slice()), ("x.csv.zst", &[]), ("x.dat", &[("compression", "gzip")])] {
        assert_eq!(folder.csv(name, options, "SELECT count(*), sum(a) FROM t").await, ["200000|19999900000"], "{name}");
    }
    for name in ["short.csv.gz", "wrong.csv.gz"] {
        let error = folder.csv(name, &[], "SELECT count(*) FROM t").await.concat();
        assert!(error.starts_with(&format!("INVALID_ARGUMENTS: file 'DIR/{name}' cannot be decompressed")), "{error}");
    }
    Ok(())
}

const BAD: &str = "Day,dep_time\n\"1\n1\",517\n2,533\n3,abc\n4,,\n5,542\n\"6\n6\",x\n";

#[tokio::test]
async fn a_bad_row_aborts_with_its_place() -> Tested {
    let folder = Folder::new()?.with("x.csv", BAD)?;
    let error = folder.csv("x.csv", &[("sample_rows", "2")], "SELECT * FROM t").await;
    assert_eq!(
        error,
        ["BAD_FILE_ROW: DIR/x.csv:5: column 'dep_time': 'abc' is not a bigint (the type comes from the first 2 rows of a file: raise sample_rows, \
          or COPY INTO a table that declares 'dep_time' as varchar; ON_ERROR skip leaves such rows out)"]
    );
    let declared = schema(&[("day", DataType::Utf8View, true), ("dep_time", DataType::Int32, true)]);
    let (error, _) = folder.query(FileFormat::Csv, "x.csv", &[], declared, "SELECT * FROM t").await;
    assert_eq!(
        error,
        ["BAD_FILE_ROW: DIR/x.csv:5: column 'dep_time': 'abc' is not an integer (fix the row, or use ON_ERROR skip to leave such rows out, or \
          declare 'dep_time' as varchar)"]
    );
    let (error, _) = folder
        .query(FileFormat::Csv, "x.csv", &[], schema(&[("dep_time", DataType::Utf8, true), ("day", DataType::Utf8, true)]), "SELECT * FROM t")
        .await;
    assert_eq!(
        error,
        ["BAD_FILE_ROW: DIR/x.csv:6: 3 fields, 2 expected (fix the row, or use ON_ERROR skip to leave such rows out; \
             see also options delimiter and quote)"]
    );
    // Rows behind a limit are not read.
    assert_eq!(folder.csv("x.csv", &[("sample_rows", "2")], "SELECT dep_time FROM t LIMIT 2").await, ["517", "533"]);
    Ok(())
}

#[tokio::test]
async fn bad_rows_are_skipped_and_counted() -> Tested {
    let folder = Folder::new()?.with("x.csv", BAD)?;
    let options = [("sample_rows", "2"), ("on_error", "skip")];
    for (sql, expected) in [
        ("SELECT dep_time FROM t", ["517", "533", "542"].as_slice()),
        // Which rows there are does not depend on the columns.
        ("SELECT length(day) FROM t", &["3", "1", "1"]),
        ("SELECT count(*) FROM t", &["3"]),
    ] {
        assert_eq!(
            folder.query(FileFormat::Csv, "x.csv", &options, None, sql).await,
            (expected.iter().map(|row| (*row).to_owned()).collect(), 3),
            "{sql}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_are_not_utf8() -> Tested {
    let folder = Folder::new()?.with("x.csv", b"a,b\n1,x\n2,\xe9\n3,z\n")?.with("y.csv", b"\xff\xfea\0\n\0")?.with("z.csv", b"\xef\xbb\xbfa\n1\n")?;
    assert_eq!(
        folder.csv("x.csv", &[], "SELECT * FROM t").await,
        ["BAD_FILE_ROW: DIR/x.csv:3: the row is not utf-8 (fix the row, or use ON_ERROR skip to leave such rows out)"]
    );
    assert_eq!(folder.csv("x.csv", &[("on_error", "skip")], "SELECT a, b FROM t").await, ["1|x", "3|z"]);
    assert_eq!(
        folder.csv("y.csv", &[], "SELECT 1").await,
        ["INVALID_ARGUMENTS: file 'DIR/y.csv' is in utf-16 (convert it to utf-8, for example with iconv)"]
    );
    assert_eq!(folder.csv("z.csv", &[], "SELECT a FROM t").await, ["1"]);
    Ok(())
}

#[tokio::test]
async fn empty_files_and_odd_headers() -> Tested {
    let folder = Folder::new()?.with("header.csv", "a,,b\n")?.with("empty.csv", "")?.with("twice.csv", "a,A\n1,2\n")?;
    assert_eq!(folder.csv("header.csv", &[], "SELECT a || column2 || b FROM t").await, Vec::<String>::new());
    assert_eq!(folder.csv("empty.csv", &[], "SELECT 1").await, ["INVALID_ARGUMENTS: file 'DIR/empty.csv' is empty"]);
    assert_eq!(
        folder.csv("twice.csv", &[], "SELECT 1").await,
        ["DUPLICATE_COLUMN_NAME: file 'DIR/twice.csv' has two columns 'a' (rename one of them in the file; names are compared in lower case)"]
    );
    // Among others, an empty file has no rows.
    let folder = folder.with("rows.csv", "a,b\n1,2\n")?;
    assert_eq!(folder.csv("[er]*s.csv", &[], "SELECT a, b FROM t").await, ["1|2"]);
    Ok(())
}

#[tokio::test]
async fn declared_columns_are_matched_by_name_or_place() -> Tested {
    let folder = Folder::new()?.with("h.csv", "B,A\n1.50,2013-01-01 05:00\n,\n")?.with("n.csv", "x,1\ny,2\n")?.with("m.csv", "a,bee\n1,2\n")?;
    let declared = || {
        schema(&[
            ("a", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            ("b", DataType::Decimal128(5, 1), true),
            ("c", DataType::Utf8View, true),
        ])
    };
    let (rows, _) = folder.query(FileFormat::Csv, "h.csv", &[], declared(), "SELECT a, b, c FROM t").await;
    assert_eq!(rows, ["2013-01-01T05:00:00|1.5|", "||"]);
    let pair = || schema(&[("name", DataType::Utf8, false), ("id", DataType::Int16, false)]);
    let (rows, _) = folder.query(FileFormat::Csv, "n.csv", &[("header", "false")], pair(), "SELECT id, name FROM t").await;
    assert_eq!(rows, ["1|x", "2|y"]);
    let cases = [
        ("m.csv", declared(), "COLUMN_NOT_FOUND: file 'DIR/m.csv' has a column 'bee' that is not among those wanted"),
        (
            "h.csv",
            schema(&[("a", DataType::Utf8, true), ("b", DataType::Utf8, true), ("id", DataType::Int64, false)]),
            "COLUMN_NOT_FOUND: file 'DIR/h.csv' has no column 'id', which must not be null",
        ),
        (
            "h.csv",
            schema(&[("a", DataType::Utf8, true), ("b", DataType::Float64, false)]),
            "BAD_FILE_ROW: DIR/h.csv:3: column 'b': a value is required",
        ),
    ];
    for (name, declared, expected) in cases {
        let error = folder.query(FileFormat::Csv, name, &[], declared, "SELECT * FROM t").await.0.concat();
        assert!(error.starts_with(expected), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn globs_read_several_files() -> Tested {
    let folder = Folder::new()?;
    fs::create_dir_all(folder.path("in/b"))?;
    fs::create_dir_all(folder.path("in/.hidden"))?;
    let folder = folder
        .with("in/1.csv", "a,b\n1,x\n")?
        .with("in/2.csv", "b,a,c\ny,2,z\n")?
        .with("in/b/3 [x].csv", "a\n3\n")?
        .with("in/_SUCCESS", "")?
        .with("in/.hidden/4.csv", "a\n4\n")?;
    let cases = [
        ("in/*.csv", ["1|x", "2|y"].as_slice()),
        ("in/[2-9].csv", &["2|y"]),
        ("in/**/*.csv", &["1|x", "2|y", "3|"]),
        ("*/?.csv", &["1|x", "2|y"]),
        ("in", &["1|x", "2|y", "3|"]),
    ];
    for (pattern, expected) in cases {
        assert_eq!(folder.csv(pattern, &[], "SELECT a, b FROM t ORDER BY a").await, expected, "{pattern}");
    }
    assert_eq!(folder.csv("in/b/3 [x].csv", &[], "SELECT a FROM t").await, ["3"]);
    assert_eq!(
        folder.csv("in/*.tsv", &[], "SELECT 1").await,
        ["NOT_FOUND: no file matches 'DIR/in/*.tsv' (paths are those of the server, not of the client)"]
    );
    Ok(())
}

#[tokio::test]
async fn many_rows_in_many_files() -> Tested {
    let mut folder = Folder::new()?;
    for file in 0..7 {
        let rows = (0..20_000).map(|row| format!("{},\"{}\"\n", file * 20_000 + row, "x".repeat(row % 50)));
        folder = folder.with(&format!("{file}.csv"), std::iter::once("n,s\n".to_owned()).chain(rows).collect::<String>())?;
    }
    let rows = folder.csv("*.csv", &[], "SELECT count(*), count(DISTINCT n), sum(n), sum(length(s)) FROM t").await;
    assert_eq!(rows, ["140000|140000|9799930000|3430000"]);
    Ok(())
}

#[tokio::test]
async fn json_objects() -> Tested {
    let lines = concat!(
        "{\"Z\":1,\"day\":\"2013-01-01\",\"tags\":[\"a\",\"b\"],\"Pos\":{\"X\":1,\"y\":2.5}}\n\n",
        "{\"z\":null,\"day\":null,\"f\":1.0,\"at\":\"2013-01-01T05:00:00Z\",\"s\":\"07\"}\n",
    );
    let folder = Folder::new()?.with("x.json", lines)?.with("y.json", format!("[{}]", lines.trim().replace("\n\n", ",\n")))?;
    for name in ["x.json", "y.json"] {
        let rows = folder.json(name, "SELECT z, day, tags, pos, f, at, s FROM t").await;
        assert_eq!(rows, ["1|2013-01-01|[a, b]|{X: 1, y: 2.5}|||", "||||1.0|2013-01-01T05:00:00Z|07"], "{name}");
        assert_eq!(folder.json(name, "SELECT count(*) FROM t").await, ["2"]);
    }
    let declared = schema(&[("F", DataType::Int64, true), ("z", DataType::Utf8View, true), ("none", DataType::Date32, true)]);
    let (rows, _) = folder.query(FileFormat::Json, "x.json", &[], declared, "SELECT \"F\", z, none FROM t").await;
    assert_eq!(rows, ["|1|", "1||"]);
    Ok(())
}

#[tokio::test]
async fn bad_json_lines() -> Tested {
    let folder = Folder::new()?
        .with("syntax.json", "{\"a\":1}\n\n{\"a\":2\n{\"a\":3}\n{\"a\":4}{\"a\":5}\n[1]\n")?
        .with("value.json", "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":1.5}\n{\"a\":2}\n")?
        .with("nested.json", "{\"a\":[1]}\n{\"a\":[2,2.5]}\n{\"a\":[3]}\n")?
        .with("text.json", "hello\n")?;
    let hint = "(fix the row, or use ON_ERROR skip to leave such rows out)";
    assert_eq!(
        folder.json("syntax.json", "SELECT a FROM t").await,
        [format!("BAD_FILE_ROW: DIR/syntax.json:3: the object does not end on its line {hint}")]
    );
    let skip = [("on_error", "skip"), ("sample_rows", "1")];
    let query = |name: &'static str| folder.query(FileFormat::Json, name, &skip, None, "SELECT a FROM t");
    assert_eq!(query("syntax.json").await, (vec!["1".to_owned(), "3".to_owned()], 3));
    assert_eq!(query("value.json").await, (vec!["1".to_owned(), "2".to_owned()], 2));
    assert_eq!(query("nested.json").await, (vec!["[1]".to_owned(), "[3]".to_owned()], 1));
    let error = folder.query(FileFormat::Json, "value.json", &[("sample_rows", "1")], None, "SELECT a FROM t").await.0.concat();
    assert!(error.starts_with("BAD_FILE_ROW: DIR/value.json:2: column 'a': 'x' is not a bigint (the type comes from the first 1 rows"), "{error}");
    let error = folder.query(FileFormat::Json, "nested.json", &[("sample_rows", "1")], None, "SELECT a FROM t").await.0.concat();
    assert!(error.starts_with("BAD_FILE_ROW: DIR/nested.json:2: column 'a': a value in it does not fit array(bigint)"), "{error}");
    let error = folder.json("text.json", "SELECT 1").await.concat();
    assert!(error.starts_with("INVALID_ARGUMENTS: the first lines of file 'DIR/text.json' hold no json objects"), "{error}");
    Ok(())
}

fn parquet(columns: &[(&str, ArrayRef)]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let batch = RecordBatch::try_from_iter(columns.iter().map(|(name, column)| (*name, Arc::clone(column))))?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

#[tokio::test]
async fn parquet_files() -> Tested {
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let folder = Folder::new()?
        .with("1.parquet", parquet(&[("VendorID", Arc::clone(&ids)), ("name", Arc::clone(&names))])?)?
        .with("2 [b].parquet", parquet(&[("VendorID", ids), ("name", names)])?)?
        .with("broken.parquet", "PAR1 is not enough")?;
    let query =
        |pattern: &'static str, schema| folder.query(FileFormat::Parquet, pattern, &[], schema, "SELECT vendorid, name FROM t WHERE vendorid > 1");
    assert_eq!(query("[12]*.parquet", None).await.0, ["2|y", "2|y"]);
    assert_eq!(query("2 [b].parquet", None).await.0, ["2|y"]);
    let declared = schema(&[("name", DataType::Utf8View, true), ("vendorid", DataType::Int64, true), ("more", DataType::Date32, true)]);
    assert_eq!(query("1.parquet", declared).await.0, ["2|y"]);
    let error = query("*.parquet", None).await.0.concat();
    assert!(error.starts_with("INVALID_ARGUMENTS: file 'DIR/broken.parquet' is not a readable parquet file: "), "{error}");
    let error = query("1.parquet", schema(&[("name", DataType::Utf8, true)])).await.0.concat();
    assert!(error.starts_with("COLUMN_NOT_FOUND: file 'DIR/1.parquet' has a column 'vendorid' that is not among those wanted"), "{error}");
    Ok(())
}
