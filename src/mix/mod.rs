//! How groups divide by columns that need not be features, as by channel or city: each value's share of every group, each group's share of
//! every value, and what the metric is in both.

mod told;

use serde::{Deserialize, Serialize};

use crate::encode::{Codebook, Codes, Feature, ItemValue, MetricColumn, OTHER, Shard};
use crate::score::{benjamini_hochberg, mean, proportions_log_p, proportions_z};
use crate::segment::{Item, ItemCode};
use crate::stats::{MetricKind, Scale, Stats};

/// Values of a column that are told; all others are told together. Codes and documents stay small however many a column has.
const MOST_VALUES: usize = 1000;

/// Values of a column that a reader is shown.
const MOST_SHOWN: usize = 12;

/// A column that groups are told by: which of its codes are counted together.
#[derive(Clone, Debug)]
pub struct Dimension {
    book: Codebook,
    /// What is counted: codes, and none for all others, which come last.
    values: Vec<Option<ItemCode>>,
    /// By code, the place among these; none of a tag that is not counted, as those who have it are counted for others of theirs.
    place_of: Vec<Option<u32>>,
}

impl Dimension {
    /// Of a column that was coded as a feature: the values with the most customers, ties as they stand.
    pub fn of(feature: Feature) -> Dimension {
        Dimension::with(feature, MOST_VALUES)
    }

    fn with(feature: Feature, most: usize) -> Dimension {
        let mut codes: Vec<usize> = (0..feature.items.len()).collect();
        codes.sort_by_key(|&code| (std::cmp::Reverse(feature.uv[code]), code));
        codes.truncate(most);
        codes.sort_unstable();
        let mut place_of = vec![None; feature.cardinality()];
        (0..).zip(&codes).for_each(|(place, &code)| place_of[code] = Some(place));
        let mut values: Vec<Option<ItemCode>> = codes.into_iter().map(|code| Some(code as ItemCode)).collect();
        if feature.tags.is_none() && place_of.contains(&None) {
            place_of.iter_mut().filter(|place| place.is_none()).for_each(|place| *place = Some(values.len() as u32));
            values.push(None);
        }
        Dimension { book: Codebook { features: vec![feature] }, values, place_of }
    }
}

/// Customers, and what the mean of the primary metric is made of. Scaled units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cell {
    uv: i64,
    sum: i128,
    den: i128,
}

impl Cell {
    fn add(&mut self, other: Cell) {
        *self = Cell { uv: self.uv + other.uv, sum: self.sum + other.sum, den: self.den + other.den };
    }

    /// None of nobody, and without a denominator.
    fn mean(self, kind: MetricKind, scale: Scale) -> Option<f64> {
        let Cell { uv, sum, den } = self;
        let defined = uv > 0 && (kind != MetricKind::Ratio || den != 0);
        defined.then(|| mean(kind, scale, &Stats { uv, sum, den, ..Stats::default() }))
    }
}

/// Exact sums by column, value and set of customers: every group, and who is in none. They add up over workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    sets: usize,
    /// A column each, the sets of a value side by side.
    columns: Vec<Vec<Cell>>,
    /// The sets as a whole.
    whole: Vec<Cell>,
}

impl Crossed {
    /// Nobody, for so many groups.
    pub fn none(dimensions: &[Dimension], groups: usize) -> Crossed {
        let sets = groups + 1;
        let columns = dimensions.iter().map(|d| vec![Cell::default(); d.values.len() * sets]).collect();
        Crossed { sets, columns, whole: vec![Cell::default(); sets] }
    }

    /// Adds the rows of a shard from `start` on, given the set that each is in.
    pub fn add_rows(&mut self, dimensions: &[Dimension], shard: &Shard, start: usize, sets: &[u32]) {
        match &shard.metrics[0] {
            MetricColumn::Rate(yes) => self.add_cells(dimensions, shard, start, sets, |row| [i128::from(yes[row]), 0]),
            MetricColumn::Amount(values) => {
                self.add_cells(dimensions, shard, start, sets, |row| [i128::from(values[row]), 0]);
            }
            MetricColumn::Ratio { num, den } => {
                self.add_cells(dimensions, shard, start, sets, |row| [i128::from(num[row]), i128::from(den[row])]);
            }
        }
    }

    fn add_cells(
        &mut self,
        dimensions: &[Dimension],
        shard: &Shard,
        start: usize,
        sets: &[u32],
        value: impl Fn(usize) -> [i128; 2],
    ) {
        fn single<T: Copy + Into<u16>>(codes: &[T], mut add: impl FnMut(usize, usize)) {
            codes.iter().enumerate().for_each(|(row, &code)| add(row, usize::from(code.into())));
        }
        let cell = |row: usize| {
            let [sum, den] = value(start + row);
            Cell { uv: 1, sum, den }
        };
        sets.iter().enumerate().for_each(|(row, &set)| self.whole[set as usize].add(cell(row)));
        for ((dimension, codes), cells) in dimensions.iter().zip(&shard.aside).zip(&mut self.columns) {
            let mut add = |row: usize, code: usize| {
                if let Some(place) = dimension.place_of[code] {
                    cells[place as usize * self.sets + sets[row] as usize].add(cell(row));
                }
            };
            match codes {
                Codes::U8(codes) => single(&codes[start..start + sets.len()], add),
                Codes::U16(codes) => single(&codes[start..start + sets.len()], add),
                Codes::Tags(tags) => (0..sets.len())
                    .for_each(|row| tags.row(start + row).iter().for_each(|&tag| add(row, usize::from(tag)))),
            }
        }
    }

