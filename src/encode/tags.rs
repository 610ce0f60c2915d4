//! Columns with a set of tags a customer: texts that hold several, and lists, to sets of item codes.

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use serde::{Deserialize, Serialize};

use super::Map;
use super::codebook::{ItemValue, literal};
use super::features::finite;
use super::reading::FeatureInput;
use super::sketch::{Sketch, Values};
use super::text::Dictionary;
use crate::segment::ItemCode;
use crate::source::ColumnKind;

/// White space that is dropped around the tags of a text, the full-width space of Chinese text among it.
const WHITE: [char; 7] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{3000}'];

/// The same as the inside of a bracket expression that DuckDB and PostgreSQL read alike.
const WHITE_SQL: &str = " \\t\\n\\v\\f\\r\u{3000}";

/// A tag as the table has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tag {
    Int(i64),
    Text(String),
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tag::Int(value) => write!(f, "{value}"),
            Tag::Text(text) => f.write_str(text),
        }
    }
}

/// How the table holds a customer's tags: what a rule in SQL has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagSource {
    List,
    Text {
        separator: String,
        /// Whether some tags have white space around them, which is dropped.
        spaced: bool,
    },
}

impl TagSource {
    /// The condition that a column, in quotes, has a tag, a literal: for lists (arrays) and texts, in the SQL that DuckDB and
    /// PostgreSQL read.
    pub fn sql(&self, column: &str, tag: &str) -> String {
        match self {
            TagSource::List => format!("{tag} = ANY({column})"),
            TagSource::Text { separator, spaced } => {
                let quoted = literal(separator);
                let column = match spaced {
                    false => column.to_owned(),
                    true => {
                        let special = |c: char| r"\.+*?()|[]{}^$".contains(c);
                        let escaped: String = (separator.chars())
                            .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
                            .collect();
                        let pattern = literal(&format!("[{WHITE_SQL}]*{escaped}[{WHITE_SQL}]*"));
                        let by = literal(&separator.replace('\\', "\\\\"));
                        format!("regexp_replace({quoted} || {column} || {quoted}, {pattern}, {by}, 'g')")
                    }
                };
                format!("{tag} = ANY(string_to_array({column}, {quoted}))")
            }
        }
    }
}

/// A worker's column of tags, coded only within this worker. Of a row the codes are distinct and in order.
#[derive(Debug)]
pub struct LocalTags {
    names: Names,
    /// Row `r` has `codes[starts[r]..starts[r + 1]]`: places among the names.
    starts: Vec<u64>,
    codes: Vec<u32>,
    spaced: bool,
    max_distinct: usize,
}

#[derive(Debug)]
enum Names {
    Texts(Dictionary),
    Ints { values: Vec<i64>, index: Map<i64, u32> },
}

impl LocalTags {
    pub fn new(kind: &ColumnKind, max_distinct: usize) -> LocalTags {
        let names = match kind {
            ColumnKind::IntList => Names::Ints { values: Vec::new(), index: Map::default() },
            _ => Names::Texts(Dictionary::default()),
        };
        LocalTags { names, starts: vec![0], codes: Vec::new(), spaced: false, max_distinct }
    }

    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are more distinct tags than may be: the column is given up.
    pub fn too_many(&self) -> bool {
        let distinct = match &self.names {
            Names::Texts(dictionary) => dictionary.len(),
            Names::Ints { values, .. } => values.len(),
        };
        distinct > self.max_distinct
    }

    pub fn push(&mut self, input: &FeatureInput, array: &ArrayRef) {
        match &input.separator {
            Some(separator) => self.push_texts(separator, &input.null_values, array),
            None => self.push_lists(&input.null_values, array),
        }
    }

