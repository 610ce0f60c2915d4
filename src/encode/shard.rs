//! The rows of one worker as columns of small integers.

use std::ops::Range;

use super::Map;
use super::ids::{IdRef, hash};
use super::tags::{TagCodes, TagLoad};
use crate::audience::CustomerIds;
use crate::segment::Item;
use crate::simd;
use crate::stats::{AFTER, BEFORE, MetricKind, Moments, PARTS, Stats};

/// One worker's customers, coded. Rows stay here from encoding to assignment.
///
/// The rows lie in runs of one part whose metrics are alike, so that what is the same for a whole run need not be looked at
/// row by row; within a run they keep the order in which they were read.
#[derive(Clone, Debug)]
pub struct Shard {
    /// One column a combined feature, in table order.
    pub features: Vec<Codes>,
    /// Columns that groups are only told by.
    pub aside: Vec<Codes>,
    /// The primary metric, then the secondary ones.
    pub metrics: Vec<MetricColumn>,
    /// In the order in which the rows were read.
    ids: CustomerIds,
    /// For each row, which one it was when the rows were read.
    order: Vec<u32>,
    runs: Vec<Run>,
}

/// Rows of a shard, one after the other, of one part and alike in their metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub rows: Range<usize>,
    pub part: usize,
    /// Bit `r`: the `r`-th of the rates is yes for all of them, or else for none; of the first [`RUN_RATES`] rates.
    pub yes: u8,
    /// Every other metric is zero for all of them.
    pub zero: bool,
}

/// Rates that the runs of a shard distinguish: each doubles the counters that a pass over the rows needs.
pub const RUN_RATES: usize = 2;

impl Shard {
    /// Puts the rows into runs. `part` is 0 for the discovery part, 1 for the validation part. All columns are of one length,
    /// below 2^32; `ids` too.
    pub fn new(features: Vec<Codes>, part: Vec<u8>, metrics: Vec<MetricColumn>, ids: CustomerIds) -> Shard {
        let rows = u32::try_from(part.len()).expect("a worker holds fewer than 2^32 rows");
        // What a run's rows have in common: the part, whether there is anything but rates, the rates.
        let mut keys: Vec<u8> = part.iter().map(|&part| part << (RUN_RATES + 1)).collect();
        let mut rates = 0;
        for metric in &metrics {
            let mark = |key: &mut u8, yes: bool, bit: usize| *key |= u8::from(yes) << bit;
            match metric {
                MetricColumn::Rate(yes) if rates < RUN_RATES => {
                    keys.iter_mut().zip(yes).for_each(|(key, &yes)| mark(key, yes != 0, rates));
                    rates += 1;
                }
                MetricColumn::Rate(yes) => {
                    keys.iter_mut().zip(yes).for_each(|(key, &yes)| mark(key, yes != 0, RUN_RATES));
                }
                MetricColumn::Amount(values) => {
                    keys.iter_mut().zip(values).for_each(|(key, &v)| mark(key, v != 0, RUN_RATES));
                }
                MetricColumn::Ratio { num, den } => {
                    let both = num.iter().zip(den);
                    keys.iter_mut().zip(both).for_each(|(key, (&n, &d))| mark(key, n != 0 || d != 0, RUN_RATES));
                }
            }
        }
        let mut sizes = [0usize; PARTS << (RUN_RATES + 1)];
        keys.iter().for_each(|&key| sizes[usize::from(key)] += 1);
        let (mut runs, mut next, mut start) = (Vec::new(), [0usize; PARTS << (RUN_RATES + 1)], 0);
        for (key, &size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
            next[key] = start;
            runs.push(Run {
                rows: start..start + size,
                part: key >> (RUN_RATES + 1),
                yes: key as u8 & ((1 << RUN_RATES) - 1),
                zero: key >> RUN_RATES & 1 == 0,
            });
            start += size;
        }
        let mut order = vec![0u32; part.len()];
        for (row, &key) in (0..rows).zip(&keys) {
            order[next[usize::from(key)]] = row;
            next[usize::from(key)] += 1;
        }
        let masks = simd::picks().then(|| {
            sizes
                .iter()
                .zip(0..)
                .filter(|(size, _)| **size > 0)
                .map(|(_, key)| simd::equal_bits(&keys, key))
                .collect::<Vec<_>>()
        });
        drop((part, keys));
        let picked = |codes: Codes| match (codes, &masks) {
            // Run by run, where the processor has an instruction that picks bytes by bits: ten times as fast.
            (Codes::U8(codes), Some(masks)) => Codes::U8(simd::picked(&codes, masks)),
            (codes, _) => codes.some(&order),
        };
        let features = features.into_iter().map(picked).collect();
        let metrics = metrics.into_iter().map(|metric| metric.some(&order)).collect();
        Shard { features, aside: Vec::new(), metrics, ids, order, runs }
    }

