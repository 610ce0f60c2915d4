//! Coded rows to the first of a run's segments that covers each.
//!
//! Two ways to ask, by what is cheaper. Few segments of a feature set are bitmaps, tile by tile, as in a run: at most 0.03 ns a row and
//! segment (800 more of them, 8 million rows, with what else that changed). Of many segments of one set, as of a base that was divided into cells, each row looks up its own cell.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::audience::{Covers, list};
use crate::encode::{Codebook, Codes, Feature, Shard};
use crate::segment::{FeatureId, FeatureSet, Item, Segment};
use crate::sink::NO_PLACE;

/// Segments of one feature set from which on they are looked up. 100 as bitmaps and 200 looked up each cost less than 10 ns a row
/// beside what reading and writing took; where both are equal depends on the processor.
const LOOKED_UP: usize = 128;

/// Cells of a table by code, of 4 bytes each; sets of more are hashed.
const MOST_CELLS: usize = 1 << 20;

/// Rows whose keys are made at a time.
const STRIP: usize = 1 << 11;

/// The segments in the order in which a customer is asked.
#[derive(Debug)]
pub struct Order {
    /// Features that are asked for, by their number in the run's codebook, increasing. Rows have these alone.
    pub features: Vec<FeatureId>,
    bitmaps: Option<Bitmaps>,
    lookups: Vec<Lookup>,
}

#[derive(Debug)]
struct Bitmaps {
    covers: Covers,
    /// Of each segment of these, its place among all; increasing.
    places: Vec<u32>,
}

/// All segments of a feature set.
#[derive(Debug)]
struct Lookup {
    /// Places among the features that are asked for.
    features: Vec<usize>,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    /// The place of the segment of each combination of codes, the last feature fastest.
    Grid { strides: Vec<u32>, places: Vec<u32> },
    /// Codes of 16 bits side by side.
    Listed(HashMap<u128, u32, FixedState>),
}

impl Order {
    pub fn new(asked: &[Segment], codebook: &Codebook) -> Order {
        let mut features: Vec<FeatureId> = asked.iter().flat_map(|s| s.features().features()).collect();
        features.sort_unstable();
        features.dedup();
        let own = |feature: FeatureId| features.binary_search(&feature).expect("all that are asked for are listed");
        let mut by_set: BTreeMap<FeatureSet, Vec<u32>> = BTreeMap::new();
        (0..).zip(asked).for_each(|(place, segment)| by_set.entry(segment.features()).or_default().push(place));
        let (mut few, mut lookups) = (Vec::new(), Vec::new());
        for (set, places) in by_set {
            // A customer has several of some items, and so is in several cells.
            let tags = set.features().any(|feature| codebook.feature(feature).tags.is_some());
            if places.len() < LOOKED_UP || tags {
                few.extend(places);
            } else {
                let of: Vec<&Feature> = set.features().map(|feature| codebook.feature(feature)).collect();
                let cells = Cells::of(&of, asked, &places);
                lookups.push(Lookup { features: set.features().map(own).collect(), cells });
            }
        }
        few.sort_unstable();
        let renumbered = |&place: &u32| {
            let item = |item: Item| Item { feature: own(item.feature) as FeatureId, ..item };
            Segment::of_items(&asked[place as usize].items().map(item).collect::<Vec<_>>())
        };
        let bitmaps = (!few.is_empty())
            .then(|| Bitmaps { covers: Covers::of(&few.iter().map(renumbered).collect::<Vec<_>>()), places: few });
        Order { features, bitmaps, lookups }
    }

    /// For each of the rows, given by the codes of the features that are asked for, the place of the first segment that covers it, or
    /// [`NO_PLACE`].
    pub fn places(&self, codes: Vec<Codes>, rows: usize) -> Vec<u32> {
        let mut places = vec![NO_PLACE; rows];
        let shard = Shard::of_features(codes, rows);
        if let Some(Bitmaps { covers, places: of }) = &self.bitmaps {
            let mut own = Vec::new();
            covers.each(&shard, |tile| {
                tile.first_come(0..of.len(), |segment, bits, customers| {
                    if customers > 0 {
                        list(bits.iter().copied(), &mut own);
                        own.iter().for_each(|&row| places[tile.start + row as usize] = of[segment]);
                    }
                });
            });
        }
        for lookup in &self.lookups {
            lookup.lower(&shard.features, &mut places);
        }
        places
    }
}

