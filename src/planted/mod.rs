//! A few settings to a customer table with known niches, and the truth about them beside it.

mod customers;
mod draw;
mod niche;
mod truth;
mod write;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::job::Language;
use crate::stats::Stats;

pub use truth::{CompareError, Compared, Comparison, Finding, Niche, Truth, compare};

use customers::{Customers, Feature};
use niche::Plans;

/// A table to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planting {
    /// Rows, one a customer: 20,000 to 1,000,000,000. In a smaller table the smallest niches could not be told from chance.
    pub customers: u64,
    /// Columns that are features, 4 to 200: beside these the table has an id and three metric columns.
    pub features: usize,
    /// How many items each feature has, 2 to 60,000, for tables whose shape matters more than what they tell of: 4 to 200
    /// features `f00`, `f01` and so on take the place of a shop's, and `features` is not looked at. Shares fall as Zipf's
    /// law says, so that of thousands of items the last may not occur. Empty: a shop's features.
    pub cardinalities: Vec<usize>,
    /// 0 to 24: more would together have most of the conversions. With 0 there is nothing to be found.
    pub niches: usize,
    pub seed: u64,
    /// Of the columns' names and of the values.
    pub language: Language,
}

impl Default for Planting {
    fn default() -> Self {
        let cardinalities = Vec::new();
        Planting { customers: 200_000, features: 12, cardinalities, niches: 8, seed: 1, language: Language::En }
    }
}

/// What keeps a table from being made.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    #[error("{setting} = {value}: expected {allowed}")]
    Range { setting: &'static str, value: u64, allowed: &'static str },
    #[error(
        "only {placed} of niches = {niches} have room among customers = {customers} with features = {features}; ask for fewer niches or more features"
    )]
    NoRoom { niches: usize, placed: usize, customers: u64, features: usize },
    #[error("{path:?}: expected a name that ends in .parquet, .csv or .csv.gz")]
    Suffix { path: PathBuf },
    #[error("cannot write {path:?}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {path:?} as Parquet")]
    Parquet {
        path: PathBuf,
        #[source]
        source: parquet::errors::ParquetError,
    },
}

impl Planting {
    /// Whether each setting is in its range.
    pub fn check(&self) -> Result<(), PlantError> {
        let range = |setting, value: u64, least: u64, most: u64, allowed| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(PlantError::Range { setting, value, allowed }),
        };
        range("customers", self.customers, 20_000, 1_000_000_000, "20000 to 1000000000")?;
        match self.cardinalities.len() as u64 {
            0 => range("features", self.features as u64, 4, 200, "4 to 200")?,
            count => range("features in cardinalities", count, 4, 200, "4 to 200")?,
        }
        for &items in &self.cardinalities {
            range("items in cardinalities", items as u64, 2, 60_000, "2 to 60000 for each feature")?;
        }
        range("niches", self.niches as u64, 0, 24, "0 to 24")
    }

    fn columns(&self) -> Vec<Feature> {
        match self.cardinalities.as_slice() {
            [] => customers::features(self.features, self.language),
            cardinalities => customers::features_with(cardinalities),
        }
    }
}

/// Rows of a Parquet row group, and rows that are made at a time.
const GROUP: u64 = 131_072;

/// Rows among which niches are chosen.
const SAMPLE: u64 = 2 * GROUP;

/// Some rows of the table, ready to be written.
struct Rows {
    customers: Customers,
    converted: Vec<i64>,
    /// Hundredths.
    spend: Vec<i64>,
    visits: Vec<i64>,
    /// Customers and conversions: of all rows, then of each niche.
    tallies: Vec<Stats>,
}