    /// Rows as they were read, of which nothing but the features is known. All columns are of this length, below 2^32.
    pub fn of_features(features: Vec<Codes>, rows: usize) -> Shard {
        let order = (0..u32::try_from(rows).expect("some rows of a table are fewer than 2^32")).collect();
        let run = Run { rows: 0..rows, part: 0, yes: 0, zero: true };
        Shard { features, aside: Vec::new(), metrics: Vec::new(), ids: CustomerIds::default(), order, runs: vec![run] }
    }

    /// The rows of two periods, `before` being 1 for those of the earlier one: those of the later as [`Shard::new`] has them; and all,
    /// with the period in place of the part ([`BEFORE`], [`AFTER`]), the first metric alone and no ids.
    pub fn of_periods(
        features: Vec<Codes>,
        before: &[u8],
        part: &[u8],
        metrics: Vec<MetricColumn>,
        ids: &CustomerIds,
    ) -> (Shard, Shard) {
        let after: Vec<u32> = (0..).zip(before).filter(|(_, before)| **before == 0).map(|(row, _)| row).collect();
        let own = Shard::new(
            features.iter().map(|codes| codes.some(&after)).collect(),
            some(part, &after),
            metrics.iter().map(|metric| metric.some(&after)).collect(),
            ids.at(&after.iter().map(|&row| row as usize).collect::<Vec<usize>>()),
        );
        let period = before.iter().map(|&before| if before > 0 { BEFORE as u8 } else { AFTER as u8 }).collect();
        let primary = metrics.into_iter().take(1).collect();
        (own, Shard::new(features, period, primary, CustomerIds::default()))
    }

    pub fn rows(&self) -> usize {
        self.order.len()
    }

    /// The part that a row is in.
    pub fn part(&self, row: usize) -> usize {
        self.runs[self.runs.partition_point(|run| run.rows.end <= row)].part
    }

    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// For each row, which one it was when the rows were read.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The ids of the customers who were in these places when the rows were read.
    pub fn ids(&self, places: &[usize]) -> CustomerIds {
        self.ids.at(places)
    }

    /// The rows of a part whose customers have a hash of at most `limit`, in order, with these hashes: the same customers however the
    /// table is divided or ordered.
    pub fn hashed_up_to(&self, part: usize, limit: u64, seed: u64) -> Vec<(u32, u64)> {
        let mut hashes = Map::default();
        let mut look = |(place, id): (usize, IdRef)| match hash(id, seed) {
            hash if hash <= limit => {
                hashes.insert(place as u32, hash);
            }
            _ => {}
        };
        match &self.ids {
            CustomerIds::Row(rows) => rows.iter().map(|&row| IdRef::Int(row as i64)).enumerate().for_each(&mut look),
            CustomerIds::Runs(rows) => {
                rows.iter().flatten().map(|row| IdRef::Int(row as i64)).enumerate().for_each(&mut look)
            }
            CustomerIds::Int(ids) => ids.iter().map(|&id| IdRef::Int(id)).enumerate().for_each(&mut look),
            CustomerIds::Text(ids) => ids.iter().map(|id| IdRef::Text(id)).enumerate().for_each(&mut look),
        }
        let mut chosen = vec![0u64; self.rows().div_ceil(64)];
        hashes.keys().for_each(|place| chosen[*place as usize / 64] |= 1 << (place % 64));
        let rows = self.runs.iter().filter(|run| run.part == part).flat_map(|run| run.rows.clone());
        let placed = rows.map(|row| (row as u32, self.order[row]));
        let chosen = placed.filter(|&(_, place)| chosen[place as usize / 64] >> (place % 64) & 1 == 1);
        chosen.map(|(row, place)| (row, hashes[&place])).collect()
    }

    /// The same rows with these features only, by flag.
    pub fn keep_features(&mut self, keep: &[bool]) {
        let mut keep = keep.iter();
        self.features.retain(|_| keep.next() == Some(&true));
    }