impl Cells {
    /// Of features that have one code a row; a code may be one beyond the items.
    fn of(features: &[&Feature], asked: &[Segment], places: &[u32]) -> Cells {
        let sizes: Vec<usize> = features.iter().map(|feature| feature.items.len() + 1).collect();
        let all = sizes.iter().try_fold(1usize, |all, &size| all.checked_mul(size).filter(|&all| all <= MOST_CELLS));
        let Some(all) = all else {
            let mut listed = HashMap::with_capacity_and_hasher(places.len(), FixedState::default());
            for &place in places {
                // Of a segment that stands there twice the first counts.
                listed.entry(key(asked[place as usize].items().map(|item| item.code))).or_insert(place);
            }
            return Cells::Listed(listed);
        };
        let mut strides = vec![1u32; sizes.len()];
        (1..sizes.len()).rev().for_each(|i| strides[i - 1] = strides[i] * sizes[i] as u32);
        let mut grid = vec![NO_PLACE; all];
        for &place in places.iter().rev() {
            let items = asked[place as usize].items().zip(&strides);
            grid[items.map(|(item, stride)| usize::from(item.code) * *stride as usize).sum::<usize>()] = place;
        }
        Cells::Grid { strides, places: grid }
    }
}

fn key(codes: impl Iterator<Item = u16>) -> u128 {
    codes.fold(0, |key, code| key << 16 | u128::from(code))
}

impl Lookup {
    /// Lowers the place of each row to that of its cell.
    fn lower(&self, codes: &[Codes], places: &mut [u32]) {
        match &self.cells {
            Cells::Grid { strides, places: of } => {
                let mut keys = [0u32; STRIP];
                for (strip, places) in places.chunks_mut(STRIP).enumerate() {
                    let keys = &mut keys[..places.len()];
                    keys.fill(0);
                    for (&feature, &stride) in self.features.iter().zip(strides) {
                        add(&codes[feature], strip * STRIP, stride, keys);
                    }
                    for (place, &key) in places.iter_mut().zip(&*keys) {
                        *place = (*place).min(of[key as usize]);
                    }
                }
            }
            Cells::Listed(of) => {
                for (row, place) in places.iter_mut().enumerate() {
                    let key = key(self.features.iter().map(|&feature| codes[feature].at(row)));
                    *place = (*place).min(of.get(&key).copied().unwrap_or(NO_PLACE));
                }
            }
        }
    }
}

