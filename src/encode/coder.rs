//! From the values of a feature to its codes: what its items are says which value has which.

use super::Map;
use super::book::band;
use super::codebook::{Feature, ItemValue};
use super::features::{LocalFeature, finite};
use super::numbers::{MISSING_INT, bits, float};
use super::shard::Codes;
use super::strangers::Strangers;
use super::tags::TagSource;
use super::values;
use crate::job::DatePart;
use crate::segment::ItemCode;
use crate::source::ColumnKind;

/// Gives the values of one feature their codes. What it found out of a local column's values is kept while the column is filled again.
#[derive(Debug)]
pub struct Coder {
    items: Items,
    missing: ItemCode,
    /// Of a value that is no item.
    none: ItemCode,
    cardinality: usize,
    /// By the local column's own code, as far as its values were seen.
    table: Vec<ItemCode>,
    /// Whether a value in the table is no item.
    strange: bool,
}

/// What the items of a feature are; missing stands beside them.
#[derive(Debug)]
pub(super) enum Items {
    /// With those of them that are numbers, by what they are: for a column that holds numbers as such.
    Texts {
        by_text: Map<String, ItemCode>,
        by_number: Map<i64, ItemCode>,
    },
    Bools([ItemCode; 2]),
    /// Each a value of its own: by integers, and by floats as bits.
    Numbers {
        by_int: Map<i64, ItemCode>,
        by_float: Map<i64, ItemCode>,
    },
    /// The code of each band between the borders, and at both ends.
    Bands {
        borders: Vec<f64>,
        codes: Vec<ItemCode>,
    },
    Parts(DatePart, Map<i64, ItemCode>),
}

impl Items {
    pub fn of(feature: &Feature) -> Items {
        let coded = || feature.items.iter().zip(0..);
        let bands = || {
            let range = |(item, code): (&ItemValue, ItemCode)| match item {
                ItemValue::Range { low, high } => Some((*low, *high, code)),
                _ => None,
            };
            coded().filter_map(range)
        };
        let mut items = feature.items.iter().filter(|item| **item != ItemValue::Missing);
        // Booleans among texts are those of `respelled`.
        let bool = items.clone().find(|item| matches!(item, ItemValue::Bool(_)));
        match bool.or(items.next()) {
            Some(ItemValue::Range { .. }) => {
                // A band of too few customers is no item; its borders are those of its neighbours.
                let mut borders: Vec<f64> = bands().flat_map(|(low, high, _)| [low, high]).flatten().collect();
                borders.sort_by(f64::total_cmp);
                borders.dedup();
                let mut codes = vec![feature.items.len() as ItemCode; borders.len() + 1];
                for (low, _, code) in bands() {
                    codes[low.map_or(0, |low| band(&borders, low))] = code;
                }
                Items::Bands { borders, codes }
            }
            Some(ItemValue::Part { part, .. }) => {
                let value = |(item, code): (&ItemValue, ItemCode)| match item {
                    ItemValue::Part { value, .. } => Some((i64::from(*value), code)),
                    _ => None,
                };
                Items::Parts(*part, coded().filter_map(value).collect())
            }
            Some(ItemValue::Bool(_)) => {
                let code =
                    |value: bool| coded().find(|(item, _)| **item == ItemValue::Bool(value)).map(|(_, code)| code);
                Items::Bools([false, true].map(|value| code(value).unwrap_or(feature.items.len() as ItemCode)))
            }
            Some(ItemValue::Int(_) | ItemValue::Number(_)) => {
                let (mut by_int, mut by_float) = (Map::default(), Map::default());
                for (item, code) in coded() {
                    match item {
                        ItemValue::Int(value) => {
                            by_int.insert(*value, code);
                            by_float.insert(bits(*value as f64), code);
                        }
                        ItemValue::Number(value) => {
                            by_float.insert(bits(*value), code);
                        }
                        _ => {}
                    }
                }
                Items::Numbers { by_int, by_float }
            }
            Some(ItemValue::Text(_) | ItemValue::Missing) | None => {
                let text = |(item, code): (&ItemValue, ItemCode)| match item {
                    ItemValue::Text(text) => Some((text.clone(), code)),
                    _ => None,
                };
                let by_text: Map<String, ItemCode> = coded().filter_map(text).collect();
                let number = |(text, code): (String, ItemCode)| Some((bits(super::features::number(&text)?), code));
                let by_number = coded().filter_map(text).filter_map(number).collect();
                Items::Texts { by_text, by_number }
            }
        }
    }