    pub fn add(&mut self, other: &Crossed) {
        let own = self.columns.iter_mut().flatten().chain(&mut self.whole);
        own.zip(other.columns.iter().flatten().chain(&other.whole)).for_each(|(a, b)| a.add(*b));
    }
}

/// How the groups divide by each column, as it may be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mix {
    pub columns: Vec<Column>,
}

/// How the groups divide by one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    book: Codebook,
    /// Values in their own order where they have one, else the most frequent first; then missing, then all others together.
    pub values: Vec<Value>,
    /// Whether a customer has one value; of tags several, or none.
    pub exclusive: bool,
    /// Where there are many values: the places of the most frequent ones, and all others together, where they are told so.
    few: Option<(Vec<usize>, Option<Value>)>,
}

/// One value of a column, or all others together.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    item: Option<ItemCode>,
    /// Customers of the base with it.
    pub uv: i64,
    /// Their share of the base.
    pub share: f64,
    /// Over them; none where the metric has no mean.
    pub metric_mean: Option<f64>,
    /// The groups, in their order, then who is in none; none where it must not be told.
    pub sets: Vec<Option<Share>>,
}

/// What one set of customers has of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Customers of the set with the value.
    pub uv: i64,
    /// Their share of the set.
    pub share: f64,
    /// Their share of all customers with the value.
    pub of_value: f64,
    /// `share` over the value's share of the base, times 100.
    pub index: f64,
    /// Standard score of the set against the rest of the base.
    pub z: f64,
    /// False discovery rate at which the difference counts as found, over all values of the column.
    pub q: f64,
    /// Over these customers; none without any, or where the metric has no mean.
    pub metric_mean: Option<f64>,
}

/// A share is told as different from the base's when chance is ruled out at this false discovery rate.
const SURE: f64 = 0.05;

impl Share {
    pub fn is_sure(&self) -> bool {
        self.q <= SURE
    }
}

impl Mix {
    /// Of exact sums over all rows. `ids` has the group, from 1, of each set that was counted; fewer customers than `floor` are told nowhere.
    pub fn of(
        dimensions: Vec<Dimension>,
        crossed: &Crossed,
        ids: &[u32],
        kind: MetricKind,
        scale: Scale,
        floor: i64,
    ) -> Mix {
        assert_eq!(ids.len() + 1, crossed.sets, "a group each, and who is in none");
        // By id, then nobody's.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&set| ids[set]);
        order.push(ids.len());
        let in_order = |cells: &[Cell]| order.iter().map(|&set| cells[set]).collect::<Vec<Cell>>();
        let whole = in_order(&crossed.whole);
        let column = |(dimension, cells): (Dimension, &Vec<Cell>)| {
            let rows = dimension.values.iter().copied().zip(cells.chunks(crossed.sets).map(in_order)).collect();
            Column::of(dimension.book, rows, &whole, kind, scale, floor)
        };
        let columns = dimensions.into_iter().zip(&crossed.columns).map(column);
        // Of tags that are all rare nothing is told.
        Mix { columns: columns.filter(|column| !column.values.is_empty()).collect() }
    }
}