/// Adds code times stride of the rows from `start`.
fn add(codes: &Codes, start: usize, stride: u32, keys: &mut [u32]) {
    fn each<T: Copy + Into<u32>>(codes: &[T], stride: u32, keys: &mut [u32]) {
        keys.iter_mut().zip(codes).for_each(|(key, &code)| *key += code.into() * stride);
    }
    match codes {
        Codes::U8(codes) => each(&codes[start..], stride, keys),
        Codes::U16(codes) => each(&codes[start..], stride, keys),
        Codes::Tags(_) => unreachable!("sets of tags are not looked up"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::{ItemValue, TagCodes, TagSource};

    /// Features of so many items each, the last of tags.
    fn codebook(sizes: &[u16]) -> Codebook {
        let feature = |(i, &size): (usize, &u16)| Feature {
            name: format!("f{i}"),
            column: format!("f{i}"),
            items: (0..size).map(|item| ItemValue::Int(i64::from(item))).collect(),
            uv: vec![0; usize::from(size)],
            rest: false,
            tags: (i + 1 == sizes.len()).then_some(TagSource::List),
            ..Feature::default()
        };
        Codebook { features: sizes.iter().enumerate().map(feature).collect() }
    }

    /// Rows as the items that each has; of all but the last feature one, or the code beyond, which is none.
    fn coded(order: &Order, sizes: &[u16], rows: &[Vec<Vec<u16>>]) -> Vec<Codes> {
        let column = |&feature: &u16| {
            let feature = usize::from(feature);
            if feature + 1 == sizes.len() {
                let mut tags = TagCodes::with_capacity(rows.len());
                rows.iter().for_each(|row| tags.push(&row[feature]));
                return Codes::Tags(tags);
            }
            let mut codes = Codes::with_capacity(usize::from(sizes[feature]) + 1, rows.len());
            rows.iter().for_each(|row| codes.push(row[feature][0]));
            codes
        };
        order.features.iter().map(column).collect()
    }

    fn by_definition(asked: &[Segment], row: &[Vec<u16>]) -> u32 {
        let covers = |s: &Segment| s.items().all(|item| row[usize::from(item.feature)].contains(&item.code));
        asked.iter().position(covers).map_or(NO_PLACE, |place| place as u32)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Few segments of many sets, and many of one or two, by table and by hash.
        #[test]
        fn each_row_goes_to_the_first_segment_that_covers_it(
            seed in any::<u64>(), large in any::<bool>(), many in 0usize..3, few in 0usize..40, rows in 1usize..400,
        ) {
            let sizes: &[u16] = if large { &[2000, 900, 3, 4, 6] } else { &[30, 20, 3, 4, 6] };
            let codebook = codebook(sizes);
            let mut state = seed;
            let mut dice = |sides: u16| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) % u64::from(sides)) as u16
            };
            // Codes near the start of each feature, so that segments and rows meet.
            let mut asked: Vec<Segment> = Vec::new();
            let dense: [&[u16]; 2] = [&[0, 1], &[0, 2, 3]];
            for set in &dense[..many] {
                for _ in 0..400 {
                    let items = set.iter().map(|&feature| Item { feature, code: dice(sizes[usize::from(feature)].min(25)) });
                    asked.push(Segment::of_items(&items.collect::<Vec<_>>()));
                }
            }
            for _ in 0..few {
                let mut items: Vec<Item> = Vec::new();
                for (feature, &size) in (0u16..).zip(sizes) {
                    if dice(2) == 0 {
                        items.push(Item { feature, code: dice(size.min(25)) });
                    }
                }
                if dice(3) == 0 {
                    items.push(Item { feature: 4, code: dice(6) });
                }
                items.sort_unstable();
                items.dedup();
                asked.push(Segment::of_items(&items));
            }
            (1..asked.len()).rev().for_each(|i| asked.swap(i, usize::from(dice(i as u16 + 1))));
            let rows: Vec<Vec<Vec<u16>>> = (0..rows)
                .map(|_| {
                    let tags = |dice: &mut dyn FnMut(u16) -> u16| (0..6).filter(|_| dice(3) == 0).collect::<Vec<u16>>();
                    let one = |&size: &u16| vec![if dice(9) == 0 { size } else { dice(size.min(25)) }];
                    let mut row: Vec<Vec<u16>> = sizes[..4].iter().map(one).collect();
                    row.push(tags(&mut dice));
                    row
                })
                .collect();
            let order = Order::new(&asked, &codebook);
            prop_assert_eq!(order.lookups.len(), many);
            let found = order.places(coded(&order, sizes, &rows), rows.len());
            let expected: Vec<u32> = rows.iter().map(|row| by_definition(&asked, row)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn nobody_is_covered_by_no_segment_and_everybody_by_the_base() {
        let codebook = codebook(&[3, 2]);
        assert_eq!(Order::new(&[], &codebook).places(Vec::new(), 3), [NO_PLACE; 3]);
        assert_eq!(Order::new(&[Segment::BASE], &codebook).places(Vec::new(), 3), [0; 3]);
    }

    #[test]
    #[ignore = "prints times"]
    fn asking_takes() {
        let sizes = [50u16, 40, 50, 8, 8, 8, 8, 8, 8, 8, 8, 8, 2];
        let codebook = codebook(&sizes);
        let rows = 1usize << 14;
        let mut state = 1u64;
        let mut dice = |sides: u16| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % u64::from(sides)) as u16
        };
        let columns: Vec<Codes> =
            sizes[..12].iter().map(|&size| Codes::U8((0..rows).map(|_| dice(size) as u8).collect())).collect();
        let cell = |n: usize| {
            [(0, n / 2000), (1, n / 50 % 40), (2, n % 50)].map(|(feature, code)| Item { feature, code: code as u16 })
        };
        let cells: Vec<Segment> = (0..100_000).map(|n| Segment::of_items(&cell(n))).collect();
        let mut triples = |n: usize| -> Vec<Segment> {
            (0..n)
                .map(|_| {
                    let first = 3 + dice(3);
                    let items = [first, first + 3, first + 6].map(|feature| Item { feature, code: dice(8) });
                    Segment::of_items(&items)
                })
                .collect()
        };
        for (what, asked) in [
            ("20 segments", triples(20)),
            ("200 segments", triples(200)),
            ("1000 segments", triples(1000)),
            ("2000 cells", cells[..2000].to_vec()),
            ("100000 cells", cells),
        ] {
            let order = Order::new(&asked, &codebook);
            let own: Vec<Codes> = order.features.iter().map(|&f| columns[usize::from(f)].clone()).collect();
            let times = 200;
            let started = std::time::Instant::now();
            let mut taken = 0;
            for _ in 0..times {
                taken += order.places(own.clone(), rows).iter().filter(|place| **place != NO_PLACE).count();
            }
            let each = started.elapsed().as_nanos() as f64 / (times * rows) as f64;
            println!("{what}: {each:.2} ns a row, {:.2} of the rows taken", taken as f64 / (times * rows) as f64);
        }
    }
}
