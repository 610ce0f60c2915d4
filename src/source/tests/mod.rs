//! Whole tables: written to a folder, opened, and read by some number of workers.

mod csv;
mod parquet;

use std::fs;
use std::io::Write;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use proptest::prelude::*;
use tempfile::TempDir;

use self::parquet::{batch, parquet_file};
use super::*;
use crate::job::{CsvSpec, OnBadRow};

fn input(path: &Path) -> InputSpec {
    InputSpec {
        path: path.to_str().expect("a temporary path in UTF-8").to_owned(),
        format: None,
        id: None,
        csv: CsvSpec::default(),
        on_bad_row: OnBadRow::Fail,
        max_bad_rows: None,
        max_bad_share: None,
        on_duplicate_id: Default::default(),
        latest_by: None,
    }
}

/// Names and contents.
type Files<'a> = &'a [(&'a str, &'a [u8])];

fn folder(files: Files) -> (TempDir, InputSpec) {
    let dir = TempDir::new().expect("a folder");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("a file");
    }
    let input = input(dir.path());
    (dir, input)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// (file, row, fields) of one worker.
type Rows = Vec<(usize, u64, Vec<Option<String>>)>;

fn share(table: &Table, worker: usize, workers: usize) -> Result<(Rows, Rejects, Vec<u64>), SourceError> {
    let columns: Vec<usize> = (0..table.columns().len()).collect();
    let mut scan = table.scan(&columns, worker, workers);
    let mut rows = Rows::new();
    for chunk in scan.by_ref() {
        let chunk = chunk?;
        let plain = |kind: &DataType| match kind {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            kind => kind.clone(),
        };
        let texts: Vec<ArrayRef> = (0..columns.len())
            .map(|place| {
                let values = chunk.values(place, chunk.rows.column(place));
                assert_eq!(plain(values.data_type()), plain(&table.columns()[place].data_type));
                cast(&values, &DataType::Utf8).expect("text of anything")
            })
            .collect();
        for i in 0..chunk.rows.num_rows() {
            let text = |values: &ArrayRef| values.is_valid(i).then(|| values.as_string::<i32>().value(i).to_owned());
            rows.push((chunk.file, chunk.row_number(i), texts.iter().map(text).collect()));
        }
    }
    assert_eq!(scan.rows_read(), rows.len() as u64 + scan.rejects().total());
    Ok((rows, scan.rejects().clone(), scan.file_rows()))
}

/// The fields of all rows, read by one worker.
fn texts(input: &InputSpec) -> Vec<Vec<Option<String>>> {
    let table = Table::open(input).expect("a table");
    let (rows, _, _) = share(&table, 0, 1).expect("rows");
    rows.into_iter().map(|(_, _, fields)| fields).collect()
}

fn names(input: &InputSpec) -> Vec<String> {
    Table::open(input).expect("a table").columns().iter().map(|column| column.name.clone()).collect()
}

fn row(fields: &[&str]) -> Vec<Option<String>> {
    fields.iter().map(|field| (*field != "-").then(|| (*field).to_owned())).collect()
}

fn open_error(input: &InputSpec) -> String {
    Table::open(input).expect_err("not a table").to_string()
}

fn scan_error(input: &InputSpec) -> SourceError {
    let table = Table::open(input).expect("a table");
    share(&table, 0, 1).expect_err("a bad row")
}

#[test]
fn what_cannot_be_a_table_says_why() {
    let cases: [(Files, &str); 15] = [
        (&[], "holds no table"),
        (&[("_SUCCESS", b""), (".hidden.csv", b"a\n1\n")], "holds no table"),
        (&[("a.csv", b"a\n1\n"), ("notes.md", b"x")], "notes.md"),
        (&[("a.csv", b"a\n1\n"), ("b.parquet", b"x")], "b.parquet"),
        (&[("a.csv", b"")], "not even a header line"),
        (&[("a.csv", b"\n\n\n")], "not even a header line"),
        (&[("a.csv", b"a,b,a\n1,2,3\n")], "\"a\" occurs twice, at positions 1 and 3"),
        (&[("a.csv", b"a,,c\n1,2,3\n")], "column 2 has no name"),
        (&[("a.csv", b"a,b\n"), ("b.csv", b"a,c\n")], "column 2 is \"b\" in the first, \"c\" in the second"),
        (&[("a.csv", b"a,b\n"), ("b.csv", b"a,b,c\n")], "\"c\" is in the second alone"),
        (&[("a.csv.gz", b"a,b\n1,2\n")], "its name says compressed"),
        (&[("a.csv", b"PAR1....PAR1")], "it is a Parquet file"),
        (&[("a.csv", b"a,b\r1,2\r")], "carriage returns"),
        (&[("a.parquet", b"")], "not a readable Parquet file"),
        (&[("a.parquet", b"PAR1\x00\x00\xff\xff\xff\x7fPAR1")], "not a readable Parquet file"),
    ];
    for (files, expected) in cases {
        let (_dir, input) = folder(files);
        let error = open_error(&input);
        assert!(error.contains(expected), "{files:?}: {error}");
    }
    let (dir, _) = folder(&[]);
    let missing = input(&dir.path().join("missing/*.csv"));
    let error = Table::open(&missing).expect_err("nothing there");
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().contains("missing/*.csv"), "{error}");
    fs::create_dir(dir.path().join("nested.csv")).expect("a folder");
    assert!(open_error(&input(dir.path())).contains("a folder"));
}

