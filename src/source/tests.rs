//! Whole tables: written to a folder, opened, and read by some number of workers.

use std::fs;
use std::io::Write;
use std::path::Path;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeStringArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use proptest::prelude::*;
use tempfile::TempDir;

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

fn folder(files: &[(&str, &[u8])]) -> (TempDir, InputSpec) {
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
        let texts: Vec<ArrayRef> = chunk
            .rows
            .columns()
            .iter()
            .zip(table.columns())
            .map(|(values, column)| {
                assert_eq!(values.data_type(), &column.data_type);
                cast(values, &DataType::Utf8).expect("text of anything")
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
fn csv_quirks_do_not_change_the_values() {
    let plain = b"job,\xe5\x9f\x8e\xe5\xb8\x82\na,1\n\"b,\"\"c\"\"\nd\",2\n,3\n".to_vec();
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend_from_slice(&plain);
    let crlf = String::from_utf8(plain.clone()).expect("text").replace('\n', "\r\n").replace("\"\"\r\nd", "\"\"\nd");
    let cut = &plain[..plain.len() - 1];
    let blank = [crlf.as_bytes(), b"\r\n\r\n"].concat();
    let members = [gzip(&plain[..9]), gzip(&plain[9..])].concat();
    let zst = zstd::encode_all(&plain[..], 1).expect("memory takes it");
    let expected = vec![row(&["a", "1"]), row(&["b,\"c\"\nd", "2"]), row(&["-", "3"])];
    let same: [(&str, &[u8]); 7] = [
        ("lf.csv", &plain),
        ("bom.txt", &bom),
        ("crlf.csv", crlf.as_bytes()),
        ("cut.csv", cut),
        ("blank.tsv", &blank),
        ("members.csv.gz", &members),
        ("frames.CSV.ZST", &zst),
    ];
    for (name, bytes) in same {
        let (_dir, input) = folder(&[(name, bytes)]);
        assert_eq!(names(&input), ["job", "城市"], "{name}");
        assert_eq!(texts(&input), expected, "{name}");
    }
}

#[test]
fn null_values_trimming_names_and_skipped_lines_follow_the_job() {
    let (_dir, mut input) = folder(&[("a.csv", b"|1x3 Cross validator\n39, State-gov, ?\n 50 ,,?x\n\n")]);
    input.csv.names = vec!["age".into(), "work".into(), "sex".into()];
    input.csv.header = false;
    input.csv.skip_lines = 1;
    input.csv.trim = true;
    input.csv.null_values = vec!["?".into()];
    assert_eq!(texts(&input), [row(&["39", "State-gov", "-"]), row(&["50", "-", "?x"])]);
    input.csv.trim = false;
    assert_eq!(texts(&input), [row(&["39", " State-gov", " ?"]), row(&[" 50 ", "-", "?x"])]);
}

#[test]
fn a_ragged_line_is_named_by_its_line_even_behind_quoted_and_blank_lines() {
    for eol in ["\n", "\r\n"] {
        let text = ["a,b", "1,\"x", "y\"", "", "2,3", "4,5,6", "7,8", ""].join(eol);
        let (dir, mut input) = folder(&[("t.csv", text.as_bytes())]);
        let error = scan_error(&input);
        assert_eq!(error.kind(), ErrorKind::Quality);
        let path = dir.path().join("t.csv");
        assert_eq!(
            error.to_string(),
            format!(
                "{path:?} line 6: ragged line: 3 fields, expected 2, as in the header line; input.on_bad_row = \"quarantine\" leaves such rows out and counts them"
            )
        );
        input.on_bad_row = OnBadRow::Quarantine;
        let table = Table::open(&input).expect("a table");
        let (rows, rejects, file_rows) = share(&table, 0, 1).expect("rows");
        assert_eq!(rows.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!((rejects.total(), rejects.by_reason["ragged line"], file_rows), (1, 1, vec![4]));
        assert_eq!((rejects.samples[0].row, rejects.samples[0].line), (2, Some(6)));
    }
}

#[test]
fn text_in_another_encoding_says_how_to_convert_it() {
    // 北京 in GBK, and é in Windows-1252.
    let (_dir, input) = folder(&[("g.csv", b"a,b\n1,\xb1\xb1\xbe\xa9\n")]);
    let error = scan_error(&input).to_string();
    assert!(error.contains("line 2") && error.contains("iconv -f GB18030 -t UTF-8"), "{error}");
    let (_dir, input) = folder(&[("w.csv", b"a,b\n1,caf\xe9\n")]);
    let error = scan_error(&input).to_string();
    assert!(error.contains("column \"b\": not utf-8 at the bytes e9") && !error.contains("GBK"), "{error}");
    let (_dir, input) = folder(&[("h.csv", b"\xb3\xc7\xca\xd0,b\n1,2\n")]);
    let error = open_error(&input);
    assert!(error.contains("line 1") && error.contains("GB18030"), "{error}");
    let (_dir, input) = folder(&[("u.csv", b"\xff\xfea\0,\0b\0\n\0")]);
    assert!(open_error(&input).contains("iconv -f UTF-16"));
    // The two halves of one character, in neighbouring fields: their bytes together would be UTF-8.
    let (_dir, input) = folder(&[("s.csv", b"a,b\n\xc3,\xa9\n")]);
    assert!(scan_error(&input).to_string().contains("not utf-8"));
}

#[test]
fn a_quote_that_is_never_closed_is_an_error_at_its_line() {
    let (_dir, mut input) = folder(&[("q.csv", b"a,b\n1,2\n3,\"4\n5,6\n")]);
    input.on_bad_row = OnBadRow::Quarantine;
    let error = scan_error(&input);
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().contains("line 3") && error.to_string().contains("input.csv.quote"), "{error}");
    input.csv.quote = '\0';
    assert_eq!(texts(&input)[1], row(&["3", "\"4"]));

    let long = [b"a,b\n1,2\n3,\"4".to_vec(), vec![b'x'; csv::MAX_RECORD * 3]].concat();
    let (_dir, input) = folder(&[("long.csv.gz", &gzip(&long))]);
    let error = scan_error(&input);
    assert!(matches!(&error, SourceError::LongRecord { line: 3, .. }), "{error}");

    let field = [b"a,b\n1,\"".to_vec(), vec![b'\n'; 1_100_000], b"\"\n3,4\n".to_vec()].concat();
    let (_dir, mut input) = folder(&[("field.csv", &field)]);
    assert!(scan_error(&input).to_string().contains("line 2: field too long: column \"b\" holds 1100000 bytes"));
    input.on_bad_row = OnBadRow::Quarantine;
    assert_eq!(texts(&input), [row(&["3", "4"])]);
}

#[test]
fn what_cannot_be_a_table_says_why() {
    let cases: [(&[(&str, &[u8])], &str); 15] = [
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
fn a_cut_compressed_file_is_an_error_that_names_it() {
    let text: Vec<u8> = (0..20_000).flat_map(|i| format!("{i},{}\n", i * 7919 % 1000).into_bytes()).collect();
    let text = [b"a,b\n".to_vec(), text].concat();
    for (name, bytes) in [("c.csv.gz", gzip(&text)), ("c.csv.zst", zstd::encode_all(&text[..], 1).expect("memory"))] {
        let (_dir, input) = folder(&[(name, &bytes[..bytes.len() / 2])]);
        let table = Table::open(&input);
        let error = match table {
            Ok(table) => share(&table, 0, 1).expect_err("cut"),
            Err(error) => error,
        };
        assert!(error.to_string().contains(name), "{error}");
    }
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
fn a_wrong_delimiter_or_a_missing_header_line_is_guessed_in_the_error() {
    let (_dir, input) = folder(&[("a.csv", b"age;job;y\n1;a;no\n")]);
    let error = Table::open(&input).expect("one column").column("metric.column", "y").expect_err("none").to_string();
    assert!(error.contains("metric.column") && error.contains("input.csv.delimiter = ';'"), "{error}");
    let (_dir, input) = folder(&[("a.csv", b"39, State-gov\n50, Private\n")]);
    let hint = Table::open(&input).expect("two columns").hint().expect("a hint");
    assert!(hint.contains("\"39\"") && hint.contains("input.csv.header = false"), "{hint}");
    let (_dir, input) = folder(&[("a.csv", b"age,job\n1,a\n")]);
    let error = Table::open(&input).expect("two columns").column("input.id", "jobb").expect_err("none").to_string();
    assert!(error.contains("did you mean \"job\"?"), "{error}");
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

fn parquet_file(batch: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("memory takes it");
    writer.into_inner().expect("memory takes it")
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[test]
fn every_way_to_hold_text_is_read_as_one_type() {
    let text = StringArray::from(vec![Some("a"), None, Some("退休"), Some("a"), Some("")]);
    let text: ArrayRef = Arc::new(text);
    let dictionary = |key, values| DataType::Dictionary(Box::new(key), Box::new(values));
    let types = [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        dictionary(DataType::Int8, DataType::Utf8),
        dictionary(DataType::UInt16, DataType::LargeUtf8),
        dictionary(DataType::Int32, DataType::Utf8View),
    ];
    for data_type in types {
        let values = cast(&text, &data_type).expect("text");
        let (_dir, input) = folder(&[("a.parquet", &parquet_file(&batch(vec![("c", values)]), 2))]);
        let table = Table::open(&input).expect("a table");
        assert_eq!(table.columns()[0].kind, ColumnKind::Text, "{data_type}");
        assert_eq!(table.columns()[0].data_type, dictionary(DataType::Int32, DataType::Utf8), "{data_type}");
        let expected: Vec<_> = ["a", "-", "退休", "a", ""].into_iter().map(|text| row(&[text])).collect();
        assert_eq!(texts(&input), expected, "{data_type}");
    }
    // Nearly unique text outgrows the dictionary page and stays plain.
    let ids = LargeStringArray::from_iter_values((0..60_000).map(|i| format!("customer-with-a-long-name-{i:09}")));
    let (_dir, input) = folder(&[("a.parquet", &parquet_file(&batch(vec![("id", Arc::new(ids))]), 60_000))]);
    let table = Table::open(&input).expect("a table");
    assert_eq!(table.columns()[0].data_type, DataType::Utf8);
    assert_eq!(texts(&input)[59_999], row(&["customer-with-a-long-name-000059999"]));
}

#[test]
fn kinds_follow_the_types_and_files_agree_where_nothing_is_lost() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let to = |data_type: DataType| cast(&numbers, &data_type).expect("a number");
    let stamp = |unit| DataType::Timestamp(unit, Some("+00:00".into()));
    let categories = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int64));
    let first = batch(vec![
        ("bool", to(DataType::Boolean)),
        ("int", to(DataType::Int32)),
        ("float", to(DataType::Float32)),
        ("decimal", to(DataType::Decimal32(9, 2))),
        ("date", to(DataType::Int32)),
        ("time", to(stamp(TimeUnit::Millisecond))),
        ("category", cast(&numbers, &categories).unwrap_or_else(|_| to(DataType::Int64))),
    ]);
    let second = batch(vec![
        ("time", to(stamp(TimeUnit::Microsecond))),
        ("bool", to(DataType::Boolean)),
        ("int", to(DataType::Int64)),
        ("float", to(DataType::Float64)),
        ("decimal", to(DataType::Decimal128(9, 2))),
        ("date", to(DataType::Int16)),
        ("category", to(DataType::Int64)),
    ]);
    let (_dir, input) = folder(&[("a.parquet", &parquet_file(&first, 10)), ("b.parquet", &parquet_file(&second, 10))]);
    let table = Table::open(&input).expect("a table");
    let types: Vec<_> = table.columns().iter().map(|column| column.data_type.clone()).collect();
    let expected = [
        DataType::Boolean,
        DataType::Int64,
        DataType::Float64,
        DataType::Decimal128(9, 2),
        DataType::Int64,
        stamp(TimeUnit::Microsecond),
        DataType::Int64,
    ];
    assert_eq!(types, expected);
    let rows = texts(&input);
    assert_eq!(rows.len(), 6);
    let time = Some("1970-01-01T00:00:00.001Z".to_owned());
    assert_eq!(rows[0][..5], row(&["true", "1", "1.0", "1.00", "1"])[..]);
    assert_eq!((&rows[0][5], &rows[0][6]), (&time, &Some("1".to_owned())));
    assert_eq!(rows[1], row(&["-"; 7]));

    let third = batch(vec![("bool", to(DataType::Int64))]);
    let fourth = batch(vec![("bool", to(DataType::Boolean))]);
    let (_dir, input) = folder(&[("a.parquet", &parquet_file(&third, 9)), ("b.parquet", &parquet_file(&fourth, 9))]);
    assert!(open_error(&input).contains("\"bool\" is Int64 in the first, Boolean in the second"));
}

#[test]
fn a_scan_gives_the_columns_asked_for_in_that_order() {
    let numbers = |from: i64| Arc::new(Int64Array::from_iter_values(from..from + 3)) as ArrayRef;
    let one = batch(vec![("a", numbers(0)), ("b", numbers(10)), ("c", numbers(20))]);
    let (_dir, input) = folder(&[("t.parquet", &parquet_file(&one, 2))]);
    let table = Table::open(&input).expect("a table");
    let chunks: Vec<Chunk> = table.scan(&[2, 0, 2], 0, 1).collect::<Result<_, _>>().expect("rows");
    let last = &chunks[1];
    assert_eq!((last.first_row, last.rows.num_rows()), (2, 1));
    let values: Vec<i64> = last.rows.columns().iter().map(|c| c.as_primitive::<Int64Type>().value(0)).collect();
    assert_eq!(values, [22, 2, 22]);
    let none: u64 = table.scan(&[], 0, 1).map(|chunk| chunk.expect("rows").rows.num_rows() as u64).sum();
    assert_eq!(none, 3);
}

#[test]
fn damaged_parquet_files_are_errors_and_never_panics() {
    let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|i| format!("v{}", i % 7))));
    let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..500));
    let good = parquet_file(&batch(vec![("t", text), ("n", number)]), 200);
    // Every eighth byte, one at a time: the file opens and gives 500 rows, or an error names it.
    for at in (0..good.len()).step_by(8) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let (_dir, input) = folder(&[("bad.parquet", &bad)]);
        match Table::open(&input).and_then(|table| share_of(&table)) {
            Ok(rows) => assert_eq!(rows, 500, "byte {at}"),
            Err(error) => assert!(error.to_string().contains("bad.parquet"), "byte {at}: {error}"),
        }
        assert!(!is_decoding());
    }
}

fn share_of(table: &Table) -> Result<usize, SourceError> {
    let columns: Vec<usize> = (0..table.columns().len()).collect();
    table.scan(&columns, 0, 1).map(|chunk| chunk.map(|chunk| chunk.rows.num_rows())).sum()
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
fn one_row_group_is_shared_evenly() {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200_000));
    let (_dir, input) = folder(&[("a.parquet", &parquet_file(&batch(vec![("id", ids)]), 200_000))]);
    let table = Table::open(&input).expect("a table");
    for workers in 1..=5 {
        let shares: Vec<u64> = (0..workers)
            .map(|worker| {
                table.scan(&[0], worker, workers).map(|chunk| chunk.expect("rows").rows.num_rows() as u64).sum()
            })
            .collect();
        assert_eq!(shares.iter().sum::<u64>(), 200_000);
        let (least, most) = (shares.iter().min().expect("a worker"), shares.iter().max().expect("a worker"));
        assert!(most - least <= super::parquet::MIN_SLICE, "{shares:?}");
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
