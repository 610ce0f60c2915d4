//! The rows of any table to codes by the codebook of a run, chunk by chunk; what the run did not know is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::codebook::{Feature, ItemValue};
use super::coder::{Coder, respelled};
use super::features::LocalFeature;
use super::ids::{LocalIds, written};
use super::intake::{BadRow, Problem, Sieve};
use super::reading::{FeatureInput, Reading};
use super::shard::Codes;
use super::strangers::Strangers;
use crate::job::Job;
use crate::source::{Chunk, ColumnKind, Rejects, Table};

/// Bytes of a column's distinct texts after which they are forgotten: of a column with ever new ones memory does not grow.
const MOST_TEXT: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };

/// One thread's way from chunks to codes.
#[derive(Debug)]
pub struct Coding<'a> {
    reading: &'a Reading,
    sieve: Sieve,
    ids: LocalIds,
    features: Vec<Fixed>,
    pub rejects: Rejects,
}

/// One feature, with what is known of its column's values.
#[derive(Debug)]
struct Fixed {
    kind: ColumnKind,
    coder: Coder,
    local: LocalFeature,
    /// Whether every value that the run saw is an item, so that others are told.
    named: bool,
    /// Whether the items are of numbers.
    numbers: bool,
    strangers: Strangers,
}

/// Some usable rows of the table, in its order.
#[derive(Debug)]
pub struct Coded {
    pub rows: usize,
    /// As they are written: whole numbers of 64 bits, or text; row numbers over all files where the job has no id.
    pub ids: ArrayRef,
    /// By feature.
    pub codes: Vec<Codes>,
}