#[test]
fn a_glob_and_a_folder_leave_out_what_other_programs_left_there() {
    let (dir, mut spec) = folder(&[
        ("b.csv", b"a\n2\n"),
        ("a.csv", b"a\n1\n"),
        ("_SUCCESS", b""),
        ("_old.csv", b"a\n9\n"),
        (".x.csv", b"z\n"),
    ]);
    let expected = [row(&["1"]), row(&["2"])];
    assert_eq!(texts(&spec), expected);
    assert_eq!(texts(&input(&dir.path().join("*.csv"))), expected);
    assert_eq!(texts(&input(&dir.path().join("_*.csv"))), [row(&["9"])]);
    fs::write(dir.path().join("part-0"), b"a\n3\n").expect("a file");
    spec.format = Some(TableFormat::Csv);
    assert_eq!(texts(&spec).len(), 3);
}

#[test]
fn empty_tables_open_where_there_are_columns() {
    let (_dir, input) = folder(&[("a.csv", b"a,b\n")]);
    let table = Table::open(&input).expect("a header is enough");
    assert_eq!((table.rows(), table.columns().len()), (Some(0), 2));
    assert!(texts(&input).is_empty());
    let (_dir, mut input) = folder(&[("a.csv", b"")]);
    input.csv.names = vec!["a".into()];
    assert_eq!(Table::open(&input).expect("names are enough").rows(), Some(0));
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![0i64; 0])) as ArrayRef)]);
    let (_dir, input) = folder(&[("a.parquet", &parquet_file(&batch.expect("a batch"), 10))]);
    assert_eq!(Table::open(&input).expect("a schema is enough").rows(), Some(0));
    assert!(texts(&input).is_empty());
}

#[test]
fn the_digest_follows_the_contents_and_not_the_folder() {
    let files: [(&str, &[u8]); 2] = [("a.csv", b"a\n1\n"), ("b.csv", b"a\n2\n")];
    let (one, spec) = folder(&files);
    let table = Table::open(&spec).expect("a table");
    let (_two, other) = folder(&files);
    assert_eq!(table.digest(), Table::open(&other).expect("a table").digest());
    assert_eq!((table.digest().len(), table.changed_since_open()), (32, None));
    fs::write(one.path().join("b.csv"), b"a\n33\n").expect("a file");
    assert_eq!(table.changed_since_open(), Some(one.path().join("b.csv")));
    assert_ne!(table.digest(), Table::open(&spec).expect("a table").digest());
}

#[test]
fn a_panic_of_a_decoder_is_an_error_that_names_the_file() {
    let result: Result<(), _> = decode(Path::new("x.parquet"), "Parquet", || {
        assert!(is_decoding());
        panic!("page {} is bent", 3)
    });
    assert!(!is_decoding());
    let error = result.expect_err("it panicked").to_string();
    assert_eq!(error, "\"x.parquet\" is not a readable Parquet file: page 3 is bent");
}

/// Every worker's share, merged: all rows in the order of the table, and the bad ones.
fn merged(table: &Table, workers: usize) -> (Rows, Rejects, Vec<u64>) {
    let mut all = (Rows::new(), Rejects::default(), Vec::new());
    for worker in 0..workers {
        let (rows, rejects, file_rows) = share(table, worker, workers).expect("rows");
        assert!(rows.is_sorted_by_key(|(file, row, _)| (*file, *row)), "chunks come in order");
        all.0.extend(rows);
        all.1.merge(rejects);
        all.2 = file_rows;
    }
    all.0.sort();
    all
}

