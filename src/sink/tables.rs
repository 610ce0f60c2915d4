//! `segments.parquet`, `highlights.parquet` and `highlights.csv`.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::staging::{Output, Staging, WriteError};
use super::{RunResult, SinkError};
use crate::encode::Codebook;
use crate::highlight::{Direction, Highlight};
use crate::score::{Measures, Scored, Test};
use crate::segment::{Item, Segment};

/// Rows converted at a time: enough for the writer to work on, little beside the segments themselves.
const BATCH: usize = 1 << 16;

/// A named column of a table being built.
pub(super) type Column = (String, ArrayRef);

/// Writes batches of one schema, with nothing in the bytes that depends on the clock or the machine.
pub(super) fn write_parquet(
    output: &mut Output,
    batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
    schema: SchemaRef,
) -> Result<(), WriteError> {
    let zstd = ZstdLevel::try_new(1).expect("level 1 is in zstd's range");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_dictionary_enabled(true)
        .set_created_by(concat!("nichemine version ", env!("CARGO_PKG_VERSION")).into())
        .build();
    // The Arrow schema beside Parquet's own would add nothing: all types are plain.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(output, schema, options)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

/// The schema of some columns; the text, number and flag columns of every output may be null but need not be.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|(name, c)| Field::new(name, c.data_type().clone(), true)).collect::<Vec<_>>(),
    ))
}

pub(super) fn batch(schema: &SchemaRef, columns: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect())
}

fn column(name: &str, array: impl arrow::array::Array + 'static) -> Column {
    (name.to_owned(), Arc::new(array))
}

/// A column of floats, null where there is none and where it is not a number that a reader can use.
fn floats(name: &str, values: impl Iterator<Item = Option<f64>>) -> Column {
    column(name, values.map(|v| v.filter(|v| v.is_finite())).collect::<Float64Array>())
}

/// Writes segments as text. Every item's text is made once, not once a segment.
pub(super) struct Texts {
    items: Vec<Vec<String>>,
}

impl Texts {
    pub fn of(codebook: &Codebook) -> Texts {
        let texts = |feature: usize| {
            let item = |code| codebook.item_text(Item { feature: feature as u16, code: code as u16 });
            (0..codebook.features[feature].items.len()).map(item).collect()
        };
        Texts { items: (0..codebook.features.len()).map(texts).collect() }
    }

    pub fn item(&self, item: Item) -> &str {
        &self.items[usize::from(item.feature)][usize::from(item.code)]
    }

    /// The parts whose concatenation is the segment's text.
    fn parts(&self, segment: Segment) -> impl Iterator<Item = &str> {
        let separated = |(position, item)| [if position == 0 { "" } else { " & " }, self.item(item)];
        segment.items().enumerate().flat_map(separated)
    }

    pub fn segment(&self, segment: Segment) -> String {
        self.parts(segment).collect()
    }

    pub fn segments(&self, segments: impl Iterator<Item = Segment>) -> StringArray {
        let mut builder = StringBuilder::new();
        for segment in segments {
            for part in self.parts(segment) {
                builder.write_str(part).expect("memory does not refuse text");
            }
            builder.append_value("");
        }
        builder.finish()
    }
}

/// The measures in the order in which every table has them, from `uv` to `metric_share`.
fn measure_columns<'a>(measures: impl Iterator<Item = &'a Measures> + Clone) -> Vec<Column> {
    let float = |name, of: fn(&Measures) -> Option<f64>| floats(name, measures.clone().map(of));
    vec![
        column("uv", Int64Array::from_iter_values(measures.clone().map(|m| m.uv))),
        float("uv_share", |m| Some(m.uv_share)),
        float("metric_sum", |m| Some(m.metric_sum)),
        float("metric_mean", |m| Some(m.metric_mean)),
        float("lift", |m| m.lift),
        float("effect", |m| Some(m.effect)),
        float("impact", |m| Some(m.impact)),
        float("metric_share", |m| m.metric_share),
    ]
}

/// `p` to `lift_high`.
fn test_columns<'a>(tests: impl Iterator<Item = (Option<&'a Test>, Option<f64>)> + Clone) -> Vec<Column> {
    let float = |name, of: fn(&Test) -> Option<f64>| floats(name, tests.clone().map(|(t, _)| t.and_then(of)));
    vec![
        float("p", |t| Some(t.log_p.exp())),
        float("log_p", |t| Some(t.log_p)),
        floats("q", tests.clone().map(|(_, q)| q)),
        float("effect_low", |t| Some(t.effect_low)),
        float("effect_high", |t| Some(t.effect_high)),
        float("lift_low", |t| t.lift_low),
        float("lift_high", |t| t.lift_high),
    ]
}