    /// Sets the columns in these places aside, in this order: those behind the first `combined` are no features from here on.
    pub fn set_aside(&mut self, places: &[usize], combined: usize) {
        let mut own: Vec<Option<Codes>> = self.features.split_off(combined).into_iter().map(Some).collect();
        let mut column = |place: usize| match place.checked_sub(combined) {
            Some(place) => own[place].take().expect("a column is told by once"),
            None => self.features[place].clone(),
        };
        self.aside = places.iter().map(|&place| column(place)).collect();
    }

    /// These rows, in ascending order, as a shard of their own, with the primary metric alone and without ids.
    pub fn some(&self, rows: &[u32]) -> Shard {
        let mut start = 0;
        let mut of_run = |run: &Run| {
            let end = start + rows[start..].partition_point(|&row| (row as usize) < run.rows.end);
            let rows = start..end;
            start = end;
            Run { rows, ..run.clone() }
        };
        let runs: Vec<Run> = self.runs.iter().map(&mut of_run).filter(|run| !run.rows.is_empty()).collect();
        Shard {
            features: self.features.iter().map(|codes| codes.some(rows)).collect(),
            aside: Vec::new(),
            metrics: self.metrics.iter().take(1).map(|metric| metric.some(rows)).collect(),
            ids: CustomerIds::default(),
            order: (0..rows.len() as u32).collect(),
            runs,
        }
    }

    pub fn moments(&self) -> Moments {
        Moments::of(&self.metrics.iter().map(MetricColumn::kind).collect::<Vec<_>>())
    }

    /// Which of `len` rows from `start` have each of these sorted items, one bit a row.
    pub fn bitmaps(&self, items: &[Item], start: usize, len: usize) -> Vec<Vec<u64>> {
        let by_feature = items.chunk_by(|a, b| a.feature == b.feature);
        by_feature
            .flat_map(|items| match &self.features[usize::from(items[0].feature)] {
                Codes::Tags(tags) => tags.bitmaps(&items.iter().map(|i| i.code).collect::<Vec<_>>(), start, len),
                Codes::U8(_) | Codes::U16(_) => items.iter().map(|&item| self.bitmap(item, start, len)).collect(),
            })
            .collect()
    }

    fn bitmap(&self, item: Item, start: usize, len: usize) -> Vec<u64> {
        fn bits<T: Copy + PartialEq>(codes: &[T], code: T) -> Vec<u64> {
            let word = |codes: &[T]| codes.iter().enumerate().fold(0, |word, (i, &c)| word | u64::from(c == code) << i);
            codes.chunks(64).map(word).collect()
        }
        match &self.features[usize::from(item.feature)] {
            // A code that does not fit the width occurs nowhere.
            Codes::U8(codes) => match u8::try_from(item.code) {
                Ok(code) => simd::equal_bits(&codes[start..start + len], code),
                Err(_) => vec![0; len.div_ceil(64)],
            },
            Codes::U16(codes) => bits(&codes[start..start + len], item.code),
            Codes::Tags(_) => unreachable!("all items of a set of tags are looked up at once"),
        }
    }

    /// A feature each: the combinations of up to `most` tags that customers have, of one that has no tags none.
    pub fn tag_loads(&self, most: usize) -> Vec<TagLoad> {
        let load = |codes: &Codes| match codes {
            Codes::Tags(tags) => tags.load(most),
            Codes::U8(_) | Codes::U16(_) => TagLoad::default(),
        };
        self.features.iter().map(load).collect()
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let features: usize = self.features.iter().chain(&self.aside).map(Codes::bytes).sum();
        let metrics: usize = self.metrics.iter().map(MetricColumn::bytes).sum();
        (features + metrics + 4 * self.order.len()) as u64 + self.ids.bytes()
    }
}

/// Item codes of one feature: one a row, as narrow as they fit, or a set a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codes {
    U8(Vec<u8>),
    U16(Vec<u16>),
    Tags(TagCodes),
}

impl Codes {
    /// Codes below `cardinality`, one a row, with room for `rows`.
    pub fn with_capacity(cardinality: usize, rows: usize) -> Codes {
        if cardinality <= 1 << 8 { Codes::U8(Vec::with_capacity(rows)) } else { Codes::U16(Vec::with_capacity(rows)) }
    }

    pub fn push(&mut self, code: u16) {
        match self {
            Codes::U8(codes) => codes.push(u8::try_from(code).expect("the cardinality chose the width")),
            Codes::U16(codes) => codes.push(code),
            Codes::Tags(_) => unreachable!("a set is not one code"),
        }
    }