    fn push_texts(&mut self, separator: &str, nulls: &[String], array: &ArrayRef) {
        let texts = cast(array, &DataType::Utf8).expect("text casts to text");
        let mut chars = separator.chars();
        let one = chars.next().filter(|_| chars.next().is_none());
        for text in texts.as_string::<i32>() {
            let Names::Texts(dictionary) = &mut self.names else { unreachable!("a text's tags are texts") };
            let mut piece = |piece: &str| {
                let tag = piece.trim_matches(WHITE);
                if !tag.is_empty() && !nulls.iter().any(|null| null == tag) {
                    self.spaced |= tag.len() < piece.len();
                    self.codes.push(dictionary.code(tag, &|_| false) - 1);
                }
            };
            match (text, one) {
                (Some(text), Some(one)) => text.split(one).for_each(&mut piece),
                (Some(text), None) => text.split(separator).for_each(&mut piece),
                (None, _) => {}
            }
            self.end_row();
        }
    }

    fn push_lists(&mut self, nulls: &[String], array: &ArrayRef) {
        let values = match &self.names {
            Names::Texts(_) => DataType::Utf8,
            Names::Ints { .. } => DataType::Int64,
        };
        let lists = DataType::LargeList(std::sync::Arc::new(Field::new("item", values, true)));
        let lists = cast(array, &lists).expect("lists of texts and numbers cast to themselves");
        let lists: &LargeListArray = lists.as_list();
        let values = lists.values();
        let numbers: Vec<i64> =
            nulls.iter().filter_map(|n| finite(n)).filter(|v| v.fract() == 0.0).map(|v| v as i64).collect();
        for row in 0..lists.len() {
            if lists.is_valid(row) {
                let [from, to] = [row, row + 1].map(|at| lists.value_offsets()[at] as usize);
                let valid = (from..to).filter(|&i| values.is_valid(i));
                match &mut self.names {
                    Names::Texts(dictionary) => {
                        let texts = valid.map(|i| values.as_string::<i32>().value(i));
                        let tags = texts.filter(|text| !text.is_empty() && !nulls.iter().any(|null| null == text));
                        self.codes.extend(tags.map(|tag| dictionary.code(tag, &|_| false) - 1));
                    }
                    Names::Ints { values: known, index } => {
                        let ints = valid.map(|i| values.as_primitive::<Int64Type>().value(i));
                        self.codes.extend(ints.filter(|int| !numbers.contains(int)).map(|int| {
                            *index.entry(int).or_insert_with(|| {
                                known.push(int);
                                known.len() as u32 - 1
                            })
                        }));
                    }
                }
            }
            self.end_row();
        }
    }

    /// Makes a set of what was added since the last row ended.
    fn end_row(&mut self) {
        let start = self.starts[self.rows()] as usize;
        let row = &mut self.codes[start..];
        row.sort_unstable();
        let mut kept = row.len().min(1);
        for i in 1..row.len() {
            if row[i] != row[kept - 1] {
                row[kept] = row[i];
                kept += 1;
            }
        }
        self.codes.truncate(start + kept);
        self.starts.push(self.codes.len() as u64);
    }