impl Column {
    fn of(
        book: Codebook,
        rows: Vec<(Option<ItemCode>, Vec<Cell>)>,
        whole: &[Cell],
        kind: MetricKind,
        scale: Scale,
        floor: i64,
    ) -> Column {
        let feature = &book.features[0];
        let exclusive = feature.tags.is_none();
        let uv = |cells: &[Cell]| cells.iter().map(|cell| cell.uv).sum::<i64>();
        let base = uv(whole);
        let few = |customers: i64| (1..floor).contains(&customers);
        let mut rows: Vec<_> = rows.into_iter().filter(|(_, cells)| uv(cells) > 0).collect();
        match exclusive {
            true => pool(&mut rows, |cells| few(uv(cells))),
            false => rows.retain(|(_, cells)| !few(uv(cells)) && !few(base - uv(cells))),
        }
        let by_itself = |code: ItemCode| match feature.items[usize::from(code)] {
            ItemValue::Text(_) => (0, i64::MIN),
            ItemValue::Missing => (1, 0),
            _ => (0, i64::from(code)),
        };
        rows.sort_by_key(|(item, cells)| match item {
            Some(code) => (by_itself(*code), -uv(cells), *code),
            None => ((2, 0), 0, 0),
        });
        let counts: Vec<Vec<i64>> = rows.iter().map(|(_, cells)| cells.iter().map(|cell| cell.uv).collect()).collect();
        let sizes: Vec<i64> = whole.iter().map(|cell| cell.uv).collect();
        let hidden = told::hidden(&counts, (!exclusive).then_some(&sizes), floor);
        let log_p = |set: usize, row: usize| proportions_log_p(counts[row][set], sizes[set], uv(&rows[row].1), base);
        let q: Vec<Vec<f64>> = (0..sizes.len())
            .map(|set| benjamini_hochberg(&(0..rows.len()).map(|row| log_p(set, row)).collect::<Vec<_>>(), 0))
            .collect();
        let share = |uv: i64, of: i64| if of == 0 { 0.0 } else { uv as f64 / of as f64 };
        let value = |item: Option<ItemCode>, cells: &[Cell], q: &dyn Fn(usize) -> f64, hidden: &[bool]| {
            let mut all = Cell::default();
            cells.iter().for_each(|cell| all.add(*cell));
            let of_base = share(all.uv, base);
            let told = |(set, cell): (usize, &Cell)| {
                let own = share(cell.uv, sizes[set]);
                (!hidden[set]).then(|| Share {
                    uv: cell.uv,
                    share: own,
                    of_value: share(cell.uv, all.uv),
                    index: own / of_base * 100.0,
                    z: proportions_z(cell.uv, sizes[set], all.uv, base),
                    q: q(set),
                    metric_mean: cell.mean(kind, scale),
                })
            };
            Value {
                item,
                uv: all.uv,
                share: of_base,
                metric_mean: all.mean(kind, scale),
                sets: cells.iter().enumerate().map(told).collect(),
            }
        };
        let values: Vec<Value> = (rows.iter().enumerate())
            .map(|(row, (item, cells))| value(*item, cells, &|set| q[set][row], &hidden[row]))
            .collect();
        let few = (values.len() > MOST_SHOWN + 1).then(|| {
            let mut shown: Vec<usize> = (0..values.len()).filter(|&row| rows[row].0.is_some()).collect();
            shown.sort_by_key(|&row| (-values[row].uv, row));
            shown.truncate(MOST_SHOWN);
            shown.sort_unstable();
            let (inside, outside): (Vec<usize>, _) = (0..values.len()).partition(|row| shown.contains(row));
            let mut cells = vec![Cell::default(); sizes.len()];
            let of_rows = outside.iter().flat_map(|&row| rows[row].1.iter().enumerate());
            of_rows.for_each(|(set, cell)| cells[set].add(*cell));
            let together = told::hidden_together(&counts, &hidden, [&inside, &outside], floor);
            // Not tested: there is no hypothesis of such a mixture.
            let further = exclusive.then(|| value(None, &cells, &|_| 1.0, &together));
            (shown, further)
        });
        Column { book, values, exclusive, few }
    }

    /// The values for a reader: all, or of many the most frequent and then all others together.
    pub fn shown(&self) -> impl Iterator<Item = &Value> {
        let (places, further) = match &self.few {
            Some((places, further)) => (places.clone(), further.as_ref()),
            None => ((0..self.values.len()).collect(), None),
        };
        places.into_iter().map(|place| &self.values[place]).chain(further)
    }

    /// What the job calls it.
    pub fn name(&self) -> &str {
        &self.book.features[0].name
    }

    /// A value as a program reads it: quoted where it could be misread.
    pub fn label(&self, value: &Value) -> String {
        match value.item {
            None => OTHER.to_owned(),
            Some(code) => self.book.item_label(Item { feature: 0, code }),
        }
    }

    /// What the column was coded as.
    pub fn feature(&self) -> &Feature {
        &self.book.features[0]
    }

    /// What a value is; none where it is all others together.
    pub fn value<'a>(&'a self, value: &Value) -> Option<&'a ItemValue> {
        value.item.map(|code| &self.book.features[0].items[usize::from(code)])
    }

    /// Whether telling how many customers of the group in a place have this value would tell what is withheld here.
    pub fn withholds(&self, value: &ItemValue, place: usize) -> bool {
        let known = self.book.features[0].items.iter().position(|item| item == value);
        let own = known.and_then(|code| self.values.iter().find(|v| v.item == Some(code as ItemCode)));
        own.is_none_or(|value| value.sets[place].is_none())
    }
}

/// Puts rows that few are in together with those of all other values, and the smallest of the others too while few are there.
fn pool(rows: &mut Vec<(Option<ItemCode>, Vec<Cell>)>, few: impl Fn(&[Cell]) -> bool) {
    rows.sort_by_key(|(item, cells)| (item.is_none(), cells.iter().map(|cell| -cell.uv).sum::<i64>(), *item));
    let mut other = if rows.last().is_some_and(|(item, _)| item.is_none()) { rows.pop() } else { None };
    while rows.last().is_some_and(|(_, cells)| few(cells)) || other.as_ref().is_some_and(|(_, cells)| few(cells)) {
        let Some((_, cells)) = rows.pop() else { break };
        let (_, sum) = other.get_or_insert_with(|| (None, vec![Cell::default(); cells.len()]));
        sum.iter_mut().zip(cells).for_each(|(sum, cell)| sum.add(cell));
    }
    rows.extend(other);
}

#[cfg(test)]
mod tests;
