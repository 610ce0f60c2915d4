//! The codebook: what each feature and item code stands for, and how it is written in text and SQL.

use serde::{Deserialize, Serialize};

use super::tags::TagSource;
use crate::job::DatePart;
use crate::segment::{FeatureId, Item, ItemCode, Segment};

/// The features of a run in table order, agreed by all workers. Item codes are dense and append-only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Codebook {
    pub features: Vec<Feature>,
}

/// One feature and its items.
///
/// Every field is always written: processes exchange features in a format without names, where a field that is skipped
/// shifts those behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    pub name: String,
    /// The column of the table that it is made of.
    pub column: String,
    /// Meaning of codes 0, 1, 2 ...
    pub items: Vec<ItemValue>,
    /// Customers of each item, then of `rest` if there is one.
    pub uv: Vec<u64>,
    /// Whether values below the minimum support share one further code, `items.len()`, which no segment names.
    pub rest: bool,
    /// Of a feature whose customers have a set of its items each, how the table holds them; none of any other.
    #[serde(default)]
    pub tags: Option<TagSource>,
    /// Values of the column, beside null, that mean missing.
    #[serde(default)]
    pub null_values: Vec<String>,
    /// The item that missing values were completed with, if they were.
    #[serde(default)]
    pub completed: Option<ItemCode>,
    /// Whether all values are whole numbers, so that `[2,3)` is 2.
    #[serde(default)]
    pub whole: bool,
    /// Of bands of whole numbers, the only value below the first border, if there is but one.
    #[serde(default)]
    pub lone: Option<i64>,
    /// Whether the column of the run's table held NaN or infinities, which are missing; SQL compares them as numbers.
    #[serde(default)]
    pub nonfinite: bool,
}

/// What a code stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemValue {
    Missing,
    Text(String),
    Bool(bool),
    /// An integer used as a code.
    Int(i64),
    Number(f64),
    /// `low <= value < high`; an absent border is open.
    Range {
        low: Option<f64>,
        high: Option<f64>,
    },
    /// A part of a date: the year, 1 to 4, 1 to 12, year * 100 + month, day of the month, 1 (Monday) to 7, hour,
    /// or days since 1970-01-01.
    Part {
        part: DatePart,
        value: i32,
    },
}

/// How a missing value is written.
pub const MISSING: &str = "(missing)";
/// How the values are written that are no item, being too rare: those of the code `rest`.
pub const OTHER: &str = "(other)";

impl Feature {
    /// Codes in use, `rest` included.
    pub fn cardinality(&self) -> usize {
        self.items.len() + usize::from(self.rest)
    }

    /// Whether a code names something a segment may say.
    pub fn is_item(&self, code: ItemCode) -> bool {
        usize::from(code) < self.items.len()
    }
}

impl Codebook {
    pub fn feature(&self, feature: FeatureId) -> &Feature {
        &self.features[usize::from(feature)]
    }

    /// The item alone, as in `retired` or `[20,30)`. Text is quoted only where it could be misread.
    pub fn item_label(&self, item: Item) -> String {
        let Some(value) = self.feature(item.feature).items.get(usize::from(item.code)) else {
            return OTHER.to_owned();
        };
        Codebook::value_label(value)
    }

    /// A value alone, in the same way.
    pub fn value_label(value: &ItemValue) -> String {
        match value {
            ItemValue::Text(text) => quoted_if(text, |t| {
                t == MISSING
                    || t == OTHER
                    || t.contains(" & ")
                    || t.starts_with('"')
                    || t.trim() != t
                    || t.contains(char::is_control)
                    || t.is_empty()
            }),
            other => other.to_string(),
        }
    }

    /// `feature=item`.
    pub fn item_text(&self, item: Item) -> String {
        format!("{}={}", self.feature_label(item.feature), self.item_label(item))
    }