fn segment_columns(texts: &Texts, rows: &[Scored]) -> Vec<Column> {
    let mut columns = vec![
        column("segment", texts.segments(rows.iter().map(|r| r.segment))),
        column("level", Int32Array::from_iter_values(rows.iter().map(|r| r.segment.level() as i32))),
    ];
    columns.extend(measure_columns(rows.iter().map(|r| &r.measures)));
    columns.extend(test_columns(rows.iter().map(|r| (r.test.as_ref(), r.q))));
    columns.push(column("highlight", rows.iter().map(|r| Some(r.highlight)).collect::<BooleanArray>()));
    columns
}

pub(super) fn write_segments(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let texts = Texts::of(result.codebook);
    let schema = schema(&segment_columns(&texts, &[]));
    let batches = result.segments.chunks(BATCH).map(|rows| batch(&schema, segment_columns(&texts, rows)));
    staging.write("segments.parquet", |out| write_parquet(out, batches, schema.clone()))
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Over => "over",
        Direction::Under => "under",
    }
}

fn highlight_columns(texts: &Texts, result: &RunResult) -> Vec<Column> {
    let rows: &[Highlight] = result.highlights;
    let mut columns = vec![
        column("rank", Int32Array::from_iter_values(1..=rows.len() as i32)),
        column("segment", texts.segments(rows.iter().map(|h| h.segment))),
        column("level", Int32Array::from_iter_values(rows.iter().map(|h| h.segment.level() as i32))),
        column("direction", StringArray::from_iter_values(rows.iter().map(|h| direction(h.direction)))),
    ];
    columns.extend(measure_columns(rows.iter().map(|h| &h.measures)));
    columns.extend(test_columns(rows.iter().map(|h| (Some(&h.test), Some(h.q)))));
    let validation = |of: fn(&Measures) -> Option<f64>| rows.iter().map(move |h| h.validation.as_ref().and_then(of));
    let mut folds = ListBuilder::new(StringBuilder::new());
    for highlight in rows {
        for fold in &highlight.folds {
            folds.values().append_value(texts.segment(*fold));
        }
        folds.append(true);
    }
    columns.extend([
        floats("shrunken_lift", rows.iter().map(|h| h.shrunken_lift)),
        floats("shrunken_effect", rows.iter().map(|h| Some(h.shrunken_effect))),
        column("validation_uv", rows.iter().map(|h| h.validation.map(|m| m.uv)).collect::<Int64Array>()),
        floats("validation_mean", validation(|m| Some(m.metric_mean))),
        floats("validation_lift", validation(|m| m.lift)),
        floats("validation_p", rows.iter().map(|h| h.validation_log_p.map(f64::exp))),
        column("validated", rows.iter().map(|h| h.validated).collect::<BooleanArray>()),
        column("folds", folds.finish()),
        column("sql", StringArray::from_iter_values(rows.iter().map(|h| result.codebook.sql(h.segment)))),
        column("group", result.group_of_highlights().iter().map(|g| g.map(|id| id as i32)).collect::<Int32Array>()),
    ]);
    columns
}

pub(super) fn write_highlights(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let columns = highlight_columns(&Texts::of(result.codebook), result);
    let schema = schema(&columns);
    let rows = batch(&schema, columns.clone());
    staging.write("highlights.parquet", |out| write_parquet(out, [rows], schema.clone()))?;
    staging.write("highlights.csv", |out| write_csv(out, &columns))
}

