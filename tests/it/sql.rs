//! The conditions in SQL, read as DuckDB and PostgreSQL read them, select the customers that the program does.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};

use crate::program::{Dice, Folder, json, parquet, write_parquet};

#[derive(Clone, Debug)]
enum Value {
    Null,
    Number(f64),
    Text(String),
}

impl Value {
    fn text(value: Option<&str>) -> Value {
        value.map_or(Value::Null, |text| Value::Text(text.to_owned()))
    }

    /// NaN is equal to itself and above all numbers, as in both databases; nothing is known of null.
    fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => {
                Some(a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())))
            }
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Null, _) | (_, Value::Null) => None,
            _ => panic!("{self:?} is not compared with {other:?}"),
        }
    }
}

type Row = Vec<(&'static str, Value)>;

#[derive(Clone, Debug)]
enum Token {
    Column(String),
    Literal(Value),
    Word(String),
}

fn tokens(sql: &str) -> Vec<Token> {
    let (mut found, mut rest) = (Vec::new(), sql.trim_start());
    while let Some(first) = rest.chars().next() {
        let quoted = |quote: char| rest[1..].find(quote).expect("a closing quote; none of these names has one inside");
        let whole = |all: &dyn Fn(char) -> bool| rest.find(|c: char| !all(c)).unwrap_or(rest.len());
        let length = match first {
            '"' => {
                found.push(Token::Column(rest[1..=quoted('"')].to_owned()));
                quoted('"') + 2
            }
            '\'' => {
                found.push(Token::Literal(Value::text(Some(&rest[1..=quoted('\'')]))));
                quoted('\'') + 2
            }
            '0'..='9' | '-' if !rest.starts_with("- ") => {
                let length = whole(&|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
                found.push(Token::Literal(Value::Number(rest[..length].parse().unwrap())));
                length
            }
            _ => {
                let length = match first {
                    'A'..='Z' => whole(&|c| c.is_ascii_uppercase()),
                    '<' | '>' => whole(&|c| "<>=".contains(c)),
                    _ => 1,
                };
                found.push(Token::Word(rest[..length].to_owned()));
                length
            }
        };
        rest = rest[length..].trim_start();
    }
    found
}

/// Evaluates while it reads; true, false, or null.
struct Reader<'a> {
    tokens: &'a [Token],
    row: &'a Row,
}

impl Reader<'_> {
    fn next(&mut self) -> &Token {
        let (first, rest) = self.tokens.split_first().expect("more SQL");
        self.tokens = rest;
        first
    }

    fn take(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens.first(), Some(Token::Word(first)) if first == word);
        if is {
            self.next();
        }
        is
    }

    #[track_caller]
    fn expect(&mut self, word: &str) {
        assert!(self.take(word), "{word} expected before {:?}", self.tokens);
    }

    fn literal(&mut self) -> Value {
        match self.next() {
            Token::Literal(value) => value.clone(),
            other => panic!("{other:?} is no literal"),
        }
    }

    /// The group of an expression `CASE`.
    fn group(&mut self) -> Option<i64> {
        let mut group = None;
        self.expect("CASE");
        while self.take("WHEN") {
            let holds = self.any() == Some(true);
            self.expect("THEN");
            let Value::Number(own) = self.literal() else { panic!("a group is a number") };
            group = group.or(holds.then_some(own as i64));
        }
        self.expect("END");
        group
    }

    fn any(&mut self) -> Option<bool> {
        let mut all = vec![self.all()];
        while self.take("OR") {
            all.push(self.all());
        }
        if all.contains(&Some(true)) { Some(true) } else { (!all.contains(&None)).then_some(false) }
    }

    fn all(&mut self) -> Option<bool> {
        let mut all = vec![self.one()];
        while self.take("AND") {
            all.push(self.one());
        }
        if all.contains(&Some(false)) { Some(false) } else { (!all.contains(&None)).then_some(true) }
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("NOT") {
            return self.one().map(|holds| !holds);
        }
        if self.take("TRUE") {
            return Some(true);
        }
        if self.take("COALESCE") {
            self.expect("(");
            let holds = self.any();
            [",", "FALSE", ")"].iter().for_each(|word| self.expect(word));
            return Some(holds == Some(true));
        }
        if self.take("(") {
            let holds = self.any();
            self.expect(")");
            return holds;
        }
        let Token::Column(column) = self.next().clone() else { panic!("a column before {:?}", self.tokens) };
        let value = self.row.iter().find(|(name, _)| *name == column).map(|(_, value)| value.clone()).unwrap();
        if self.take("IS") {
            self.expect("NULL");
            return Some(matches!(value, Value::Null));
        }
        let value = match (self.take("-"), value) {
            // Of a column and itself alone.
            (true, Value::Number(number)) => {
                assert!(matches!(self.next(), Token::Column(other) if *other == column));
                Value::Number(if number.is_finite() { 0.0 } else { f64::NAN })
            }
            (true, _) => {
                self.next();
                Value::Null
            }
            (false, value) => value,
        };
        let Token::Word(word) = self.next().clone() else { panic!("a comparison before {:?}", self.tokens) };
        let ordering = value.compare(&self.literal())?;
        Some(match word.as_str() {
            "=" => ordering.is_eq(),
            "<" => ordering.is_lt(),
            ">=" => ordering.is_ge(),
            word => panic!("{word} is no comparison"),
        })
    }
}