    /// A feature's name, quoted only where it could be misread.
    pub fn feature_label(&self, feature: FeatureId) -> String {
        quoted_if(&self.feature(feature).name, |t| {
            t.contains('=') || t.contains(" & ") || t.starts_with('"') || t.trim() != t || t.contains(char::is_control)
        })
    }

    /// `feature=item & feature=item`, features in table order.
    pub fn text(&self, segment: Segment) -> String {
        segment.items().map(|item| self.item_text(item)).collect::<Vec<_>>().join(" & ")
    }

    /// The segment as a condition on the raw table's columns, in the SQL that DuckDB and PostgreSQL read.
    pub fn sql(&self, segment: Segment) -> String {
        if segment.level() == 0 {
            return "TRUE".into();
        }
        segment.items().map(|item| self.item_sql(item)).collect::<Vec<_>>().join(" AND ")
    }

    /// Any of these segments, which all have items of the same features, as one condition: what they have in common is said once.
    pub fn sql_of_cells(&self, cells: &[Segment]) -> String {
        let items: Vec<Vec<Item>> = cells.iter().map(|cell| cell.items().collect()).collect();
        let mut items: Vec<&[Item]> = items.iter().map(Vec::as_slice).collect();
        items.sort_unstable();
        self.sql_of_sorted(&items).unwrap_or_else(|| "TRUE".into())
    }

    /// Of cells by what is left of them; none if all customers are in one.
    fn sql_of_sorted(&self, cells: &[&[Item]]) -> Option<String> {
        let feature = self.feature(cells.first()?.first()?.feature);
        // By what is said of the further features: the items of this one.
        let mut branches: Vec<(Option<String>, Vec<Item>)> = Vec::new();
        for with in cells.chunk_by(|a, b| a[0] == b[0]) {
            let further: Vec<&[Item]> = with.iter().map(|cell| &cell[1..]).collect();
            let further = self.sql_of_sorted(&further);
            match branches.iter_mut().find(|(known, _)| *known == further) {
                Some((_, items)) => items.push(with[0][0]),
                None => branches.push((further, vec![with[0][0]])),
            }
        }
        let any = |mut all: Vec<String>| if all.len() == 1 { all.remove(0) } else { format!("({})", all.join(" OR ")) };
        let branch = |(further, items): (Option<String>, Vec<Item>)| {
            // Every value has one of the codes only where rare ones share one: else a new value has none, and nor has one that is missing.
            if feature.rest && items.len() == feature.cardinality() {
                return further;
            }
            let own = any(items.into_iter().map(|item| self.item_sql(item)).collect());
            Some(match further {
                Some(further) => format!("({own} AND {further})"),
                None => own,
            })
        };
        // A branch that says nothing says that all are in it.
        Some(any(branches.into_iter().map(branch).collect::<Option<Vec<String>>>()?))
    }