/// The same columns for a spreadsheet, RFC 4180. Text that a spreadsheet would take for a formula gets a leading `'`.
fn write_csv(output: &mut Output, columns: &[Column]) -> Result<(), WriteError> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};

    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(output);
    writer.write_record(columns.iter().map(|(name, _)| name))?;
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    for row in 0..rows {
        for (_, column) in columns {
            let cell = if column.is_null(row) {
                String::new()
            } else {
                match column.data_type() {
                    DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
                    DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
                    // As Rust writes it for itself: 1e-300 rather than 300 zeros.
                    DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
                    DataType::Boolean => column.as_boolean().value(row).to_string(),
                    DataType::List(_) => {
                        let list = column.as_list::<i32>().value(row);
                        inert(list.as_string::<i32>().iter().flatten().collect::<Vec<_>>().join("\n"))
                    }
                    _ => inert(column.as_string::<i32>().value(row).to_owned()),
                }
            };
            writer.write_field(cell)?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()?;
    Ok(())
}

/// Text that no spreadsheet runs (OWASP, "CSV injection").
fn inert(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\0']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample::Sample;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn written(name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let sample = Sample::new();
        let dir = tempfile::tempdir().expect("a folder");
        let staging = Staging::new(dir.path().join("run")).expect("a folder");
        write_segments(&staging, &sample.result()).expect("written");
        write_highlights(&staging, &sample.result()).expect("written");
        let path = staging.root.join(name);
        (dir, path)
    }

    fn read(name: &str) -> RecordBatch {
        let (_dir, path) = written(name);
        let file = std::fs::File::open(path).expect("a file");
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet");
        assert_eq!(builder.metadata().file_metadata().created_by(), Some("nichemine version 0.1.0"));
        let mut batches = builder.build().expect("a reader");
        batches.next().expect("a batch").expect("readable")
    }

    fn names(batch: &RecordBatch) -> Vec<String> {
        batch.schema().fields().iter().map(|f| f.name().clone()).collect()
    }

    #[test]
    fn segments_have_the_columns_that_scripts_rely_on_in_their_order() {
        let batch = read("segments.parquet");
        assert_eq!(
            names(&batch).join(" "),
            "segment level uv uv_share metric_sum metric_mean lift effect impact metric_share \
             p log_p q effect_low effect_high lift_low lift_high highlight"
        );
        let types: Vec<String> = batch.schema().fields().iter().map(|f| f.data_type().to_string()).collect();
        assert_eq!(types[..3], ["Utf8", "Int32", "Int64"]);
        assert!(types[3..17].iter().all(|t| t == "Float64"), "{types:?}");
        assert_eq!(types[17], "Boolean");
    }

    #[test]
    fn segments_read_back_as_they_were_given() {
        let batch = read("segments.parquet");
        let text = batch.column(0).as_string::<i32>();
        assert_eq!(text.value(0), "职业=学生");
        assert_eq!(text.value(1), "职业=退休 & 渠道==cmd()");
        assert_eq!(batch.column(1).as_primitive::<Int32Type>().values(), &[1, 2, 1]);
        assert_eq!(batch.column(2).as_primitive::<Int64Type>().values(), &[100, 40, 50]);
        let lift = batch.column_by_name("lift").expect("lift").as_primitive::<Float64Type>();
        assert_eq!(lift.value(1), 4.0);
        let log_p = batch.column_by_name("log_p").expect("log_p").as_primitive::<Float64Type>();
        assert_eq!((log_p.value(1), log_p.is_null(2)), (-800.0, true));
        // exp(-800) is below the smallest double.
        assert_eq!(batch.column_by_name("p").expect("p").as_primitive::<Float64Type>().value(1), 0.0);
        let high = batch.column_by_name("lift_high").expect("lift_high").as_primitive::<Float64Type>();
        assert!(high.is_null(0), "an infinite bound is no number");
        assert!(batch.column(17).as_boolean().value(1) && !batch.column(17).as_boolean().value(0));
    }

    #[test]
    fn highlights_carry_validation_folds_rule_and_group() {
        let batch = read("highlights.parquet");
        let of = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("column {name}")).clone();
        assert_eq!(of("rank").as_primitive::<Int32Type>().values(), &[1, 2]);
        assert_eq!(of("direction").as_string::<i32>().value(1), "under");
        assert!(of("validated").as_boolean().value(0));
        assert_eq!(of("validation_uv").as_primitive::<Int64Type>().value(0), 12);
        let folds = of("folds");
        assert_eq!(folds.as_list::<i32>().value(0).as_string::<i32>().value(0), "渠道==cmd()");
        assert_eq!(folds.as_list::<i32>().value(1).len(), 0);
        assert_eq!(of("sql").as_string::<i32>().value(0), r#""职业" = '退休' AND "渠道" = '=cmd()'"#);
        assert_eq!(of("group").as_primitive::<Int32Type>().values(), &[1, 2]);
    }

    #[test]
    fn a_spreadsheet_finds_no_formula_in_the_csv_and_numbers_stay_numbers() {
        let (_dir, path) = written("highlights.csv");
        let text = std::fs::read_to_string(path).expect("text");
        assert!(text.contains("\r\n"));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().expect("a header").clone();
        let column = |name: &str| header.iter().position(|h| h == name).expect("column");
        let rows: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("a row")).collect();
        assert_eq!(&rows[1][column("segment")], "'-x<b>=</script>", "a feature's name starts the text");
        assert_eq!(&rows[1][column("effect")], "-0.1", "a negative number is no formula");
        assert_eq!(&rows[1][column("sql")], r#""-x<b>" = '</script>'"#);
        for (row, field) in rows.iter().flat_map(|r| r.iter().map(move |f| (r, f))) {
            let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
            assert!(!formula, "{field:?} in {row:?}");
        }
    }

    #[test]
    fn text_of_many_parts_survives_quoting() {
        for text in ["a,b", "a\"b", "a\nb", "-1 or so", "\tx", "@SUM(A1)"] {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record([inert(text.to_owned())]).expect("written");
            let bytes = writer.into_inner().expect("flushed");
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
            let row = reader.records().next().expect("a row").expect("readable");
            assert_eq!(row[0].strip_prefix('\'').unwrap_or(&row[0]), text);
        }
    }
}