impl<'a> Coding<'a> {
    /// `features` are those of a codebook that `reading` is for, in the same order.
    pub fn new(job: &Job, table: &Table, reading: &'a Reading, features: &[Feature]) -> Coding<'a> {
        let kind = |place: usize| table.columns()[reading.columns[place]].kind.clone();
        let fixed = features.iter().zip(&reading.features).map(|(feature, input)| {
            let kind = kind(input.column);
            // The code of rest stands for whatever is no item.
            let coder = Coder::of(&Feature { rest: true, ..respelled(feature, &kind) });
            let named = !feature.rest && feature.tags.is_none();
            let is_number =
                |item: &ItemValue| matches!(item, ItemValue::Int(_) | ItemValue::Number(_) | ItemValue::Range { .. });
            let numbers = feature.tags.is_none() && feature.items.iter().any(is_number);
            Fixed { local: local(input, &kind), kind, coder, named, numbers, strangers: Strangers::default() }
        });
        Coding {
            sieve: Sieve::new(job, table),
            ids: LocalIds::new(reading.id.map(kind).as_ref()),
            features: fixed.collect(),
            rejects: Rejects::default(),
            reading,
        }
    }

    /// Codes the usable rows of a chunk. `before` is how many rows the files before this one have.
    pub fn code(&mut self, chunk: &Chunk, before: u64) -> Result<Coded, BadRow> {
        let mut problems: BTreeMap<usize, Problem> = BTreeMap::new();
        let mut report = |row: usize, problem: &dyn Fn() -> Problem| {
            problems.entry(row).or_insert_with(problem);
        };
        let columns = &chunk.rows;
        if let Some(id) = self.reading.id {
            let name = columns.schema_ref().field(id).name();
            self.ids.check(&chunk.values(id, columns.column(id)), name, &mut report);
        }
        for (feature, input) in self.features.iter_mut().zip(&self.reading.features) {
            feature.local.check(input, chunk, &mut report);
        }
        let (kept, batch) = self.sieve.usable(chunk, &problems, &mut self.rejects)?;
        let ids = match self.reading.id {
            Some(id) => written(&chunk.values(id, batch.column(id))),
            None => {
                let kept = (0..columns.num_rows()).filter(|&i| kept.as_ref().is_none_or(|kept| kept[i]));
                Arc::new(Int64Array::from_iter_values(kept.map(|i| (before + chunk.row_number(i)) as i64)))
            }
        };
        let codes = self.features.iter_mut().zip(&self.reading.features).map(|(feature, input)| {
            feature.local.push_of(input, chunk, batch.column(input.column));
            if feature.numbers {
                feature.strangers.tell_numerals(&feature.local);
            }
            let codes = feature.coder.take_counted(&mut feature.local, feature.named, &mut feature.strangers);
            if feature.local.text() > MOST_TEXT {
                feature.local = local(input, &feature.kind);
                feature.coder.forget();
            }
            codes
        });
        Ok(Coded { rows: batch.num_rows(), ids, codes: codes.collect() })
    }

    /// By feature, what was no item.
    pub fn strangers(self) -> Vec<Strangers> {
        self.features.into_iter().map(|feature| feature.strangers).collect()
    }
}

/// A column without rows; it gives up on no number of values.
fn local(input: &FeatureInput, kind: &ColumnKind) -> LocalFeature {
    LocalFeature::new(input, kind, usize::MAX)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::encode::TagSource;
    use crate::segment::ItemCode;

    fn feature(name: &str, items: Vec<ItemValue>) -> Feature {
        let uv = vec![0; items.len()];
        let (name, column) = (name.to_owned(), name.to_owned());
        Feature { name, column, items, uv, ..Feature::default() }
    }

    /// Codes of one feature over all rows of a CSV with the columns `f` and `g`, and the strangers of it.
    fn coded(features: &[Feature], csv: &str, settings: &str) -> (Vec<Vec<Vec<ItemCode>>>, Vec<i64>, Vec<Strangers>) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("t.csv"), csv).expect("written");
        let text = format!(
            "input.path = {:?}\nmetric = {{ column = \"y\", kind = \"rate\" }}\noutput.dir = \"out\"\n{settings}",
            folder.path().join("t.csv")
        );
        let job = Job::parse(&text, std::path::Path::new("job.toml"), &[]).expect("a job");
        let table = Table::open(&job.input).expect("a table");
        let reading = Reading::of_codebook(&job, &table, features).expect("columns");
        let mut coding = Coding::new(&job, &table, &reading, features);
        let (mut codes, mut rows) = (vec![Vec::new(); features.len()], Vec::new());
        for chunk in table.scan(&reading.columns, 0, 1) {
            let coded = coding.code(&chunk.expect("readable"), 1000).expect("good rows");
            rows.extend(coded.ids.as_primitive::<Int64Type>().values());
            for (all, own) in codes.iter_mut().zip(&coded.codes) {
                all.extend((0..own.len()).map(|row| match own {
                    Codes::Tags(tags) => tags.row(row).to_vec(),
                    one => vec![one.at(row)],
                }));
            }
        }
        (codes, rows, coding.strangers())
    }

    #[test]
    fn values_that_are_no_item_have_a_code_of_their_own_however_many_items_and_values_there_are() {
        for items in [3usize, 255, 256, 257, 1000] {
            let texts = (0..items).map(|item| ItemValue::Text(format!("v{item}"))).collect();
            let numbers = (0..items).map(|item| ItemValue::Int(item as i64)).collect();
            // Far more text than is remembered, and every value again after it was forgotten.
            let value = |row: usize| (row * 7919) % 2003;
            let mut csv = String::from("f,g\n");
            (0..9_000).for_each(|row| csv.push_str(&format!("v{},{}\n", value(row), value(row))));
            let (codes, rows, strangers) = coded(&[feature("f", texts), feature("g", numbers)], &csv, "");
            assert_eq!(rows, (1000..10_000).collect::<Vec<i64>>());
            let expected: Vec<Vec<ItemCode>> = (0..9_000).map(|row| vec![value(row).min(items) as ItemCode]).collect();
            assert!(codes == [expected.clone(), expected], "{items} items");
            let others = (0..9_000).filter(|&row| value(row) >= items).count() as u64;
            for (of, name) in strangers.iter().zip(["v1500", "1500"]) {
                assert_eq!((of.missing, of.others), (0, others), "{items} items");
                let own = (0..9_000).filter(|&row| value(row) == 1500).count() as u64;
                assert!(of.examples(usize::MAX, 1).contains(&(name.to_owned(), own)), "{name}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_its_item_or_what_it_was_completed_with_or_none() {
        let items = vec![ItemValue::Text("a".into()), ItemValue::Missing];
        let mut completed = feature("f", vec![ItemValue::Text("a".into()), ItemValue::Text("b".into())]);
        completed.completed = Some(1);
        let plain = Feature { completed: None, ..completed.clone() };
        let csv = "f\na\n?\nb\n\"\"\n";
        let null = "features.f.null_values = [\"?\"]\n";
        let of = |feature: Feature| {
            let (codes, _, strangers) = coded(&[feature], csv, null);
            (codes[0].iter().map(|codes| codes[0]).collect::<Vec<_>>(), strangers[0].missing, strangers[0].others)
        };
        assert_eq!(of(feature("f", items)), (vec![0, 1, 2, 1], 0, 1));
        assert_eq!(of(completed), (vec![0, 1, 1, 1], 0, 0));
        assert_eq!(of(plain), (vec![0, 2, 1, 2], 2, 0));
    }

    #[test]
    fn bands_are_those_of_the_items_and_a_band_that_is_none_is_left_out() {
        let range = |low, high| ItemValue::Range { low, high };
        // [10,20) had too few customers.
        let bands = feature("f", vec![range(None, Some(10.0)), range(Some(20.0), Some(30.0)), range(Some(30.0), None)]);
        let csv = "f\n-1e300\n9.99\n10\n 19.9\n20\n30\n1e300\nten\n";
        let (codes, _, strangers) = coded(&[bands], csv, "");
        assert_eq!(codes[0].concat(), [0, 0, 3, 3, 1, 2, 2, 3]);
        assert_eq!((strangers[0].missing, strangers[0].others), (0, 3));
    }

    #[test]
    fn customers_with_a_tag_that_is_no_item_are_counted_once() {
        let mut tags = feature("f", vec![ItemValue::Text("a".into()), ItemValue::Text("b".into())]);
        tags.tags = Some(TagSource::Text { separator: "|".into(), spaced: true });
        let csv = "f\nb|a\nx|a|y\n\"\"\n b |z\n";
        let (codes, _, strangers) = coded(&[tags], csv, "features.f.separator = \"|\"\n");
        assert_eq!(codes[0], [vec![0, 1], vec![0], vec![], vec![1]]);
        assert_eq!((strangers[0].missing, strangers[0].others), (0, 2), "nobody without tags is a stranger");
    }
}