    fn item_sql(&self, item: Item) -> String {
        let feature = self.feature(item.feature);
        let column = identifier(&feature.column);
        let Some(value) = feature.items.get(usize::from(item.code)) else {
            let items = (0..feature.items.len() as ItemCode).map(|code| self.item_sql(Item { code, ..item }));
            // A comparison with null is neither true nor false.
            return match items.collect::<Vec<_>>() {
                items if items.is_empty() => "TRUE".into(),
                items => format!("NOT COALESCE({}, FALSE)", items.join(" OR ")),
            };
        };
        if let Some(source) = &feature.tags {
            return match value {
                ItemValue::Int(tag) => source.sql(&column, &tag.to_string()),
                tag => source.sql(&column, &literal(&tag.to_string())),
            };
        }
        // Values that mean missing, as the numbers they are where the feature is made of numbers: -1 is also -1.0 there.
        let is_number = |v: &ItemValue| matches!(v, ItemValue::Int(_) | ItemValue::Number(_) | ItemValue::Range { .. });
        let numeric = feature.items.iter().any(is_number);
        let number = |text: &String| text.trim().parse::<f64>().ok().filter(|v| numeric && v.is_finite());
        let numbers: Vec<f64> = feature.null_values.iter().filter_map(number).collect();
        let list = |numbers: &[f64]| numbers.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", ");
        // NaN is above all numbers in DuckDB and PostgreSQL. A database makes it of text in a CSV that means missing, too. What is not
        // finite is told by a difference that is not 0: comparisons and `isnan` DuckDB decides by the statistics of a Parquet file,
        // which leave NaN out, so that even `x < 9` takes it in where all numbers are below 9.
        let not_finite = |text: &String| numeric && text.trim().parse::<f64>().is_ok_and(|v| !v.is_finite());
        let guarded = feature.nonfinite || feature.null_values.iter().any(not_finite);
        let finite = format!("{column} - {column} = 0");
        let missing = || {
            let mut any = vec![format!("{column} IS NULL")];
            if !numbers.is_empty() {
                any.push(format!("{column} IN ({})", list(&numbers)));
            }
            if guarded {
                any.push(format!("NOT ({finite})"));
            }
            let texts: Vec<String> = (feature.null_values.iter())
                .filter(|v| number(v).is_none() && !not_finite(v))
                .map(|v| literal(v))
                .collect();
            if !texts.is_empty() {
                // Of a CSV table a database may have made numbers, which are not compared with `unknown`.
                any.push(format!("CAST({column} AS VARCHAR) IN ({})", texts.join(", ")));
            }
            if any.len() == 1 { any.remove(0) } else { format!("({})", any.join(" OR ")) }
        };
        let condition = match value {
            ItemValue::Missing => return missing(),
            ItemValue::Text(text) => format!("{column} = {}", literal(text)),
            ItemValue::Bool(true) => format!("{column} = TRUE"),
            ItemValue::Bool(false) => format!("{column} = FALSE"),
            ItemValue::Int(value) => format!("{column} = {value}"),
            ItemValue::Number(value) => format!("{column} = {value:?}"),
            ItemValue::Range { low, high } => {
                let low = low.map(|low| format!("{column} >= {low:?}"));
                let high = high.map(|high| format!("{column} < {high:?}"));
                let all: Vec<String> = [low, high, guarded.then(|| finite.clone())].into_iter().flatten().collect();
                match all.as_slice() {
                    [] => format!("{column} IS NOT NULL"),
                    [only] => only.clone(),
                    all => format!("({})", all.join(" AND ")),
                }
            }
            ItemValue::Part { part, value } => part_sql(&column, *part, *value),
        };
        let apart: Vec<f64> = match value {
            ItemValue::Range { low, high } => (numbers.iter().copied())
                .filter(|v| low.is_none_or(|low| low <= *v) && high.is_none_or(|high| *v < high))
                .collect(),
            _ => Vec::new(),
        };
        let condition = match apart.is_empty() {
            true => condition,
            false => format!("({condition} AND {column} NOT IN ({}))", list(&apart)),
        };
        if feature.completed == Some(item.code) { format!("({condition} OR {})", missing()) } else { condition }
    }
}

impl std::fmt::Display for ItemValue {
    /// The value without quotes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ItemValue::Missing => f.write_str(MISSING),
            ItemValue::Text(text) => f.write_str(text),
            ItemValue::Bool(value) => write!(f, "{value}"),
            ItemValue::Int(value) => write!(f, "{value}"),
            ItemValue::Number(value) => write!(f, "{value}"),
            ItemValue::Range { low: Some(low), high: Some(high) } => write!(f, "[{low},{high})"),
            ItemValue::Range { low: Some(low), high: None } => write!(f, ">={low}"),
            ItemValue::Range { low: None, high: Some(high) } => write!(f, "<{high}"),
            ItemValue::Range { low: None, high: None } => f.write_str("(any)"),
            ItemValue::Part { part, value } => match part {
                DatePart::Quarter => write!(f, "Q{value}"),
                DatePart::YearMonth => write!(f, "{:04}-{:02}", value.div_euclid(100), value.rem_euclid(100)),
                DatePart::Weekday => f.write_str(
                    ["?", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][usize::try_from(*value).unwrap_or(0).min(7)],
                ),
                DatePart::Date => {
                    let (year, month, day) = civil(i64::from(*value));
                    write!(f, "{year:04}-{month:02}-{day:02}")
                }
                DatePart::Year | DatePart::Month | DatePart::Day | DatePart::Hour => write!(f, "{value}"),
            },
        }
    }
}