/// Writes the table to `path`, as its suffix says (`.parquet`, `.csv`, `.csv.gz`), and the truth to `<path>.truth.json`.
///
/// The bytes depend on the settings alone. Rows are made and written by row group, one group a thread at a time, so memory
/// does not grow with the table.
pub fn plant(planting: &Planting, path: &Path) -> Result<Truth, PlantError> {
    planting.check()?;
    let format = write::Format::of(path)?;
    let features = planting.columns();
    let sample = customers::customers(&features, planting.seed, 0..planting.customers.min(SAMPLE));
    let plans = niche::choose(&features, &sample, planting.niches, planting.seed).map_err(|placed| {
        let Planting { niches, customers, .. } = *planting;
        PlantError::NoRoom { niches, placed, customers, features: features.len() }
    })?;
    drop(sample);

    let mut tallies = vec![Stats::default(); 1 + plans.niches.len()];
    write::replace(path, |out| {
        let mut table = write::TableWriter::new(out, format, path, &features, planting.language)?;
        let at_a_time = rayon::current_num_threads() as u64;
        let groups = planting.customers.div_ceil(GROUP);
        for first in (0..groups).step_by(at_a_time as usize) {
            let made: Vec<Rows> = (first..(first + at_a_time).min(groups))
                .into_par_iter()
                .map(|group| {
                    let range = group * GROUP..((group + 1) * GROUP).min(planting.customers);
                    rows(&features, &plans, planting.seed, range)
                })
                .collect();
            for rows in &made {
                tallies.iter_mut().zip(&rows.tallies).for_each(|(sum, part)| *sum = *sum + *part);
                table.write(rows)?;
            }
        }
        table.finish()
    })?;
    let truth = Truth::of(planting, &features, &plans, &tallies);
    truth.write(path)?;
    Ok(truth)
}

fn rows(features: &[Feature], plans: &Plans, seed: u64, range: std::ops::Range<u64>) -> Rows {
    let customers = customers::customers(features, seed, range);
    let count = customers.ids.len();
    let mut tallies = vec![Stats::default(); 1 + plans.niches.len()];
    let (mut converted, mut spend, mut visits) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    let mut covering = Vec::new();
    for row in 0..count {
        covering.clear();
        covering.extend((0..plans.niches.len()).filter(|&n| plans.niches[n].covers(&customers, row)));
        // The few customers of two niches behave as the lower one says: a tenth of them would double its conversions.
        let least = covering.iter().map(|&n| plans.niches[n].conversion).min_by(f64::total_cmp);
        let conversion = least.unwrap_or(plans.elsewhere);
        let deeds = customers::deeds(customers.draws[row], conversion);
        let yes = i64::from(deeds.converted);
        let one = Stats { uv: 1, sum: i128::from(yes), sq: i128::from(yes), ..Stats::default() };
        std::iter::once(0).chain(covering.iter().map(|n| n + 1)).for_each(|i| tallies[i] = tallies[i] + one);
        converted.push(yes);
        spend.push(deeds.spend);
        visits.push(deeds.visits);
    }
    Rows { customers, converted, spend, visits, tallies }
}

/// The file of a table's truth: the table's name and `.truth.json`.
pub fn truth_path(table: &Path) -> PathBuf {
    let mut name = table.as_os_str().to_owned();
    name.push(".truth.json");
    name.into()
}

/// A job file that mines a planted table of a shop into the folder `out`.
pub fn job(table: &Path, out: &Path, language: Language) -> String {
    Planting { language, ..Planting::default() }.job(table, out)
}

impl Planting {
    /// A job file that mines the planted table into the folder `out`.
    pub fn job(&self, table: &Path, out: &Path) -> String {
        let language = self.language;
        // Every JSON string is a basic string of TOML.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let name = |column| quoted(&customers::name(column, language));
        let bands = match self.cardinalities.is_empty() {
            true => format!("[features.{}]\nbin = {{ width = 10 }}\n\n", quoted(&customers::age_name(language))),
            false => String::new(),
        };
        format!(
            r#"[input]
path = {path}
id = {id}

[metric]
column = {converted}
kind = "rate"

[features]
exclude = [{spend}, {visits}]

{bands}[enumerate]
min_share = 0.001

[output]
dir = {out}
language = "{language}"
"#,
            path = quoted(&table.to_string_lossy()),
            id = name(customers::ID),
            converted = name(customers::CONVERTED),
            spend = name(customers::SPEND),
            visits = name(customers::VISITS),
            out = quoted(&out.to_string_lossy()),
            language = match language {
                Language::En => "en",
                Language::Zh => "zh",
            },
        )
    }
}

#[cfg(test)]
mod tests;