// Few cases, as each writes and reads some ten thousand rows for every number of workers.
proptest! {
    #![proptest_config(ProptestConfig { cases: 12, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn the_shares_of_any_number_of_workers_are_all_rows_of_a_csv_table_once(
        sizes in proptest::collection::vec(0usize..20_000, 1..4), bad_every in 2usize..9000, packed in any::<bool>(),
    ) {
        let files: Vec<(String, Vec<u8>)> = sizes.iter().enumerate().map(|(f, &rows)| {
            let mut text = b"id,text\n".to_vec();
            for i in 0..rows {
                let line = if i % bad_every == 1 { format!("{i}\n") } else { format!("{i},\"{f}\n{i}\"\r\n") };
                text.extend_from_slice(line.as_bytes());
            }
            if packed { (format!("{f}.csv.gz"), gzip(&text)) } else { (format!("{f}.csv"), text) }
        }).collect();
        let named: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let (_dir, mut input) = folder(&named);
        input.on_bad_row = OnBadRow::Quarantine;
        let table = Table::open(&input).expect("a table");
        let mut expected = Rows::new();
        let mut bad = 0;
        for (f, &rows) in sizes.iter().enumerate() {
            for i in 0..rows {
                if i % bad_every == 1 {
                    bad += 1;
                } else {
                    expected.push((f, i as u64, row(&[&i.to_string(), &format!("{f}\n{i}")])));
                }
            }
        }
        let alone = merged(&table, 1);
        prop_assert_eq!(&alone.0, &expected);
        prop_assert_eq!(alone.1.total(), bad);
        prop_assert_eq!(&alone.2, &sizes.iter().map(|rows| *rows as u64).collect::<Vec<_>>());
        for workers in 2..=5 {
            prop_assert!(merged(&table, workers) == alone, "{} workers", workers);
        }
    }

    #[test]
    fn the_shares_of_any_number_of_workers_are_all_rows_of_a_parquet_table_once(
        sizes in proptest::collection::vec(1usize..60_000, 1..4), group_rows in 500usize..70_000,
    ) {
        let files: Vec<(String, Vec<u8>)> = sizes.iter().enumerate().map(|(f, &rows)| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
            let text: ArrayRef = Arc::new(StringArray::from_iter((0..rows).map(|i| (i % 5 > 0).then(|| format!("{f}/{}", i % 11)))));
            (format!("{f}.parquet"), parquet_file(&batch(vec![("id", ids), ("text", text)]), group_rows))
        }).collect();
        let named: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let (_dir, input) = folder(&named);
        let table = Table::open(&input).expect("a table");
        prop_assert_eq!(table.rows(), Some(sizes.iter().sum::<usize>() as u64));
        let expected: Rows = sizes.iter().enumerate().flat_map(|(f, &rows)| {
            (0..rows).map(move |i| {
                let text = (i % 5 > 0).then(|| format!("{f}/{}", i % 11));
                (f, i as u64, vec![Some(i.to_string()), text])
            })
        }).collect();
        for workers in 1..=5 {
            prop_assert!(merged(&table, workers).0 == expected, "{} workers", workers);
        }
    }
}

#[test]
fn public_tables_have_as_many_rows_as_their_publishers_say() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.is_dir() {
        println!("skipped: no public tables beside the crate");
        return;
    }
    let columns = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"];
    let more = ["relationship", "race", "sex", "capital-gain", "capital-loss", "hours", "country", "income"];
    let tables = [
        ("adult/adult.data.csv", ',', false, 32_561),
        ("bank_marketing/bank-additional-full.csv", ';', true, 41_188),
        ("hotel_bookings/hotel_bookings.csv.gz", ',', true, 119_390),
        ("flights_3m/flights-3m.parquet", ',', true, 3_000_000),
        ("nycflights13/nycflights13_joined.parquet", ',', true, 336_776),
        ("telco_churn/telco_churn.parquet", ',', true, 7_043),
    ];
    for (name, delimiter, header, expected) in tables {
        let mut input = input(&data.join(name));
        input.csv.delimiter = delimiter;
        input.csv.header = header;
        input.csv.trim = true;
        if !header {
            input.csv.names = columns.iter().chain(&more).map(|name| (*name).to_owned()).collect();
        }
        let table = Table::open(&input).expect("a table");
        let all: Vec<usize> = (0..table.columns().len()).collect();
        let rows: usize = (0..2)
            .flat_map(|worker| table.scan(&all, worker, 2))
            .map(|chunk| chunk.expect("rows").rows.num_rows())
            .sum();
        assert_eq!(rows, expected, "{name}");
        let unusable: Vec<&Column> =
            table.columns().iter().filter(|column| matches!(column.kind, ColumnKind::Unsupported(_))).collect();
        assert!(unusable.is_empty(), "{name}: {unusable:?}");
    }
}

#[test]
fn a_table_and_its_scans_can_move_between_threads() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Table>();
    moves::<Scan>();
}

#[cfg(unix)]
#[test]
fn a_device_is_refused_rather_than_waited_for() {
    let mut spec = input(Path::new("/dev/zero"));
    spec.format = Some(TableFormat::Csv);
    assert!(open_error(&spec).contains("a pipe, socket or device"));
}