const PLANS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const TIERS: [&str; 3] = ["gold", "silver", "plain"];

/// Some have no score, be it null, NaN or infinite. With `new`, some have a plan or tier that nobody has else, or none.
fn rows(seed: u64, new: bool) -> (Vec<Row>, Vec<bool>) {
    let mut dice = Dice(seed);
    let row = |_| {
        let strange = if new { dice.roll(10) } else { 9 };
        let plan = Some(if strange == 0 { "z" } else { PLANS[dice.roll(6) as usize] }).filter(|_| strange != 1);
        let tier = Some(if strange == 2 { "bronze" } else { TIERS[dice.roll(3) as usize] }).filter(|_| strange != 3);
        let score = match dice.roll(16) {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(f64::INFINITY),
            3 => Some(f64::NEG_INFINITY),
            _ => Some(dice.roll(4000) as f64 / 1000.0 - 2.0),
        };
        let age = (dice.roll(20) > 0).then(|| 20.5 + dice.roll(50) as f64);
        let percent = match (plan, score) {
            (Some("a"), Some(score)) if (1.0..9.0).contains(&score) => 60,
            (Some("b"), Some(score)) if (-9.0..-1.0).contains(&score) => 60,
            (Some("c"), score) if !score.is_some_and(f64::is_finite) => 60,
            (Some("d"), _) => 30,
            (Some("e"), _) => 3,
            _ => 10,
        };
        let number = |value: Option<f64>| value.map_or(Value::Null, Value::Number);
        let columns = vec![
            ("plan", Value::text(plan)),
            ("tier", Value::text(tier)),
            ("score", number(score)),
            ("age", number(age)),
        ];
        (columns, dice.roll(100) < percent)
    };
    (0..12_000).map(row).unzip()
}

/// With the columns in this order and the rows' numbers as ids.
fn write(path: &Path, rows: &[Row], yes: Vec<bool>) {
    let text = |at: usize| -> ArrayRef {
        let value = |row: &Row| match &row[at].1 {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let number = |at: usize| -> ArrayRef {
        let value = |row: &Row| match row[at].1 {
            Value::Number(number) => Some(number),
            _ => None,
        };
        Arc::new(rows.iter().map(value).collect::<Float64Array>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64))),
        ("plan", text(0)),
        ("tier", text(1)),
        ("score", number(2)),
        ("age", number(3)),
        ("y", Arc::new(arrow::array::BooleanArray::from(yes))),
    ];
    write_parquet(
        path,
        &RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap(),
        5_000,
    );
}

fn job(of: &str, missing: &str) -> String {
    format!(
        "[input]\npath = \"t.parquet\"\nid = \"id\"\n[metric]\ncolumn = \"y\"\nkind = \"rate\"\n[features.score]\nbin = {{ edges = [-1, 0, \
         1] }}\nmissing = \"{missing}\"\n[features.age]\nbin = {{ edges = [40, 60] }}\n[enumerate]\nmin_uv = 50\n[highlight]\nmin_lift = \
         1.2\nmax_uv_share = 0.2\n[merge]\nof = \"{of}\"\nkeep = \"nothing\"\n{}[output]\ndir = \"out\"\n",
        if of == "cells" { "by = [\"plan\", \"tier\", \"score\"]\n" } else { "" }
    )
}

/// Groups by id of the customers who are in one.
fn assigned(batch: &RecordBatch) -> BTreeMap<i64, i64> {
    let (ids, groups) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int32Type>());
    let of = |row: usize| groups.is_valid(row).then(|| (ids.value(row), i64::from(groups.value(row))));
    (0..batch.num_rows()).filter_map(of).collect()
}