    /// The codes of some texts, `none` for those that are no item.
    fn texts(&self, texts: &[&str], none: ItemCode) -> Vec<ItemCode> {
        let each = |code: &dyn Fn(&str) -> Option<ItemCode>| {
            texts.iter().map(|text| code(text).unwrap_or(none)).collect::<Vec<ItemCode>>()
        };
        match self {
            Items::Texts { by_text, .. } => each(&|text| by_text.get(text).copied()),
            Items::Bands { borders, codes } => each(&|text| finite(text).map(|value| codes[band(borders, value)])),
            Items::Bools(codes) => each(&|text| {
                let is = |word: &str| text.trim().eq_ignore_ascii_case(word);
                (is("false") || is("true")).then(|| codes[usize::from(is("true"))])
            }),
            Items::Numbers { by_int, by_float } => each(&|text| {
                let whole = text.trim().parse().ok().and_then(|int: i64| by_int.get(&int));
                whole.or_else(|| by_float.get(&bits(finite(text)?))).copied()
            }),
            Items::Parts(part, by_value) => values::parts(&values::parse_dates(texts), *part)
                .into_iter()
                .map(|value| value.and_then(|value| by_value.get(&i64::from(value))).copied().unwrap_or(none))
                .collect(),
        }
    }

    fn int(&self, value: i64) -> Option<ItemCode> {
        match self {
            Items::Texts { by_number, .. } => by_number.get(&bits(value as f64)).copied(),
            Items::Bands { borders, codes } => Some(codes[band(borders, value as f64)]),
            Items::Bools(codes) => usize::try_from(value).ok().and_then(|value| codes.get(value)).copied(),
            Items::Numbers { by_int, by_float } => match by_int.is_empty() {
                true => by_float.get(&bits(value as f64)).copied(),
                false => by_int.get(&value).copied(),
            },
            Items::Parts(_, by_value) => by_value.get(&value).copied(),
        }
    }

    /// The same of a float, by its bits.
    fn float(&self, value: i64) -> Option<ItemCode> {
        match self {
            Items::Texts { by_number: by_value, .. } | Items::Numbers { by_float: by_value, .. } => {
                by_value.get(&value).copied()
            }
            Items::Bands { borders, codes } => Some(codes[band(borders, float(value))]),
            Items::Bools(_) | Items::Parts(..) => None,
        }
    }
}

impl Items {
    /// Whether a column of this kind can hold the values; if not, what would. Numbers of a table in Parquet are text in CSV, and the
    /// other way round.
    fn fit(&self, tags: Option<&TagSource>, kind: &ColumnKind) -> Result<(), &'static str> {
        use ColumnKind::{Bool, Date, Decimal, Float, Int, IntList, Text, TextList, Timestamp};
        let of = |kinds: &[ColumnKind], expected| if kinds.contains(kind) { Ok(()) } else { Err(expected) };
        match (tags, self) {
            (Some(TagSource::List), Items::Numbers { .. }) => of(&[IntList], "lists of whole numbers, as in the run"),
            (Some(TagSource::List), _) => of(&[TextList], "lists of text, as in the run"),
            (Some(TagSource::Text { .. }), _) => of(&[Text, TextList], "text with several tags, as in the run"),
            (None, Items::Texts { by_text, by_number }) => {
                let number = !by_number.is_empty() && matches!(kind, Int | Float | Decimal);
                let null = by_text.is_empty() && !kind.is_list() && !matches!(kind, ColumnKind::Unsupported(_));
                if number || null { Ok(()) } else { of(&[Text], "text, as in the run") }
            }
            (None, Items::Bools(_)) => of(&[Bool, Int, Text], "yes or no, as in the run"),
            (None, Items::Numbers { .. } | Items::Bands { .. }) => {
                of(&[Int, Float, Decimal, Text], "numbers, as in the run")
            }
            (None, Items::Parts(..)) => of(&[Date, Timestamp, Text], "dates or times, as in the run"),
        }
    }
}

/// The feature as a column of this kind asks for it: a boolean is what the run's text spells so, in whatever case.
pub(super) fn respelled(feature: &Feature, kind: &ColumnKind) -> Feature {
    let mut feature = feature.clone();
    if *kind == ColumnKind::Bool && feature.tags.is_none() {
        for value in [true, false] {
            let spelled = |item: &&mut ItemValue| match item {
                ItemValue::Text(text) => text.eq_ignore_ascii_case(if value { "true" } else { "false" }),
                _ => false,
            };
            // Of several spellings a boolean is none in particular.
            let mut all: Vec<&mut ItemValue> = feature.items.iter_mut().filter(spelled).collect();
            if let [only] = all.as_mut_slice() {
                **only = ItemValue::Bool(value);
            }
        }
    }
    feature
}

/// Whether a column of this kind can hold the values of a feature; if not, what would.
pub(super) fn fits(feature: &Feature, kind: &ColumnKind) -> Result<(), &'static str> {
    Items::of(&respelled(feature, kind)).fit(feature.tags.as_ref(), kind)
}

impl Coder {
    /// A feature whose every value is an item has no further code, and none of the values may then ask for it.
    pub fn of(feature: &Feature) -> Coder {
        let none = feature.items.len() as ItemCode;
        let missing =
            feature.items.iter().zip(0..).find(|(item, _)| **item == ItemValue::Missing).map(|(_, code)| code);
        Coder {
            items: Items::of(feature),
            missing: feature.completed.or(missing).unwrap_or(none),
            none,
            cardinality: feature.cardinality(),
            table: Vec::new(),
            strange: false,
        }
    }

