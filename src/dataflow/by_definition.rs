//! Tables of all kinds, with and without sets of tags, of one metric and of several: counted by the engine and by definition.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::enumerate::{Sought, agree_load, enumerate};
use super::promise::Promise;
use super::shared::Shared;
use crate::audience::CustomerIds;
use crate::encode::{Codes, MetricColumn, Shard, TagCodes};
use crate::enumerate::{Answer, Limits, Shape, closed};
use crate::memory::Size;
use crate::score::{impact_reference, measures};
use crate::segment::{Item, Segment};
use crate::stats::{DISCOVERY, MetricKind, Moments, Scale, VALIDATION};
use crate::telemetry::Progress;

/// What a customer has of one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// One of so many codes, the last of which may be `rest`.
    One { codes: u16, rest: bool },
    /// A set of so many tags.
    Tags(u16),
}

/// What is made of a row's yes and value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    Rate,
    /// Whether the value is even.
    Even,
    /// Whether the value is above 0.
    Above,
    Amount,
    Ratio,
}

/// With one rate, with more than the runs of a shard tell apart, with none: sums are packed only there.
const METRICS: [&[Metric]; 7] = [
    &[Metric::Rate],
    &[Metric::Amount],
    &[Metric::Ratio],
    &[Metric::Amount, Metric::Ratio],
    &[Metric::Rate, Metric::Amount, Metric::Ratio],
    &[Metric::Rate, Metric::Even, Metric::Above],
    &[Metric::Rate, Metric::Even, Metric::Above, Metric::Amount],
];

impl Metric {
    fn column(self, rows: &[&Row]) -> MetricColumn {
        let values = |of: fn(&Row) -> i64| rows.iter().map(|row| of(row)).collect::<Vec<i64>>();
        let bits = |of: fn(&Row) -> bool| MetricColumn::Rate(rows.iter().map(|row| u8::from(of(row))).collect());
        match self {
            Metric::Rate => bits(|row| row.2),
            Metric::Even => bits(|row| row.3 % 2 == 0),
            Metric::Above => bits(|row| row.3 > 0),
            Metric::Amount => MetricColumn::Amount(values(|row| row.3)),
            Metric::Ratio => {
                MetricColumn::Ratio { num: values(|row| row.3 / 2), den: values(|row| i64::from(row.2) + 3) }
            }
        }
    }

    fn moments(self, row: &Row) -> Vec<i128> {
        let (y, n, d) = (i128::from(row.3), i128::from(row.3 / 2), i128::from(row.2) + 3);
        match self {
            Metric::Rate => vec![i128::from(row.2)],
            Metric::Even => vec![i128::from(row.3 % 2 == 0)],
            Metric::Above => vec![i128::from(row.3 > 0)],
            Metric::Amount => vec![y, y * y],
            Metric::Ratio => vec![n, n * n, d, d * d, n * d],
        }
    }
}

/// Sorted codes by feature, part, yes or no, value.
type Row = (Vec<Vec<u16>>, u8, bool, i64);

#[derive(Clone, Debug)]
struct Table {
    features: Vec<Kind>,
    metrics: Vec<Metric>,
    rows: Vec<Row>,
}

impl Table {
    fn shape(&self) -> Shape {
        let of = |kind: &Kind| match *kind {
            Kind::One { codes, rest } => (usize::from(codes), usize::from(codes) - usize::from(rest), false),
            Kind::Tags(tags) => (usize::from(tags), usize::from(tags), true),
        };
        let all = || self.features.iter().map(of);
        Shape {
            cardinality: all().map(|f| f.0).collect(),
            items: all().map(|f| f.1).collect(),
            common: (0..self.features.len()).map(|f| self.common(f)).collect(),
            tags: all().map(|f| f.2).collect(),
        }
    }

    /// Customers of a feature's most frequent code.
    fn common(&self, feature: usize) -> u64 {
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        self.rows.iter().flat_map(|row| &row.0[feature]).for_each(|&code| *counts.entry(code).or_default() += 1);
        counts.into_values().max().unwrap_or(0)
    }

    fn shard(&self, worker: usize, workers: usize) -> Shard {
        let rows: Vec<&Row> = self.rows.iter().skip(worker).step_by(workers).collect();
        let column = |(f, kind): (usize, &Kind)| match kind {
            Kind::One { codes, .. } => {
                let mut column = Codes::with_capacity(usize::from(*codes), rows.len());
                rows.iter().for_each(|row| column.push(row.0[f][0]));
                column
            }
            Kind::Tags(_) => {
                let mut column = TagCodes::with_capacity(rows.len());
                rows.iter().for_each(|row| column.push(&row.0[f]));
                Codes::Tags(column)
            }
        };
        Shard::new(
            self.features.iter().enumerate().map(column).collect(),
            rows.iter().map(|row| row.1).collect(),
            self.metrics.iter().map(|metric| metric.column(&rows)).collect(),
            CustomerIds::Row((0..rows.len() as u64).collect()),
        )
    }

