//! `segments.parquet`, `highlights.parquet` and `highlights.csv`.

use std::fmt::Write as _;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, ListBuilder, StringArray, StringBuilder,
};

use super::columns::{Column, write_parquet};
use super::staging::{Output, Staging, WriteError};
use super::{RunResult, SinkError};
use crate::encode::Codebook;
use crate::highlight::{Direction, Status};
use crate::job::Language;
use crate::merge::Trait;
use crate::score::{Measures, Test, measures};
use crate::segment::{Item, Segment};
use crate::stats::{MetricKind, PARTS, Stats};

/// A column of floats, null where there is none and where it is not a number that a reader can use.
pub(super) fn floats<'a, R>(name: &str, of: impl Fn(&R) -> Option<f64> + Sync + 'a) -> Column<'a, R> {
    let finite = move |row: &R| of(row).filter(|v| v.is_finite());
    Column::new(name, move |rows| rows.iter().map(&finite).collect::<Float64Array>())
}

/// Writes segments as text. Every item's text is made once, not once a segment.
pub(super) struct Texts {
    items: Vec<Vec<String>>,
}

impl Texts {
    pub fn of(codebook: &Codebook) -> Texts {
        let texts = |feature: usize| {
            let item = |code| codebook.item_text(Item { feature: feature as u16, code: code as u16 });
            (0..codebook.features[feature].cardinality()).map(item).collect()
        };
        Texts { items: (0..codebook.features.len()).map(texts).collect() }
    }

    /// As a reader of the report sees it, bands as in names: `age 30–40`.
    pub fn short(codebook: &Codebook, language: Language) -> Texts {
        let texts = |feature: usize| {
            let item = |code| Trait::of(Item { feature: feature as u16, code: code as u16 }).name(codebook, language);
            (0..codebook.features[feature].cardinality()).map(item).collect()
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
fn measure_columns<'a, R>(measures: impl Fn(&R) -> Measures + Copy + Sync + 'a) -> Vec<Column<'a, R>> {
    let float = |name, of: fn(&Measures) -> Option<f64>| floats(name, move |row| of(&measures(row)));
    vec![
        Column::new("uv", move |rows: &[R]| Int64Array::from_iter_values(rows.iter().map(|row| measures(row).uv))),
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
fn test_columns<'a, R>(
    test: impl Fn(&R) -> Option<Test> + Copy + Sync + 'a,
    q: impl Fn(&R) -> Option<f64> + Sync + 'a,
) -> Vec<Column<'a, R>> {
    let float = |name, of: fn(&Test) -> Option<f64>| floats(name, move |row| test(row).as_ref().and_then(of));
    vec![
        float("p", |t| Some(t.log_p.exp())),
        float("log_p", |t| Some(t.log_p)),
        floats("q", q),
        float("effect_low", |t| Some(t.effect_low)),
        float("effect_high", |t| Some(t.effect_high)),
        float("lift_low", |t| t.lift_low),
        float("lift_high", |t| t.lift_high),
    ]
}

/// Of the segments in these places.
fn segment_columns<'a>(texts: &'a Texts, result: &'a RunResult) -> Vec<Column<'a, usize>> {
    let all = result.segments;
    let level = |&i: &usize| all[i].segment.level() as i32;
    let mut columns = vec![
        Column::new("segment", |at: &[usize]| texts.segments(at.iter().map(|&i| all[i].segment))),
        Column::new("level", move |at: &[usize]| Int32Array::from_iter_values(at.iter().map(level))),
    ];
    columns.extend(measure_columns(|&i: &usize| all[i].measures));
    columns.extend(test_columns(|&i: &usize| all[i].test, |&i: &usize| all[i].q));
    let highlight =
        |at: &[usize]| at.iter().map(|&i| Some(all[i].status == Status::Highlight)).collect::<BooleanArray>();
    let status = |at: &[usize]| StringArray::from_iter_values(at.iter().map(|&i| all[i].status.name()));
    columns.extend([Column::new("highlight", highlight), Column::new("status", status)]);
    if result.kind != MetricKind::Rate {
        columns.push(floats("cautious_q", |&i: &usize| all[i].cautious_q));
    }
    for (metric, (name, _)) in (1..).zip(&result.secondary) {
        let (kind, scale) = (result.moments.kinds()[metric], result.scales[metric]);
        let whole = move |row: usize| -> Stats {
            (0..PARTS).map(|part| result.answer.stats(result.moments, metric, row, part)).sum()
        };
        let base = whole(0);
        let of = move |&i: &usize| measures(kind, scale, &whole(i + 1), &base);
        columns.extend([
            floats(&format!("{name}.metric_mean"), move |i| Some(of(i).metric_mean)),
            floats(&format!("{name}.lift"), move |i| of(i).lift),
            floats(&format!("{name}.effect"), move |i| Some(of(i).effect)),
        ]);
    }
    columns
}

pub(super) fn write_segments(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let texts = Texts::of(result.codebook);
    let columns = segment_columns(&texts, result);
    staging.write("segments.parquet", |out| write_parquet(out, &result.written(), &columns, |p| p))
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Over => "over",
        Direction::Under => "under",
    }
}

