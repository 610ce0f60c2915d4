//! Tables with sets of tags among the features, counted by the engine and by definition.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::enumerate::enumerate;
use super::shared::Shared;
use crate::audience::CustomerIds;
use crate::encode::{Codes, MetricColumn, Shard, TagCodes};
use crate::enumerate::{Answer, Limits, Shape};
use crate::memory::Size;
use crate::segment::{Item, Segment};
use crate::telemetry::Progress;

/// What a customer has of one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// One of so many codes, the last of which may be `rest`.
    One { codes: u16, rest: bool },
    /// A set of so many tags.
    Tags(u16),
}

#[derive(Clone, Debug)]
struct Table {
    features: Vec<Kind>,
    /// Sorted codes by feature, part, values.
    rows: Vec<(Vec<Vec<u16>>, u8, bool, i64)>,
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
            common: vec![self.rows.len() as u64; self.features.len()],
            tags: all().map(|f| f.2).collect(),
        }
    }

    fn shard(&self, worker: usize, workers: usize) -> Shard {
        let rows: Vec<_> = self.rows.iter().skip(worker).step_by(workers).collect();
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
            vec![
                MetricColumn::Rate(rows.iter().map(|row| u8::from(row.2)).collect()),
                MetricColumn::Amount(rows.iter().map(|row| row.3).collect()),
            ],
            CustomerIds::Row((0..rows.len() as u64).collect()),
        )
    }

    /// The definition: every set of a row's items is a segment that the row is in.
    fn brute_force(&self, max_level: usize, min_uv: i64) -> Answer {
        let mut cells: BTreeMap<Segment, ([i64; 2], Vec<i128>)> = BTreeMap::new();
        for (codes, part, yes, value) in &self.rows {
            let mut items: Vec<Item> = Vec::new();
            for ((feature, codes), kind) in (0..).zip(codes).zip(&self.features) {
                let is_rest = |code: u16| matches!(kind, Kind::One { codes, rest: true } if code == codes - 1);
                items.extend(codes.iter().filter(|&&c| !is_rest(c)).map(|&code| Item { feature, code }));
            }
            let value = i128::from(*value);
            let moments = [i128::from(*yes), value, value * value];
            for mask in (0u32..1 << items.len()).filter(|mask| mask.count_ones() as usize <= max_level) {
                let chosen: Vec<Item> = (0..items.len()).filter(|i| mask >> i & 1 == 1).map(|i| items[i]).collect();
                let cell = cells.entry(Segment::of_items(&chosen)).or_insert(([0; 2], vec![0; 6]));
                cell.0[usize::from(*part)] += 1;
                let sums = &mut cell.1[3 * usize::from(*part)..][..3];
                sums.iter_mut().zip(moments).for_each(|(a, b)| *a += b);
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
        let table = self.clone();
        let (shared, progress) = (Shared::new(workers, Size(u64::MAX)), Progress::new(max_level));
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let shard = table.shard(worker.index(), worker.peers());
            let limits = Limits { customers: table.rows.len() as u64, min_uv, max_level, block_bytes };
            enumerate(worker, &shared, shard, &table.shape(), &limits, &progress).expect("room").1.answer
        })
        .expect("threads");
        guards.join().into_iter().next().expect("worker 0").expect("no panic")
    }
}

fn tables() -> impl Strategy<Value = Table> {
    let one =
        (prop_oneof![4 => 1u16..6, 1 => Just(300)], any::<bool>()).prop_map(|(codes, rest)| Kind::One { codes, rest });
    let tags = prop_oneof![3 => 1u16..9, 1 => Just(5000)].prop_map(Kind::Tags);
    proptest::collection::vec(prop_oneof![one, tags], 1..5).prop_flat_map(|features| {
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
        let value = prop_oneof![9 => -100i64..100, 1 => -4_000_000_000_000_000_000i64..4_000_000_000_000_000_000];
        proptest::collection::vec((codes, 0u8..2, any::<bool>(), value), 0..80)
            .prop_map(move |rows| Table { features: features.clone(), rows })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn sets_of_tags_are_counted_as_the_definition_says(
        table in tables(),
        max_level in 1usize..5,
        min_uv in 1u64..8,
        workers in 1usize..4,
        // One block a pass, or all.
        block_bytes in prop_oneof![Just(1), Just(1 << 30)],
    ) {
        let expected = table.brute_force(max_level, min_uv as i64);
        prop_assert_eq!(table.engine(max_level, min_uv, workers, block_bytes), expected);
    }
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
    let table = Table { features, rows: rows.collect() };
    assert_eq!(table.engine(3, 1, 2, 1 << 30), table.brute_force(3, 1));
}