    fn row(&self, row: usize) -> &[u32] {
        &self.codes[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    fn tag(&self, code: u32) -> Tag {
        match &self.names {
            Names::Texts(dictionary) => Tag::Text(dictionary.values()[code as usize].to_string()),
            Names::Ints { values, .. } => Tag::Int(values[code as usize]),
        }
    }

    /// The tags of a row, in order.
    pub fn at(&self, row: usize) -> Vec<Tag> {
        let mut tags: Vec<Tag> = self.row(row).iter().map(|&code| self.tag(code)).collect();
        tags.sort_unstable();
        tags
    }

    pub fn retain(&mut self, keep: &[bool]) {
        let (mut starts, mut codes) = (vec![0], Vec::new());
        for (row, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
            codes.extend_from_slice(self.row(row));
            starts.push(codes.len() as u64);
        }
        (self.starts, self.codes) = (starts, codes);
    }

    /// Customers by tag, and how many have none.
    pub fn sketch(&self) -> Sketch {
        let mut counts: Vec<u64> = Vec::new();
        for &code in &self.codes {
            if code as usize >= counts.len() {
                counts.resize(code as usize + 1, 0);
            }
            counts[code as usize] += 1;
        }
        // A tag of rows that were left out since is no longer one.
        let used = (0..).zip(counts).filter(|(_, count)| *count > 0);
        let mut tags: Vec<(Tag, u64)> = used.map(|(code, count)| (self.tag(code), count)).collect();
        tags.sort_unstable();
        let nulls = self.starts.windows(2).filter(|ends| ends[0] == ends[1]).count() as u64;
        Sketch { rows: self.rows() as u64, nulls, nonfinite: false, values: Values::Tags { tags, spaced: self.spaced } }
    }

    /// Rows that have a tag of which this holds.
    pub fn rows_with(&self, is: impl Fn(u32) -> bool) -> u64 {
        (0..self.rows()).filter(|&row| self.row(row).iter().any(|&tag| is(tag))).count() as u64
    }

    /// Bytes of the tags' texts, each once.
    pub fn text(&self) -> usize {
        match &self.names {
            Names::Texts(dictionary) => dictionary.text(),
            Names::Ints { values, .. } => size_of::<i64>() * values.len(),
        }
    }

    /// Extends a table by the codes of the tags that are new since it was made, given that of a text and of a number.
    pub fn learn(&self, table: &mut Vec<ItemCode>, text: impl Fn(&str) -> ItemCode, int: impl Fn(i64) -> ItemCode) {
        match &self.names {
            Names::Texts(dictionary) => table.extend(dictionary.values()[table.len()..].iter().map(|tag| text(tag))),
            Names::Ints { values, .. } => table.extend(values[table.len()..].iter().map(|&tag| int(tag))),
        }
    }

    /// The codes of the rows' items, by such a table; the rows are then gone. `none` stands for a tag that is no item.
    pub fn take(&mut self, table: &[ItemCode], none: ItemCode) -> TagCodes {
        let mut coded = TagCodes::with_capacity(self.rows());
        let mut items: Vec<ItemCode> = Vec::new();
        for row in 0..self.rows() {
            items.clear();
            items.extend(self.row(row).iter().map(|&local| table[local as usize]).filter(|&code| code != none));
            items.sort_unstable();
            coded.push(&items);
        }
        self.codes.clear();
        self.starts.truncate(1);
        coded
    }
}

/// The items of a feature of tags with their customers; a tag of fewer is none.
pub fn items(tags: &[(Tag, u64)], min_uv: u64) -> (Vec<ItemValue>, Vec<u64>) {
    let item = |tag: &Tag| match tag {
        Tag::Int(value) => ItemValue::Int(*value),
        Tag::Text(text) => ItemValue::Text(text.clone()),
    };
    tags.iter().filter(|(_, uv)| *uv >= min_uv).map(|(tag, uv)| (item(tag), *uv)).unzip()
}

/// The items of each row of a feature of tags, distinct and increasing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagCodes {
    /// Where each span of rows starts, so that a row takes 4 bytes more than its tags however many there are.
    bases: Vec<u64>,
    /// Where each row starts, counted from its span's start; and where the last one ends.
    starts: Vec<u32>,
    tags: Vec<ItemCode>,
}

/// Rows of a span: with fewer than 2^16 tags each they are fewer than 2^32.
const SPAN: usize = 1 << 16;

impl TagCodes {
    pub fn with_capacity(rows: usize) -> TagCodes {
        let mut starts = Vec::with_capacity(rows + 1);
        starts.push(0);
        TagCodes { bases: vec![0], starts, tags: Vec::new() }
    }

    /// Adds a row with these items, which are distinct and increasing.
    pub fn push(&mut self, tags: &[ItemCode]) {
        debug_assert!(tags.windows(2).all(|pair| pair[0] < pair[1]), "{tags:?}");
        self.tags.extend_from_slice(tags);
        if self.starts.len().is_multiple_of(SPAN) {
            self.bases.push(self.tags.len() as u64);
        }
        let start = self.tags.len() as u64 - self.bases[self.starts.len() / SPAN];
        self.starts.push(u32::try_from(start).expect("a span has fewer than 2^32 tags"));
    }