    /// The code of a row, of a feature that has one a row.
    pub fn at(&self, row: usize) -> u16 {
        match self {
            Codes::U8(codes) => u16::from(codes[row]),
            Codes::U16(codes) => codes[row],
            Codes::Tags(_) => unreachable!("a set is not one code"),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Codes::U8(codes) => codes.len(),
            Codes::U16(codes) => codes.len(),
            Codes::Tags(tags) => tags.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows have a code, of a feature that has one a row; of others none.
    pub fn rows_of(&self, code: u16) -> u64 {
        let rows = match self {
            Codes::U8(codes) => u8::try_from(code).map_or(0, |code| codes.iter().filter(|c| **c == code).count()),
            Codes::U16(codes) => codes.iter().filter(|c| **c == code).count(),
            Codes::Tags(_) => 0,
        };
        rows as u64
    }

    /// The codes of these rows, in this order.
    fn some(&self, rows: &[u32]) -> Codes {
        match self {
            Codes::U8(codes) => Codes::U8(some(codes, rows)),
            Codes::U16(codes) => Codes::U16(some(codes, rows)),
            Codes::Tags(tags) => Codes::Tags(tags.some(rows)),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Codes::U8(codes) => codes.len(),
            Codes::U16(codes) => 2 * codes.len(),
            Codes::Tags(tags) => tags.bytes(),
        }
    }
}

/// One metric, a value a customer, in scaled units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricColumn {
    /// 0 or 1.
    Rate(Vec<u8>),
    Amount(Vec<i64>),
    Ratio {
        num: Vec<i64>,
        den: Vec<i64>,
    },
}

impl MetricColumn {
    pub fn kind(&self) -> MetricKind {
        match self {
            MetricColumn::Rate(_) => MetricKind::Rate,
            MetricColumn::Amount(_) => MetricKind::Amount,
            MetricColumn::Ratio { .. } => MetricKind::Ratio,
        }
    }

    /// The squares of all values added up, of a ratio the larger of both sides', at most the largest number there is.
    pub fn squares(&self) -> u128 {
        let of = |values: &[i64]| {
            values.iter().map(|v| u128::from(v.unsigned_abs()).pow(2)).fold(0u128, u128::saturating_add)
        };
        match self {
            MetricColumn::Rate(yes) => yes.len() as u128,
            MetricColumn::Amount(values) => of(values),
            // By the inequality of Cauchy and Schwarz the products are no larger than both.
            MetricColumn::Ratio { num, den } => of(num).max(of(den)),
        }
    }

    /// The sums over the customers in these rows.
    pub fn stats_of(&self, rows: impl Iterator<Item = usize>) -> Stats {
        let wide = |values: &[i64], row: usize| i128::from(values[row]);
        let mut stats = Stats::default();
        match self {
            MetricColumn::Rate(yes) => {
                rows.for_each(|row| {
                    stats.uv += 1;
                    stats.sum += i128::from(yes[row]);
                });
                stats.sq = stats.sum;
            }
            MetricColumn::Amount(values) => rows.for_each(|row| {
                let v = wide(values, row);
                stats.uv += 1;
                stats.sum += v;
                stats.sq += v * v;
            }),
            MetricColumn::Ratio { num, den } => rows.for_each(|row| {
                let (n, d) = (wide(num, row), wide(den, row));
                stats.uv += 1;
                stats.sum += n;
                stats.sq += n * n;
                stats.den += d;
                stats.den_sq += d * d;
                stats.cross += n * d;
            }),
        }
        stats
    }

    /// The values of these rows, in this order.
    fn some(&self, rows: &[u32]) -> MetricColumn {
        match self {
            MetricColumn::Rate(yes) => MetricColumn::Rate(some(yes, rows)),
            MetricColumn::Amount(values) => MetricColumn::Amount(some(values, rows)),
            MetricColumn::Ratio { num, den } => MetricColumn::Ratio { num: some(num, rows), den: some(den, rows) },
        }
    }

    fn bytes(&self) -> usize {
        match self {
            MetricColumn::Rate(yes) => yes.len(),
            MetricColumn::Amount(values) => 8 * values.len(),
            MetricColumn::Ratio { num, den } => 8 * (num.len() + den.len()),
        }
    }
}

/// The values in these places.
fn some<T: Copy>(values: &[T], places: &[u32]) -> Vec<T> {
    places.iter().map(|&place| values[place as usize]).collect()
}