    /// The definition: every set of a row's items is a segment that the row is in.
    fn brute_force(&self, max_level: usize, min_uv: i64) -> Answer {
        let mut cells: BTreeMap<Segment, ([i64; 2], Vec<i128>)> = BTreeMap::new();
        for row in &self.rows {
            let (codes, part, ..) = row;
            let mut items: Vec<Item> = Vec::new();
            for ((feature, codes), kind) in (0..).zip(codes).zip(&self.features) {
                let is_rest = |code: u16| matches!(kind, Kind::One { codes, rest: true } if code == codes - 1);
                items.extend(codes.iter().filter(|&&c| !is_rest(c)).map(|&code| Item { feature, code }));
            }
            let moments: Vec<i128> = self.metrics.iter().flat_map(|metric| metric.moments(row)).collect();
            let width = moments.len();
            for mask in (0u32..1 << items.len()).filter(|mask| mask.count_ones() as usize <= max_level) {
                let chosen: Vec<Item> = (0..items.len()).filter(|i| mask >> i & 1 == 1).map(|i| items[i]).collect();
                let cell = cells.entry(Segment::of_items(&chosen)).or_insert_with(|| ([0; 2], vec![0; 2 * width]));
                cell.0[usize::from(*part)] += 1;
                let sums = &mut cell.1[width * usize::from(*part)..][..width];
                sums.iter_mut().zip(&moments).for_each(|(a, b)| *a += b);
            }
        }
        cells.retain(|segment, (uv, _)| segment.level() == 0 || uv.iter().sum::<i64>() >= min_uv);
        Answer {
            segments: cells.keys().copied().collect(),
            uv: cells.values().map(|(uv, _)| *uv).collect(),
            sums: cells.values().flat_map(|(_, sums)| sums.clone()).collect(),
        }
    }

    fn engine(&self, max_level: usize, min_uv: u64, workers: usize, block_bytes: u64) -> Answer {
        self.engine_with(max_level, min_uv, workers, block_bytes, None)
    }

    /// What promises less than this share of the base's impact is left out.
    fn engine_with(
        &self,
        max_level: usize,
        min_uv: u64,
        workers: usize,
        block_bytes: u64,
        share: Option<f64>,
    ) -> Answer {
        let table = self.clone();
        let (shared, progress) = (Shared::new(workers, Size(u64::MAX)), Progress::new(max_level));
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let shard = table.shard(worker.index(), worker.peers());
            let limits = Limits { customers: table.rows.len() as u64, min_uv, max_level, block_bytes };
            let load = agree_load(worker, &shared, &shard);
            let promise = share.map(|share| Promise::of(worker, &shard, Scale::default(), share));
            let shape = table.shape();
            let sought = Sought { shape: &shape, load: &load, limits: &limits, promise: promise.as_ref(), beside: 0 };
            let found = enumerate(worker, &shared, shard, &sought, &progress);
            found.expect("room").1.answer
        })
        .expect("threads");
        let answers: Vec<Answer> = guards.join().into_iter().map(|a| a.expect("no panic")).collect();
        assert!(answers[1..].iter().all(|a| a.segments.is_empty()), "only worker 0 has the answer");
        answers.into_iter().next().expect("worker 0")
    }
}

/// Tables of these kinds of features. Wide features put pairs and triples beyond the grid, onto ranks.
fn tables(kind: BoxedStrategy<Kind>, features: usize, rows: usize) -> impl Strategy<Value = Table> {
    let metrics = proptest::sample::select(&METRICS[..]);
    // Of small values the sums are packed or 64 bits wide, of large ones wider.
    let small = -100i64..100;
    let large = prop_oneof![9 => small.clone(), 1 => -4_000_000_000_000_000_000i64..4_000_000_000_000_000_000];
    let value = prop_oneof![Just(small.boxed()), Just(large.boxed())];
    (proptest::collection::vec(kind, 1..features), metrics, value).prop_flat_map(move |(features, metrics, value)| {
        let code = |n: u16| prop_oneof![3 => 0..n.min(3), 1 => 0..n].boxed();
        let codes: Vec<BoxedStrategy<Vec<u16>>> = (features.iter())
            .map(|kind| match *kind {
                Kind::One { codes, .. } => code(codes).prop_map(|code| vec![code]).boxed(),
                Kind::Tags(n) => {
                    let some = proptest::collection::btree_set(code(n), 0..5);
                    some.prop_map(|set| set.into_iter().collect()).boxed()
                }
            })
            .collect();
        proptest::collection::vec((codes, 0u8..2, any::<bool>(), value), 0..rows).prop_map(move |rows| Table {
            features: features.clone(),
            metrics: metrics.to_vec(),
            rows,
        })
    })
}

