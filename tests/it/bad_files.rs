//! Files that are not what they are taken for: in another form, damaged or cut.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use crate::bad_input::{AMOUNT, Bench, CSV, PARQUET, RATE, batch, csv, job, quality};
use crate::program::Dice;

#[test]
fn wrong_delimiter_is_guessed() {
    let bench = Bench::with_table(csv(200, |_| {}).replace(',', ";"));
    bench.refused(&job(CSV, RATE, ""), 3, &["input.id", "\"id\"", "delimiter", "\";\""]);
    bench.published(&job(&format!("{CSV}\ncsv = {{ delimiter = \";\" }}"), RATE, ""));
    let bench = Bench::with_table(csv(200, |_| {}).replace(',', "\t"));
    bench.refused(&job(CSV, RATE, ""), 3, &["input.id", "delimiter", "\"\\t\""]);
}

#[test]
fn damaged_parquet_is_named_and_never_a_panic_or_a_hang() {
    let bench = Bench::with_parquet(&batch(&[(
        "amount",
        Arc::new(Float64Array::from_iter_values((0..200).map(f64::from))) as ArrayRef,
    )]));
    let table = bench.folder.path("t.parquet");
    let whole = std::fs::read(&table).unwrap();
    let text = job(PARQUET, AMOUNT, "");
    for cut in [0, 1, 4, 8, 100, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        std::fs::write(&table, &whole[..cut]).unwrap();
        bench.refused(&text, 3, &["t.parquet"]);
    }
    let mut dice = Dice(9);
    for _ in 0..30 {
        let mut bytes = whole.clone();
        let at = dice.roll(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.roll(8);
        std::fs::write(&table, &bytes).unwrap();
        let ended = bench.run(&text, "-w 2");
        // A flipped bit of a value is a value.
        assert!(matches!(ended.code, Some(0 | 3 | 4)), "byte {at}: {ended:?}");
        assert!(!ended.err.contains("bug in nichemine"), "byte {at}: {}", ended.err);
        bench.folder.nichemine("verify out/latest").well();
        let described = bench.folder.nichemine("describe t.parquet");
        assert!(matches!(described.code, Some(0 | 3)), "byte {at}: {described:?}");
        assert!(!described.err.contains("bug in nichemine"), "byte {at}: {}", described.err);
    }
    std::fs::write(&table, b"id,y\n1,2\n").unwrap();
    bench.refused(&text, 3, &["t.parquet"]);
}

#[test]
fn csv_that_is_not_utf_8_is_told_how_to_convert() {
    let mut bytes = b"id,city,y\n".to_vec();
    for i in 0..200 {
        bytes.extend(format!("{i},").bytes());
        // Shanghai in GBK.
        bytes.extend([0xc9, 0xcf, 0xba, 0xa3]);
        bytes.extend(format!(",{}\n", i % 2).bytes());
    }
    Bench::with_table(&bytes).refused(&job(CSV, RATE, ""), 4, &["t.csv", "line 2", "iconv", "GB18030"]);
    let utf16: Vec<u8> = csv(50, |_| {}).encode_utf16().flat_map(u16::to_le_bytes).collect();
    Bench::with_table([vec![0xff, 0xfe], utf16].concat()).refused(&job(CSV, RATE, ""), 3, &["t.csv", "UTF-16"]);
}

#[test]
fn header_that_does_not_name_every_column_once_is_refused() {
    let rows = csv(50, |_| {});
    let with = |header: &str| Bench::with_table(rows.replacen("id,city,plan,amount,y", header, 1));
    with("id,city,city,amount,y").refused(&job(CSV, RATE, ""), 3, &["t.csv", "\"city\"", "twice"]);
    with("id,city,,amount,y").refused(&job(CSV, RATE, ""), 3, &["t.csv", "column 3", "no name"]);
    let schema = Schema::new(vec![Field::new("y", DataType::Int64, true), Field::new("y", DataType::Int64, true)]);
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..20));
    let twice = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&column), column]).unwrap();
    Bench::with_parquet(&twice).refused(&job("path = \"t.parquet\"", RATE, ""), 3, &["\"y\"", "twice"]);
    // A byte order mark and line ends of Windows are no damage.
    let bench = Bench::with_table(format!("\u{feff}{}", rows.replace('\n', "\r\n")));
    assert_eq!(quality(&bench.published(&job(CSV, RATE, "")))["customers"], 50);
}

#[test]
fn quote_that_is_never_closed_is_found_where_it_opens() {
    let bench = Bench::with_table(csv(200, |row| {
        if row.number == 30 {
            row.city = "\"Lyon".into();
        }
    }));
    bench.refused(&job(CSV, RATE, ""), 3, &["t.csv", "line 32", "never closed", "input.csv.quote"]);
}
