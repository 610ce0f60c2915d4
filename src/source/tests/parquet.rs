//! Parquet files of all kinds, and damaged ones.

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use arrow::array::LargeStringArray;
use arrow::datatypes::{Int64Type, TimeUnit};

use super::*;
use crate::source::parquet::MIN_SLICE;

pub(super) fn parquet_file(batch: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("memory takes it");
    writer.into_inner().expect("memory takes it")
}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
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
    let value = |place: usize| last.values(place, last.rows.column(place)).as_primitive::<Int64Type>().value(0);
    let values: Vec<i64> = (0..3).map(value).collect();
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
        assert!(most - least <= MIN_SLICE, "{shares:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, rng_seed: proptest::test_runner::RngSeed::Fixed(3), ..ProptestConfig::default() })]

    /// The library's own reader is the oracle.
    #[test]
    fn columns_of_few_values_are_read_as_the_library_reads_them(
        rows in proptest::collection::vec((0u32..1000, any::<bool>(), any::<i32>()), 1..1500),
        distinct in proptest::sample::select(vec![1u32, 2, 3, 8, 100, 255, 256, 257, 900]),
        nulls in proptest::sample::select(vec![0u32, 3, 500, 1000]),
        page in proptest::sample::select(vec![7usize, 100, 5000]), group in 1usize..900,
        second in any::<bool>(), snappy in any::<bool>(),
    ) {
        // Runs as well as single values.
        let value = |i: usize| rows[if rows[i].1 { i / 50 * 50 } else { i }].0;
        let value = |i: usize| (value(i) >= nulls || nulls == 0).then(|| value(i) % distinct);
        let all = 0..rows.len();
        let text: StringArray = all.clone().map(|i| value(i).map(|v| format!("v{v}退"))).collect();
        let ints: Int64Array = all.clone().map(|i| value(i).map(|v| i64::from(v) * 7_000_000_000 - 9)).collect();
        let small: arrow::array::Int32Array = all.map(|i| value(i).map(|v| v as i32 - 5)).collect();
        let plain: arrow::array::Int32Array = rows.iter().map(|row| Some(row.2)).collect();
        let one = batch(vec![
            ("text", Arc::new(text)), ("ints", Arc::new(ints)), ("small", Arc::new(small)), ("plain", Arc::new(plain)),
        ]);
        let version = if second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .set_data_page_row_count_limit(page)
            .set_write_batch_size(page.min(64))
            .set_writer_version(version)
            .set_compression(if snappy { Compression::SNAPPY } else { Compression::UNCOMPRESSED })
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), one.schema(), Some(properties)).expect("a writer");
        writer.write(&one).expect("memory takes it");
        let (_dir, input) = folder(&[("t.parquet", &writer.into_inner().expect("memory takes it"))]);
        let table = Table::open(&input).expect("a table");
        let (found, ..) = merged(&table, 1);
        let texts: Vec<ArrayRef> = one.columns().iter().map(|c| cast(c, &DataType::Utf8).expect("text of anything")).collect();
        for (i, (_, row, fields)) in found.iter().enumerate() {
            let expected = texts.iter().map(|c| c.is_valid(i).then(|| c.as_string::<i32>().value(i).to_owned()));
            prop_assert_eq!((*row, fields), (i as u64, &expected.collect::<Vec<_>>()));
        }
        prop_assert_eq!(found.len(), rows.len());
    }
}

/// One row group in pages, read in slices: a worker passes over the pages before its own.
#[test]
fn slices_of_a_row_group_pass_over_what_is_before_them() {
    let rows = 6 * MIN_SLICE as usize + 77;
    let text: StringArray = (0..rows).map(|i| (i % 11 > 0).then(|| format!("v{}", i / 100 % 9))).collect();
    let ints: Int64Array = (0..rows).map(|i| Some((i / 1000) as i64)).collect();
    let one = batch(vec![("text", Arc::new(text)), ("ints", Arc::new(ints))]);
    for limit in [1000, rows] {
        let properties = WriterProperties::builder().set_data_page_row_count_limit(limit).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), one.schema(), Some(properties)).expect("a writer");
        writer.write(&one).expect("memory takes it");
        let (_dir, input) = folder(&[("t.parquet", &writer.into_inner().expect("memory takes it"))]);
        let table = Table::open(&input).expect("a table");
        let alone = merged(&table, 1);
        assert_eq!(alone.0.len(), rows);
        assert!((2..=4).all(|workers| merged(&table, workers) == alone));
    }
}

/// A date before the year 1678 has no count of nanoseconds in 64 bits, so the wider type of the two files cannot hold it.
#[test]
fn a_value_that_the_common_type_cannot_hold_is_an_error_and_not_a_null() {
    let stamps = |unit, value: i64| {
        cast(&(Arc::new(Int64Array::from(vec![value])) as ArrayRef), &DataType::Timestamp(unit, None)).expect("a time")
    };
    let old = batch(vec![("t", stamps(TimeUnit::Millisecond, -20_000_000_000_000))]);
    let new = batch(vec![("t", stamps(TimeUnit::Nanosecond, 1))]);
    let (_dir, input) = folder(&[("a.parquet", &parquet_file(&old, 9)), ("b.parquet", &parquet_file(&new, 9))]);
    let error = scan_error(&input).to_string();
    assert!(error.contains("a.parquet") && error.contains("column \"t\""), "{error}");
}

#[test]
fn a_footer_that_contradicts_itself_is_refused() {
    let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
    let good = parquet_file(&batch(vec![("n", rows)]), 10);
    // In thrift's compact form a 64-bit field next to its predecessor begins with 0x16, and 6 is 12. Three such fields
    // count rows: the file's, the values of the column chunk, and the row group's, in this order.
    let mut messages = Vec::new();
    for at in (0..good.len()).filter(|at| good[*at..].starts_with(&[0x16, 12])) {
        let mut bad = good.clone();
        bad[at + 1] = 0;
        let (_dir, input) = folder(&[("lies.parquet", &bad)]);
        if let Err(error @ SourceError::RowCount { .. }) = Table::open(&input) {
            assert!(error.to_string().contains("lies.parquet") && error.kind() == ErrorKind::Input, "{error}");
            let SourceError::RowCount { place, declared, found, .. } = error else { unreachable!() };
            messages.push((place, declared, found));
        }
    }
    let row_group = || "row group 0".to_owned();
    assert_eq!(messages, [("the footer".to_owned(), 0, 6), (row_group(), 6, 0), (row_group(), 0, 6)]);
}