/// The same by a run's SQL.
fn by_sql(run: &Path, rows: &[Row]) -> BTreeMap<i64, i64> {
    let groups = json(run.join("groups.json"));
    let sql = tokens(groups["assignment_sql"].as_str().unwrap());
    let group = |(id, row): (i64, &Row)| Some((id, Reader { tokens: &sql, row }.group()?));
    (0..).zip(rows).filter_map(group).collect()
}

#[test]
fn customers_without_a_finite_number_are_where_the_sql_puts_them() {
    let folder = Folder::new();
    let (rows, yes) = rows(1, false);
    write(&folder.path("t.parquet"), &rows, yes);
    for (of, missing) in [("highlights", "level"), ("cells", "level"), ("cells", "mode")] {
        let run = folder.publish(&job(of, missing), "-w 2");
        let groups = json(run.join("groups.json"));
        let groups = groups["groups"].as_array().unwrap();
        let package = |group: &serde_json::Value| {
            assigned(&parquet(run.join(group["audience"].as_str().unwrap()).join("part-0.parquet")))
        };
        let packages: BTreeMap<i64, i64> = groups.iter().flat_map(package).collect();
        assert!(packages.len() > 3_000, "{of}: too few are in groups to see anything");
        assert!(by_sql(&run, &rows) == packages, "{of} with missing = {missing:?}");
        let mut rules = 0;
        for group in groups {
            let rule = &group["rule"];
            let (Some(sql), id) = (rule["sql"].as_str(), group["id"].as_i64().unwrap()) else { continue };
            let sql = tokens(sql);
            let selects = |row: &Row| Reader { tokens: &sql, row }.any() == Some(true);
            let selected: Vec<i64> = (0..).zip(&rows).filter(|(_, row)| selects(row)).map(|(at, _)| at).collect();
            let own = selected.iter().filter(|at| packages.get(at) == Some(&id)).count() as f64;
            assert_eq!(rule["uv"], selected.len(), "{of}: {rule}");
            assert_eq!(rule["precision"].as_f64(), Some(own / selected.len() as f64), "{of}: {rule}");
            assert_eq!(rule["recall"].as_f64(), Some(own / group["uv"].as_f64().unwrap()), "{of}: {rule}");
            rules += 1;
        }
        assert!(rules > 3, "{of}");
    }
}

#[test]
fn only_columns_with_numbers_that_are_not_finite_have_longer_conditions() {
    let folder = Folder::new();
    let (rows, yes) = rows(1, false);
    write(&folder.path("t.parquet"), &rows, yes);
    folder.publish(&job("highlights", "level"), "-w 3");
    for (item, expected) in [
        ("age=<40", r#""age" < 40.0"#),
        ("age=>=60", r#""age" >= 60.0"#),
        ("age=(missing)", r#""age" IS NULL"#),
        ("score=<-1", r#"("score" < -1.0 AND "score" - "score" = 0)"#),
        ("score=[0,1)", r#"("score" >= 0.0 AND "score" < 1.0 AND "score" - "score" = 0)"#),
        ("score=>=1", r#"("score" >= 1.0 AND "score" - "score" = 0)"#),
        ("score=(missing)", r#"("score" IS NULL OR NOT ("score" - "score" = 0))"#),
    ] {
        let told = folder.start_with(&["explain", "out/latest", item, "--output", "json"]).end().well().out;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["sql"], expected, "{item}");
    }
}

#[test]
fn customers_of_another_table_are_where_the_sql_puts_them() {
    let folder = Folder::new();
    let (own, yes) = rows(1, false);
    write(&folder.path("t.parquet"), &own, yes);
    let (later, yes) = rows(2, true);
    write(&folder.path("later.parquet"), &later, yes);
    for of in ["highlights", "cells"] {
        let run = folder.publish(&job(of, "level"), "-w 2");
        folder.nichemine("assign out/latest later.parquet --all --out a.parquet").well();
        let found = assigned(&parquet(folder.path("a.parquet")));
        assert!(found.len() > 3_000 && found.len() < later.len() - 1_000, "{of}: {} are in groups", found.len());
        assert!(by_sql(&run, &later) == found, "{of}");
        let groups = json(run.join("groups.json"));
        // What this is about: groups of cells with every tier that there was, which a customer of another tier is in none of.
        let every = r#"("tier" = 'gold' OR "tier" = 'plain' OR "tier" = 'silver')"#;
        assert_eq!(groups["assignment_sql"].as_str().unwrap().contains(every), of == "cells");
    }
}