/// Of the highlights at these positions.
fn highlight_columns<'a>(texts: &'a Texts, result: &'a RunResult) -> Vec<Column<'a, usize>> {
    let all = result.highlights;
    let text = |name, of: fn(&RunResult, usize) -> String| {
        Column::new(name, move |at: &[usize]| StringArray::from_iter_values(at.iter().map(|&i| of(result, i))))
    };
    let int = |name, of: fn(&RunResult, usize) -> i32| {
        Column::new(name, move |at: &[usize]| Int32Array::from_iter_values(at.iter().map(|&i| of(result, i))))
    };
    let validation = |name, of: fn(&Measures) -> Option<f64>| {
        floats(name, move |&i: &usize| result.validation(&all[i]).as_ref().and_then(of))
    };
    let mut columns = vec![
        int("rank", |_, i| i as i32 + 1),
        Column::new("segment", |at: &[usize]| texts.segments(at.iter().map(|&i| all[i].segment))),
        int("level", |result, i| result.highlights[i].segment.level() as i32),
        text("direction", |result, i| direction(result.highlights[i].direction).to_owned()),
    ];
    columns.extend(measure_columns(|&i: &usize| all[i].measures));
    columns.extend(test_columns(|&i: &usize| Some(all[i].test), |&i: &usize| Some(all[i].q)));
    let folds = |i: usize| all[i].folds.iter().map(|&fold| texts.segment(fold)).collect::<Vec<_>>();
    let harms = |i: usize| result.harms(&all[i]).map(str::to_owned).collect::<Vec<_>>();
    let validation_uv =
        |at: &[usize]| at.iter().map(|&i| result.validation(&all[i]).map(|m| m.uv)).collect::<Int64Array>();
    let added_uv = |at: &[usize]| at.iter().map(|&i| result.added(&all[i]).map(|m| m.uv)).collect::<Int64Array>();
    let validated = |at: &[usize]| at.iter().map(|&i| all[i].validated).collect::<BooleanArray>();
    let groups = result.group_of_highlights();
    let group = move |at: &[usize]| at.iter().map(|&i| groups[i].map(|id| id as i32)).collect::<Int32Array>();
    columns.extend([
        floats("shrunken_lift", |&i: &usize| all[i].shrunken_lift),
        floats("shrunken_effect", |&i: &usize| Some(all[i].shrunken_effect)),
        Column::new("validation_uv", validation_uv),
        validation("validation_mean", |m| Some(m.metric_mean)),
        validation("validation_lift", |m| m.lift),
        floats("validation_p", |&i: &usize| result.validation(&all[i]).and(all[i].validation_log_p).map(f64::exp)),
        Column::new("validated", validated),
        Column::new("folds", move |at: &[usize]| lists(at, folds)),
        text("sql", |result, i| result.codebook.sql(result.highlights[i].segment)),
        Column::new("group", group),
        int("direction_rank", |result, i| result.direction_rank(i) as i32),
        Column::new("added_uv", added_uv),
        floats("added_impact", |&i: &usize| result.added(&all[i]).map(|m| m.impact)),
        floats("expected_profit", |&i: &usize| all[i].expected_profit),
        Column::new("harms", move |at: &[usize]| lists(at, harms)),
    ]);
    for (place, (name, _)) in result.secondary.iter().enumerate() {
        let of = move |i: usize| all[i].secondary[place];
        columns.extend([
            floats(&format!("{name}.metric_mean"), move |&i: &usize| Some(of(i).measures.metric_mean)),
            floats(&format!("{name}.lift"), move |&i: &usize| of(i).measures.lift),
            floats(&format!("{name}.effect"), move |&i: &usize| Some(of(i).measures.effect)),
            floats(&format!("{name}.effect_low"), move |&i: &usize| of(i).effect.map(|[low, _]| low)),
            floats(&format!("{name}.effect_high"), move |&i: &usize| of(i).effect.map(|[_, high]| high)),
        ]);
    }
    columns
}

/// A list of texts for each place.
fn lists(at: &[usize], of: impl Fn(usize) -> Vec<String>) -> ListArray {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for &i in at {
        of(i).iter().for_each(|text| lists.values().append_value(text));
        lists.append(true);
    }
    lists.finish()
}

pub(super) fn write_highlights(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let texts = Texts::of(result.codebook);
    let columns = highlight_columns(&texts, result);
    let all: Vec<usize> = (0..result.highlights.len()).collect();
    staging.write("highlights.parquet", |out| write_parquet(out, &all, &columns, |p| p))?;
    let columns: Vec<(&str, ArrayRef)> = columns.iter().map(|column| (column.name(), column.values(&all))).collect();
    staging.write("highlights.csv", |out| write_csv(out, &columns))
}

/// The same columns for a spreadsheet, RFC 4180. Text that a spreadsheet would take for a formula gets a leading `'`.
fn write_csv(output: &mut Output, columns: &[(&str, ArrayRef)]) -> Result<(), WriteError> {
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
    use arrow::array::{Array, AsArray, RecordBatch};
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
             p log_p q effect_low effect_high lift_low lift_high highlight status \
             spend.metric_mean spend.lift spend.effect"
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