fn one() -> BoxedStrategy<Kind> {
    let codes = prop_oneof![4 => 1u16..6, 1 => Just(40), 1 => Just(300)];
    (codes, any::<bool>()).prop_map(|(codes, rest)| Kind::One { codes, rest }).boxed()
}

fn one_or_tags() -> BoxedStrategy<Kind> {
    let tags = prop_oneof![3 => 1u16..9, 1 => Just(5000)].prop_map(Kind::Tags);
    prop_oneof![one(), tags].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 320, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_counts_what_the_definition_says(
        table in prop_oneof![tables(one(), 6, 120), tables(one_or_tags(), 5, 80)],
        max_level in 1usize..6,
        min_uv in 1u64..8,
        workers in 1usize..4,
        block_bytes in prop_oneof![Just(1), Just(1 << 30)],
    ) {
        let expected = table.brute_force(max_level, min_uv as i64);
        prop_assert_eq!(table.engine(max_level, min_uv, workers, block_bytes), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]
    #[test]
    fn what_is_kept_for_its_promise_is_what_keeps_it_with_all_its_parents(
        table in tables(one_or_tags(), 6, 120),
        max_level in 1usize..5,
        min_uv in 1u64..8,
        workers in 1usize..4,
        share in 0.0..0.4,
    ) {
        let mut expected = table.brute_force(max_level, min_uv as i64);
        let kinds: Vec<MetricKind> = table.shard(0, 1).metrics.iter().map(MetricColumn::kind).collect();
        let moments = Moments::of(&kinds);
        if !expected.segments.is_empty() {
            let of = |i: usize| expected.stats(&moments, 0, i, DISCOVERY);
            let parts = [DISCOVERY, VALIDATION].map(|part| expected.stats(&moments, 0, 0, part));
            let promise = Promise::new(moments.clone(), Scale::default(), parts, share);
            let kept: Vec<bool> = (0..expected.segments.len()).map(|i| i == 0 || promise.kept(&of(i))).collect();
            expected.retain(&kept);
            expected.retain(&closed(&expected.segments));
        }
        prop_assert_eq!(table.engine_with(max_level, min_uv, workers, 1 << 30, Some(share)), expected);
    }

    /// The promise is worth its name: nothing with the impact goes with what is left out.
    #[test]
    fn whatever_has_the_impact_is_kept(table in tables(one_or_tags(), 6, 120), share in 0.0..0.4) {
        let all = table.brute_force(4, 1);
        let kinds: Vec<MetricKind> = table.shard(0, 1).metrics.iter().map(MetricColumn::kind).collect();
        let (moments, scale) = (Moments::of(&kinds), Scale::default());
        if !all.segments.is_empty() {
            let kept: BTreeSet<Segment> = table.engine_with(4, 1, 2, 1 << 30, Some(share)).segments.into_iter().collect();
            let base = all.stats(&moments, 0, 0, DISCOVERY);
            let least = share * impact_reference(kinds[0], scale, &base);
            for (i, &segment) in all.segments.iter().enumerate().skip(1) {
                let impact = measures(kinds[0], scale, &all.stats(&moments, 0, i, DISCOVERY), &base).impact.abs();
                prop_assert!(impact < least || kept.contains(&segment), "{:?}: {impact} of {least}", segment);
            }
        }
    }
}

#[test]
fn cells_too_many_to_hold_are_counted_by_those_that_occur() {
    // 2,000 x 2,000 codes exceed what is held densely; every third pair repeats.
    let rows = (0..3000u32).map(|i| {
        let i = i - i % 3 / 2;
        let codes = [i % 2000, i * 7 % 2000].map(|code| vec![code as u16]).to_vec();
        (codes, (i % 2) as u8, i % 5 == 0, i64::from(i))
    });
    let features = vec![Kind::One { codes: 2000, rest: false }; 2];
    let table = Table { features, metrics: METRICS[4].to_vec(), rows: rows.collect() };
    assert_eq!(table.engine(2, 1, 2, 1 << 30), table.brute_force(2, 1));
}

#[test]
fn pairs_of_tags_too_many_to_hold_are_counted_by_those_that_occur() {
    // 4,000 tags make 8 million pairs, all of them candidates; every third row repeats.
    let rows = (0..2000u32).map(|i| {
        let i = i - i % 3 / 2;
        let mut tags: Vec<u16> = [i % 4000, i * 7 % 4000, i * 31 % 4000].map(|tag| tag as u16).to_vec();
        tags.sort_unstable();
        tags.dedup();
        (vec![tags, vec![(i % 2) as u16]], (i % 2) as u8, i % 5 == 0, i64::from(i))
    });
    let features = vec![Kind::Tags(4000), Kind::One { codes: 2, rest: false }];
    let table = Table { features, metrics: METRICS[4].to_vec(), rows: rows.collect() };
    assert_eq!(table.engine(3, 1, 2, 1 << 30), table.brute_force(3, 1));
}