fn quoted_if(text: &str, needs: impl Fn(&str) -> bool) -> String {
    if needs(text) { format!("{text:?}") } else { text.to_owned() }
}

/// A column's name in double quotes.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn part_sql(column: &str, part: DatePart, value: i32) -> String {
    let extract = |field: &str| format!("EXTRACT({field} FROM {column}) = {value}");
    match part {
        DatePart::Year => extract("YEAR"),
        DatePart::Quarter => extract("QUARTER"),
        DatePart::Month => extract("MONTH"),
        DatePart::Day => extract("DAY"),
        DatePart::Weekday => extract("ISODOW"),
        DatePart::Hour => extract("HOUR"),
        DatePart::YearMonth => {
            format!("(EXTRACT(YEAR FROM {column}) * 100 + EXTRACT(MONTH FROM {column})) = {value}")
        }
        DatePart::Date => format!("CAST({column} AS DATE) = DATE '{}'", ItemValue::Part { part, value }),
    }
}

/// Year, month and day of a day number counted from 1970-01-01 in the proleptic Gregorian calendar
/// (Hinnant, "chrono-compatible low-level date algorithms": `civil_from_days`).
pub fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(name: &str, items: Vec<ItemValue>) -> Codebook {
        let uv = vec![0; items.len()];
        Codebook {
            features: vec![Feature {
                name: name.into(),
                column: name.into(),
                items,
                uv,
                rest: false,
                tags: None,
                null_values: vec!["unknown".into()],
                ..Feature::default()
            }],
        }
    }

    #[test]
    fn text_that_could_be_misread_is_quoted_and_other_text_is_not() {
        let book = book(
            "城市",
            ["上海", "TA/TO", "a=b", "a & b", " x", "(missing)", ">50K"].map(|t| ItemValue::Text(t.into())).to_vec(),
        );
        let labels: Vec<String> = (0..7).map(|code| book.item_text(Item { feature: 0, code })).collect();
        assert_eq!(
            labels,
            ["城市=上海", "城市=TA/TO", "城市=a=b", "城市=\"a & b\"", "城市=\" x\"", "城市=\"(missing)\"", "城市=>50K"]
        );
    }

    #[test]
    fn sql_names_exactly_the_values_of_an_item() {
        let book = book(
            "a\"b",
            vec![
                ItemValue::Missing,
                ItemValue::Text("O'Neil".into()),
                ItemValue::Range { low: Some(-1.5), high: Some(20.0) },
                ItemValue::Part { part: DatePart::Date, value: 11_017 },
            ],
        );
        let sql: Vec<String> = (0..4).map(|code| book.sql(Segment::of_items(&[Item { feature: 0, code }]))).collect();
        assert_eq!(
            sql,
            [
                r#"("a""b" IS NULL OR CAST("a""b" AS VARCHAR) IN ('unknown'))"#,
                r#""a""b" = 'O''Neil'"#,
                r#"("a""b" >= -1.5 AND "a""b" < 20.0)"#,
                r#"CAST("a""b" AS DATE) = DATE '2000-03-01'"#,
            ]
        );
    }

    #[test]
    fn sql_keeps_a_number_that_means_missing_out_of_the_band_it_would_be_in() {
        let range = |low, high| ItemValue::Range { low, high };
        let items = vec![range(None, Some(90.0)), range(Some(90.0), None), ItemValue::Missing];
        let mut book = book("pdays", items);
        book.features[0].null_values = vec!["-1".into(), "unknown".into()];
        let sql = |book: &Codebook, code| book.sql(Segment::of_items(&[Item { feature: 0, code }]));
        assert_eq!(sql(&book, 0), r#"("pdays" < 90.0 AND "pdays" NOT IN (-1.0))"#);
        assert_eq!(sql(&book, 1), r#""pdays" >= 90.0"#, "-1 is not in it anyway");
        let missing = r#"("pdays" IS NULL OR "pdays" IN (-1.0) OR CAST("pdays" AS VARCHAR) IN ('unknown'))"#;
        assert_eq!(sql(&book, 2), missing);
        // Completed, it is in after all.
        book.features[0].completed = Some(0);
        assert_eq!(sql(&book, 0), format!(r#"(("pdays" < 90.0 AND "pdays" NOT IN (-1.0)) OR {missing})"#));
    }

    #[test]
    fn sql_takes_numbers_that_are_not_finite_for_missing_where_there_were_some() {
        let range = |low, high| ItemValue::Range { low, high };
        let items =
            vec![range(None, Some(0.5)), range(Some(0.5), Some(2.0)), range(Some(2.0), None), ItemValue::Missing];
        let mut book = book("x", items);
        book.features[0].null_values.clear();
        let all = |book: &Codebook| [0, 1, 2, 3].map(|code| book.sql(Segment::of_items(&[Item { feature: 0, code }])));
        let plain = [r#""x" < 0.5"#, r#"("x" >= 0.5 AND "x" < 2.0)"#, r#""x" >= 2.0"#, r#""x" IS NULL"#];
        assert_eq!(all(&book), plain);
        let missing = r#"("x" IS NULL OR NOT ("x" - "x" = 0))"#;
        let low = r#"("x" < 0.5 AND "x" - "x" = 0)"#;
        let middle = r#"("x" >= 0.5 AND "x" < 2.0 AND "x" - "x" = 0)"#;
        let guarded = [low, middle, r#"("x" >= 2.0 AND "x" - "x" = 0)"#, missing];
        book.features[0].nonfinite = true;
        assert_eq!(all(&book), guarded);
        book.features[0].completed = Some(0);
        assert_eq!(all(&book)[0], format!("({low} OR {missing})"));
        // What a database makes of the text in a CSV.
        (book.features[0].nonfinite, book.features[0].completed) = (false, None);
        book.features[0].null_values = vec!["NaN".into()];
        assert_eq!(all(&book), guarded);
    }

    #[test]
    fn sql_of_cells_leaves_nothing_out_that_a_new_value_would_not_meet() {
        let mut book = book("a", ["x", "y"].map(|text| ItemValue::Text(text.into())).to_vec());
        book.features[0].null_values.clear();
        book.features.push(Feature { name: "b".into(), column: "b".into(), ..book.features[0].clone() });
        let cell = |a, b| Segment::of_items(&[Item { feature: 0, code: a }, Item { feature: 1, code: b }]);
        let either = r#"("b" = 'x' OR "b" = 'y')"#;
        assert_eq!(book.sql_of_cells(&[cell(0, 0), cell(0, 1)]), format!(r#"("a" = 'x' AND {either})"#));
        let all = [cell(0, 0), cell(0, 1), cell(1, 0), cell(1, 1)];
        assert_eq!(book.sql_of_cells(&all), format!(r#"(("a" = 'x' OR "a" = 'y') AND {either})"#));
        // With rare values, which new ones are taken for, there is no value that is none of them.
        book.features[1].rest = true;
        assert_eq!(book.sql_of_cells(&[cell(0, 0), cell(0, 1), cell(0, 2)]), r#""a" = 'x'"#);
    }

    #[test]
    fn day_numbers_become_dates_on_both_sides_of_the_epoch() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!(civil(19_782), (2024, 2, 29));
    }
}