    /// These rows, in this order.
    pub fn some(&self, rows: &[u32]) -> TagCodes {
        let mut codes = TagCodes::with_capacity(rows.len());
        codes.tags.reserve_exact(rows.iter().map(|&row| self.row(row as usize).len()).sum());
        rows.iter().for_each(|&row| codes.push(self.row(row as usize)));
        codes
    }

    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn row(&self, row: usize) -> &[ItemCode] {
        let start = |row: usize| self.bases[row / SPAN] as usize + self.starts[row] as usize;
        &self.tags[start(row)..start(row + 1)]
    }

    /// Which of `len` rows from `start` have each of these items, one bit a row.
    pub fn bitmaps(&self, codes: &[ItemCode], start: usize, len: usize) -> Vec<Vec<u64>> {
        const NONE: u32 = u32::MAX;
        let mut place = vec![NONE; codes.iter().max().map_or(0, |&code| usize::from(code) + 1)];
        codes.iter().zip(0..).for_each(|(&code, i)| place[usize::from(code)] = i);
        let mut bits = vec![vec![0u64; len.div_ceil(64)]; codes.len()];
        for row in 0..len {
            for &tag in self.row(start + row) {
                match place.get(usize::from(tag)) {
                    None => break,
                    Some(&NONE) => {}
                    Some(&i) => bits[i as usize][row / 64] |= 1 << (row % 64),
                }
            }
        }
        bits
    }

    /// How many sets of up to `most` tags the rows have.
    pub fn load(&self, most: usize) -> TagLoad {
        let mut load = TagLoad { sets: vec![0; most + 1], largest: 0 };
        for row in 0..self.len() {
            let tags = self.row(row).len() as u64;
            load.largest = load.largest.max(tags);
            let mut sets = 1u64;
            for (k, sum) in (0..).zip(&mut load.sets) {
                *sum = sum.saturating_add(sets);
                sets = sets.saturating_mul(tags.saturating_sub(k)) / (k + 1);
            }
        }
        load
    }

    pub fn bytes(&self) -> usize {
        8 * self.bases.len() + 4 * self.starts.len() + 2 * self.tags.len()
    }
}

/// How many combinations of tags the customers have: what bounds how many can be frequent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagLoad {
    /// Sets of 0, 1, 2 .. tags of one customer, over all customers.
    pub sets: Vec<u64>,
    /// The most tags that one customer has.
    pub largest: u64,
}

