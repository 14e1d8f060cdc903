//! The SQL that files are loaded by.

use super::*;

fn source(format: FileFormat, options: Vec<Setting>) -> Source {
    Source { path: "/data/it's.csv".to_owned(), format, options }
}

#[test]
fn a_new_table_is_made_from_the_file() {
    let options =
        vec![Setting::Delimiter(";".to_owned()), Setting::NullValues(vec!["NA".to_owned(), String::new()]), Setting::OnError(OnError::Skip)];
    let name = table_name("nyc.flights").unwrap();
    assert_eq!(
        source(FileFormat::Csv, options).create_table(&name, &transforms("day(ts),bucket(8, id)")),
        "CREATE TABLE \"nyc\".\"flights\" WITH (partitioning = ARRAY['day(ts)', 'bucket(8, id)']) AS SELECT * FROM read_csv('/data/it''s.csv', \
         delimiter => ';', null_values => ARRAY['NA', ''], on_error => 'skip')"
    );
}

#[test]
fn an_existing_table_is_added_to() {
    let options = vec![Setting::NullValues(vec!["NA".to_owned(), "-".to_owned()]), Setting::OnError(OnError::Skip)];
    let name = table_name("lake.nyc.flights").unwrap();
    assert_eq!(
        source(FileFormat::Csv, options).copy_into(&name),
        "COPY INTO \"lake\".\"nyc\".\"flights\" FROM '/data/it''s.csv' (FORMAT csv, NULL_VALUE 'NA', NULL_VALUE '-', ON_ERROR skip)"
    );
    assert_eq!(
        source(FileFormat::Parquet, Vec::new()).copy_into(&name),
        "COPY INTO \"lake\".\"nyc\".\"flights\" FROM '/data/it''s.csv' (FORMAT parquet)"
    );
}

#[test]
fn names_are_read_as_sql_reads_them() {
    let name = table_name("Nyc.\"Odd.\"\"Name\"").unwrap();
    assert_eq!((name.schema.as_str(), name.table.as_str()), ("nyc", "Odd.\"Name"));
    for wrong in ["flights", "a.b.c.d", "a..b", "", "\"a.b", "a b.c"] {
        assert!(table_name(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn endings_tell_formats() {
    for (path, expected) in [
        ("a.csv", Some(FileFormat::Csv)),
        ("dir.x/a.TSV.gz", Some(FileFormat::Csv)),
        ("a.jsonl.zst", Some(FileFormat::Json)),
        ("a.parquet", Some(FileFormat::Parquet)),
        ("a", None),
        ("a.gz", None),
    ] {
        assert_eq!(FileFormat::of_ending(&ending(Path::new(path))), expected, "{path}");
    }
}