    /// The codes of a local column's rows, which it then no longer has.
    pub fn take(&mut self, local: &mut LocalFeature) -> Codes {
        self.learn(local);
        let Coder { items, missing, none, cardinality, table, .. } = self;
        match local {
            LocalFeature::Text { codes, .. } => std::mem::take(codes).coded(table, *cardinality),
            LocalFeature::Ints { values, .. } => {
                values.take(table, *cardinality, |value| int(items, value, *missing, *none))
            }
            LocalFeature::Floats(values) => {
                values.take(table, *cardinality, |value| real(items, value, *missing, *none))
            }
            LocalFeature::Tags(tags) => Codes::Tags(tags.take(table, *none)),
            LocalFeature::Overflow { .. } => unreachable!("a refused feature is not coded"),
        }
    }

    /// The same, with an account of the rows whose value is no item: `named` says that the values are told too.
    ///
    /// There must be a further code for them, as of a feature with rest.
    pub fn take_counted(&mut self, local: &mut LocalFeature, named: bool, strangers: &mut Strangers) -> Codes {
        self.learn(local);
        let missing = if self.missing == self.none { local.missing() } else { 0 };
        let mut others = 0;
        match &*local {
            LocalFeature::Tags(tags) if self.strange => {
                others = tags.rows_with(|local| self.table[local as usize] == self.none);
            }
            local if named => self.name(local, strangers),
            _ => {}
        }
        let codes = self.take(local);
        strangers.missing += missing;
        strangers.others += others + codes.rows_of(self.none).saturating_sub(missing);
        codes
    }

    /// Tells the values that are no item, with the rows that have them.
    fn name(&self, local: &LocalFeature, strangers: &mut Strangers) {
        match local {
            LocalFeature::Text { dictionary, codes, .. } if self.strange => {
                let rows = codes.counts(dictionary.codes());
                let all = dictionary.values().iter().zip(&self.table[1..]).zip(&rows[1..]);
                let strange = all.filter(|((_, code), rows)| **code == self.none && **rows > 0);
                strange.for_each(|((text, _), rows)| strangers.add(text, *rows));
            }
            LocalFeature::Ints { values, what } if self.strange || (!values.is_coded() && !self.is_banded()) => {
                values.counted(|value, rows| {
                    if value != MISSING_INT && int(&self.items, value, self.missing, self.none) == self.none {
                        strangers.add(&what.label(value), rows);
                    }
                });
            }
            LocalFeature::Floats(values) if self.strange || (!values.is_coded() && !self.is_banded()) => {
                values.counted(|value, rows| {
                    if value != MISSING_INT && real(&self.items, value, self.missing, self.none) == self.none {
                        strangers.add(&float(value).to_string(), rows);
                    }
                });
            }
            _ => {}
        }
    }

    fn is_banded(&self) -> bool {
        matches!(self.items, Items::Bands { .. })
    }

    /// Forgets what was found out of a local column's values, as it is followed by another.
    pub fn forget(&mut self) {
        self.table = Vec::new();
        self.strange = false;
    }

    /// Looks at the values of a local column that are new.
    fn learn(&mut self, local: &LocalFeature) {
        let Coder { items, missing, none, table, .. } = self;
        let known = table.len();
        match local {
            LocalFeature::Text { dictionary, .. } => {
                if known == 0 {
                    table.push(*missing);
                }
                let new: Vec<&str> = dictionary.values()[table.len() - 1..].iter().map(|text| &**text).collect();
                if !new.is_empty() {
                    table.extend(items.texts(&new, *none));
                }
            }
            LocalFeature::Ints { values, .. } => {
                values.learn(table, |value| int(items, value, *missing, *none));
            }
            LocalFeature::Floats(values) => {
                values.learn(table, |value| real(items, value, *missing, *none));
            }
            LocalFeature::Tags(tags) => {
                let text = |text: &str| items.texts(&[text], *none)[0];
                tags.learn(table, text, |value| items.int(value).unwrap_or(*none));
            }
            LocalFeature::Overflow { .. } => {}
        }
        // A missing value comes first, but among tags.
        let first = if matches!(local, LocalFeature::Tags(_)) { known } else { known.max(1).min(table.len()) };
        self.strange |= table[first..].contains(none);
    }
}

fn int(items: &Items, value: i64, missing: ItemCode, none: ItemCode) -> ItemCode {
    if value == MISSING_INT { missing } else { items.int(value).unwrap_or(none) }
}

fn real(items: &Items, value: i64, missing: ItemCode, none: ItemCode) -> ItemCode {
    if value == MISSING_INT { missing } else { items.float(value).unwrap_or(none) }
}