impl TagLoad {
    /// Of the customers of both.
    pub fn add(&mut self, other: &TagLoad) {
        self.sets.iter_mut().zip(&other.sets).for_each(|(a, b)| *a = a.saturating_add(*b));
        self.largest = self.largest.max(other.largest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Int32Array, Int64Builder, ListBuilder, StringArray, StringBuilder};
    use arrow::datatypes::Int32Type;

    use super::*;
    use crate::job::Missing;

    fn input(separator: Option<&str>, null_values: &[&str]) -> FeatureInput {
        FeatureInput {
            name: "f".into(),
            column: 0,
            column_name: "f".into(),
            kind: None,
            bin: None,
            part: None,
            separator: separator.map(str::to_owned),
            missing: Missing::Level,
            null_values: null_values.iter().map(|&null| null.to_owned()).collect(),
        }
    }

    fn read(input: &FeatureInput, kind: ColumnKind, array: ArrayRef) -> LocalTags {
        let mut tags = LocalTags::new(&kind, 1000);
        tags.push(input, &array);
        tags
    }

    fn texts(tags: &LocalTags) -> Vec<String> {
        let of = |row| tags.at(row).iter().map(Tag::to_string).collect::<Vec<_>>().join("/");
        (0..tags.rows()).map(of).collect()
    }

    #[test]
    fn text_is_cut_at_the_separator_into_a_set_without_white_space_empty_and_missing_tags() {
        let rows = vec![Some("b|a|b"), Some(" a |\u{3000}旅行\t|| "), None, Some(""), Some("?|b"), Some("?")];
        let tags = read(&input(Some("|"), &["?"]), ColumnKind::Text, Arc::new(StringArray::from(rows)));
        assert_eq!(texts(&tags), ["a/b", "a/旅行", "", "", "b", ""]);
        let count = |tag: &str, n| (Tag::Text(tag.into()), n);
        let sketch = tags.sketch();
        assert_eq!((sketch.rows, sketch.nulls), (6, 3));
        let expected = vec![count("a", 2), count("b", 2), count("旅行", 1)];
        assert_eq!(sketch.values, Values::Tags { tags: expected, spaced: true });
        // The same as places in a dictionary, and with a separator of several characters.
        let keys: Int32Array = vec![Some(1), None, Some(0)].into_iter().collect();
        let values = Arc::new(StringArray::from(vec!["x::y:z", "y::x"]));
        let coded: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, values));
        let tags = read(&input(Some("::"), &[]), ColumnKind::Text, coded);
        assert_eq!(texts(&tags), ["x/y", "", "x/y:z"]);
        assert!(matches!(tags.sketch().values, Values::Tags { spaced: false, .. }));
    }

    #[test]
    fn lists_are_sets_of_their_values_without_nulls() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some(" b"), None, Some("a"), Some(""), Some(" b")]);
        lists.append_null();
        lists.append_value([] as [Option<&str>; 0]);
        lists.append_value([Some("none")]);
        let tags = read(&input(None, &["none"]), ColumnKind::TextList, Arc::new(lists.finish()));
        assert_eq!(texts(&tags), [" b/a", "", "", ""]);
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(10), Some(9), None, Some(10), Some(-1)]);
        lists.append_value([Some(9)]);
        let mut tags = read(&input(None, &["-1"]), ColumnKind::IntList, Arc::new(lists.finish()));
        assert_eq!(texts(&tags), ["9/10", "9"], "numbers in the order of numbers");
        tags.retain(&[false, true]);
        let expected = Values::Tags { tags: vec![(Tag::Int(9), 1)], spaced: false };
        assert_eq!(tags.sketch(), Sketch { rows: 1, nulls: 0, nonfinite: false, values: expected });
    }

    #[test]
    fn rows_of_codes_are_what_was_added_across_spans() {
        let row = |i: usize| (0..i % 4).map(|tag| (tag * 3) as ItemCode).collect::<Vec<_>>();
        let mut codes = TagCodes::with_capacity(0);
        (0..2 * SPAN + 5).for_each(|i| codes.push(&row(i)));
        assert_eq!(codes.len(), 2 * SPAN + 5);
        assert!((0..codes.len()).all(|i| codes.row(i) == row(i)));
        let bits = codes.bitmaps(&[0, 6], SPAN - 2, 70);
        let has = |code: ItemCode, i: usize| row(SPAN - 2 + i).contains(&code);
        for (bits, code) in bits.iter().zip([0, 6]) {
            assert!((0..70).all(|i| (bits[i / 64] >> (i % 64) & 1 == 1) == has(code, i)), "{code}");
        }
        // A quarter of the rows each has 0, 1, 2 and 3 tags; of the last five rows 0, 1, 2, 3 and 0.
        let quarter = SPAN as u64 / 2;
        let load = codes.load(3);
        assert_eq!(load.sets, [4 * quarter + 5, 6 * quarter + 6, 4 * quarter + 4, quarter + 1]);
        assert_eq!(load.largest, 3);
    }

    #[test]
    fn rules_name_exactly_the_customers_with_a_tag() {
        let sql = |source: &TagSource, tag| source.sql("\"f\"", tag);
        assert_eq!(sql(&TagSource::List, "5"), r#"5 = ANY("f")"#);
        let text = |separator: &str, spaced| TagSource::Text { separator: separator.into(), spaced };
        assert_eq!(sql(&text("|", false), "'旅行'"), r#"'旅行' = ANY(string_to_array("f", '|'))"#);
        let white = "[ \\t\\n\\v\\f\\r\u{3000}]*";
        assert_eq!(
            sql(&text("'.", true), "'a'"),
            format!(
                r#"'a' = ANY(string_to_array(regexp_replace('''.' || "f" || '''.', '{white}''\.{white}', '''.', 'g'), '''.'))"#
            )
        );
    }
}
