//! k-means over customers as points: one coordinate an item, 1 for the customer's own and 0 for the others, weighted by feature.
//!
//! Lloyd's iterations (1982) from starts drawn by k-means++ (Arthur and Vassilvitskii, 2007). A part's centre follows from whole counts, and
//! a row's distances from tables of whole numbers, so that nothing depends on the division or the order of the rows.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Tagged, items};
use crate::audience::{TILE, list};
use crate::encode::{Codes, Shard};
use crate::profile::{CodeBits, Profile};
use crate::score::proportions_z;
use crate::segment::Item;
use crate::simd::{self, Distances, PARTS};

/// Customers by item. Their mean, a share an item, is the centre of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Centre {
    pub uv: i64,
    pub profile: Profile,
}

impl Centre {
    pub fn none(cardinality: &[usize]) -> Centre {
        Centre { uv: 0, profile: Profile::empty(cardinality) }
    }

    pub fn add(&mut self, more: &Centre) {
        self.uv += more.uv;
        self.profile.add(&more.profile);
    }

    fn share(&self, feature: usize, code: usize) -> f64 {
        self.profile.counts[feature][code] as f64 / self.uv as f64
    }
}

/// What a squared difference counts, by feature; they add up to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    pub of_feature: Vec<f64>,
    pub tags: Tagged,
}

impl Weights {
    /// In proportion to the features' influence on the metric, as where highlights are compared; alike if none has any. A feature of
    /// tags counts as much less as customers have tags on average, `mentions`, where these are more than one.
    pub fn of(influences: &[f64], tags: &Tagged, mentions: impl Fn(usize) -> f64) -> Weights {
        let total: f64 = influences.iter().sum();
        let even = 1.0 / influences.len().max(1) as f64;
        let weight = |(feature, &influence): (usize, &f64)| {
            let own = if total > 0.0 { influence / total } else { even };
            if tags[feature] { own / mentions(feature).max(1.0) } else { own }
        };
        Weights { of_feature: influences.iter().enumerate().map(weight).collect(), tags: tags.clone() }
    }

    /// The squared distances of some customers from their own centre, added up: a feature's are those of its shares.
    fn scatter(&self, centre: &Centre) -> f64 {
        let of_feature = |(counts, weight): (&Vec<i64>, &f64)| {
            let squares = counts.iter().map(|&n| n as f64 * (1.0 - n as f64 / centre.uv as f64));
            weight * squares.sum::<f64>()
        };
        if centre.uv == 0 {
            return 0.0;
        }
        centre.profile.counts.iter().zip(&self.of_feature).map(of_feature).sum()
    }
}

/// Finds the nearest of some centres for each row, for several sets of centres at once.
///
/// The squared distance of a customer from a centre with shares c is `Σ w(f) · (1 + Σ c² - 2 c(own item))`, so it is a sum of one number a
/// feature from a table; of tags `w · Σ c²`, and `w · (1 - 2 c)` for each that the customer has. The numbers are rounded to a part in 2^24
/// or so of the largest distance there can be, and below them stands the number of the centre: of equally near ones the first is the nearest.
pub struct Nearest {
    groups: Vec<Group>,
    /// By set.
    blocks: Vec<Vec<Block>>,
}

/// Features that are looked up at once, each with how far apart its codes are in the key; or one of tags.
enum Group {
    Key(Vec<(usize, u16)>),
    Tags(usize),
}

/// As many centres as are added at a time.
struct Block {
    start: [i32; PARTS],
    /// By group, then key or tag.
    tables: Vec<Vec<[i32; PARTS]>>,
}

/// Bits for the number of a centre.
const NUMBER: u32 = 6;
const _: () = assert!(super::MOST_PARTS < 1 << NUMBER, "one part more than that has a number");

/// Rows whose distances stay in the first-level cache.
const CHUNK: usize = 256;

/// Of many rows features are looked up several at once, in tables of at most so many entries: all of them stay in the second-level cache.
const ENTRIES: usize = 1 << 10;
/// Fewer rows than this are done before such tables are made.
const MANY_ROWS: usize = 1 << 17;

/// Features in order, as many at once as a table has entries for.
fn groups(codes: &[usize], tags: &[bool], most: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut entries = 1;
    for (feature, (&codes, &tags)) in codes.iter().zip(tags).enumerate() {
        match groups.last_mut() {
            _ if tags => groups.push(Group::Tags(feature)),
            Some(Group::Key(features)) if entries * codes <= most => {
                features.push((feature, entries as u16));
                entries *= codes;
            }
            _ => {
                groups.push(Group::Key(vec![(feature, 1)]));
                entries = codes;
            }
        }
    }
    groups
}

impl Nearest {
    /// For so many rows.
    pub fn new(weights: &Weights, sets: &[Vec<Centre>], rows: usize) -> Nearest {
        let first = sets.iter().flatten().next();
        let codes: Vec<usize> = first.map_or(Vec::new(), |centre| centre.profile.counts.iter().map(Vec::len).collect());
        let features = || weights.of_feature.iter().zip(&weights.tags).zip(&codes);
        // Of one item a customer both sides are of length 1 at the most; of tags every one may differ.
        let range: f64 = features().map(|((w, &tags), &codes)| w * if tags { codes.max(2) as f64 } else { 2.0 }).sum();
        let room = f64::from(1u32 << (30 - NUMBER)) - weights.of_feature.len() as f64;
        let scale = (room / range.max(f64::MIN_POSITIVE)).log2().floor().exp2();
        let fixed = |value: f64| ((value * scale).round() as i32) << NUMBER;
        let groups = groups(&codes, &weights.tags, if rows < MANY_ROWS { 0 } else { ENTRIES });
        let squares = |centre: &Centre, feature: usize| -> f64 {
            (0..codes[feature]).map(|code| centre.share(feature, code).powi(2)).sum()
        };
        // What each code of a feature adds to the distances from some centres.
        let own = |centres: &[Centre], feature: usize| {
            let mut table = vec![[0; PARTS]; codes[feature]];
            let weight = weights.of_feature[feature];
            for (lane, centre) in centres.iter().enumerate() {
                let own = if weights.tags[feature] { 1.0 } else { 1.0 + squares(centre, feature) };
                for (code, entry) in table.iter_mut().enumerate() {
                    entry[lane] = fixed(weight * (own - 2.0 * centre.share(feature, code)));
                }
            }
            table
        };
        let block = |(first, centres): (usize, &[Centre])| {
            let mut start = [i32::MAX; PARTS];
            for (lane, centre) in centres.iter().enumerate() {
                let of_tags = features().enumerate().filter(|(_, ((_, tags), _))| **tags);
                let all: f64 = of_tags.map(|(feature, ((weight, _), _))| weight * squares(centre, feature)).sum();
                start[lane] = fixed(all) + (first * PARTS + lane) as i32;
            }
            let table = |group: &Group| match group {
                Group::Tags(feature) => own(centres, *feature),
                Group::Key(features) => features.iter().fold(vec![[0; PARTS]], |table, &(feature, _)| {
                    let own = own(centres, feature);
                    let sum = |own: &[i32; PARTS], before: &[i32; PARTS]| std::array::from_fn(|i| own[i] + before[i]);
                    own.iter().flat_map(|own| table.iter().map(|before| sum(own, before))).collect()
                }),
            };
            Block { start, tables: groups.iter().map(table).collect() }
        };
        let blocks = sets.iter().map(|centres| centres.chunks(PARTS).enumerate().map(block).collect()).collect();
        Nearest { groups, blocks }
    }

    /// By set, of each of these rows the squared distance to the nearest centre, above the number of that centre.
    fn least(&self, shard: &Shard, rows: Range<usize>) -> Vec<Vec<i32>> {
        let mut least = vec![vec![i32::MAX; rows.len()]; self.blocks.len()];
        let mut sums = [[0; PARTS]; CHUNK];
        let mut keys = vec![[0u16; CHUNK]; self.groups.len()];
        for from in (0..rows.len()).step_by(CHUNK) {
            let chunk = from..rows.len().min(from + CHUNK);
            let rows = rows.start + chunk.start..rows.start + chunk.end;
            for (group, keys) in self.groups.iter().zip(&mut keys) {
                if let Group::Key(features) = group {
                    group_keys(shard, features, rows.clone(), &mut keys[..chunk.len()]);
                }
            }
            for (blocks, least) in self.blocks.iter().zip(&mut least) {
                for block in blocks {
                    let sums = &mut sums[..chunk.len()];
                    sums.fill(block.start);
                    let mut keyed: Vec<Distances> = Vec::with_capacity(self.groups.len());
                    for ((group, keys), table) in self.groups.iter().zip(&keys).zip(&block.tables) {
                        match group {
                            Group::Key(_) => keyed.push((&keys[..chunk.len()], table)),
                            Group::Tags(feature) => add_tags(shard, *feature, rows.clone(), table, sums),
                        }
                    }
                    simd::least_distances(sums, &keyed, &mut least[chunk.clone()]);
                }
            }
        }
        least
    }

    /// By set, the number of the nearest centre of each row.
    pub fn labels(&self, shard: &Shard) -> Vec<Vec<u8>> {
        let mut labels: Vec<Vec<u8>> = self.blocks.iter().map(|_| Vec::with_capacity(shard.rows())).collect();
        for start in (0..shard.rows()).step_by(TILE) {
            let least = self.least(shard, start..shard.rows().min(start + TILE));
            let number = |least: i32| (least & ((1 << NUMBER) - 1)) as u8;
            labels.iter_mut().zip(least).for_each(|(labels, least)| labels.extend(least.into_iter().map(number)));
        }
        labels
    }

    /// By set, the squared distance of each row to its nearest centre, in units of this alone.
    pub fn distances(&self, shard: &Shard) -> Vec<Vec<i32>> {
        let mut least = self.least(shard, 0..shard.rows());
        least.iter_mut().flatten().for_each(|least| *least = (*least >> NUMBER).max(0));
        least
    }
}

/// The keys of rows over some features.
fn group_keys(shard: &Shard, features: &[(usize, u16)], rows: Range<usize>, keys: &mut [u16]) {
    let mut bytes: Vec<(&[u8], u16)> = Vec::with_capacity(features.len());
    keys.fill(0);
    for &(feature, stride) in features {
        match &shard.features[feature] {
            Codes::U8(codes) => bytes.push((&codes[rows.clone()], stride)),
            Codes::U16(codes) => {
                let both = keys.iter_mut().zip(&codes[rows.clone()]);
                both.for_each(|(key, code)| *key = key.wrapping_add(code.wrapping_mul(stride)));
            }
            Codes::Tags(_) => unreachable!("tags are not part of a key"),
        }
    }
    let (fours, rest) = bytes.as_chunks::<4>();
    fours.iter().for_each(|four| simd::add_scaled(*four, keys));
    match *rest {
        [a] => simd::add_scaled([a], keys),
        [a, b] => simd::add_scaled([a, b], keys),
        [a, b, c] => simd::add_scaled([a, b, c], keys),
        _ => {}
    }
}

/// Adds to the distances of rows what their tags add.
fn add_tags(shard: &Shard, feature: usize, rows: Range<usize>, table: &[[i32; PARTS]], sums: &mut [[i32; PARTS]]) {
    let Codes::Tags(tags) = &shard.features[feature] else { unreachable!("a feature of tags has a set a row") };
    for (sums, row) in sums.iter_mut().zip(rows) {
        for &tag in tags.row(row) {
            let added = table[usize::from(tag)].iter();
            sums.iter_mut().zip(added).for_each(|(sum, added)| *sum = sum.wrapping_add(*added));
        }
    }
}

/// How the customers of each label spread over the items, by set of labels; `parts` has how many each set has.
pub fn spread_over(shard: &Shard, cardinality: &[usize], labels: &[Vec<u8>], parts: &[usize]) -> Vec<Vec<Centre>> {
    let mut sets: Vec<Vec<Centre>> = parts.iter().map(|&parts| vec![Centre::none(cardinality); parts]).collect();
    let mut rows = Vec::new();
    for start in (0..shard.rows()).step_by(TILE) {
        let end = shard.rows().min(start + TILE);
        let codes = CodeBits::of(shard, cardinality, start, end - start);
        for (labels, centres) in labels.iter().zip(&mut sets) {
            for (label, centre) in (0..).zip(centres) {
                let bits = simd::equal_bits(&labels[start..end], label);
                list(bits.iter().copied(), &mut rows);
                centre.uv += rows.len() as i64;
                centre.profile.add_rows(shard, &codes, &rows, &bits);
            }
        }
    }
    sets
}

/// A customer who may be the next centre of a start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// The smallest of all wins, then the smallest hash.
    key: (f64, u64),
    pub centre: Centre,
}

impl Drawn {
    /// The one who wins.
    pub fn first(all: impl Iterator<Item = Drawn>) -> Option<Drawn> {
        all.min_by(|a, b| a.key.0.total_cmp(&b.key.0).then(a.key.1.cmp(&b.key.1)))
    }
}

/// Draws one of the rows with a chance in proportion to its squared distance from the centres so far, or any where there are none. Nobody
/// where all are at a centre.
///
/// Each customer has an exponential time of a rate in proportion to that distance, by a hash, and the first of all is drawn (Efraimidis and
/// Spirakis, 2006); so the order of the rows does not matter, nor who has which.
pub fn draw(
    shard: &Shard,
    hashes: &[u64],
    cardinality: &[usize],
    distances: Option<&[i32]>,
    seed: u64,
) -> Option<Drawn> {
    let key = |row: usize| {
        let hash = mixed(hashes[row] ^ mixed(seed));
        let uniform = ((hash >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let rate = distances.map_or(1.0, |distances| f64::from(distances[row]));
        (rate > 0.0).then(|| (row, (-uniform.ln() / rate, hash)))
    };
    let before = |a: &(f64, u64), b: &(f64, u64)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let (row, key) = (0..shard.rows()).filter_map(key).min_by(|a, b| before(&a.1, &b.1))?;
    let mut centre = Centre { uv: 1, ..Centre::none(cardinality) };
    for (counts, column) in centre.profile.counts.iter_mut().zip(&shard.features) {
        match column {
            Codes::Tags(tags) => tags.row(row).iter().for_each(|&tag| counts[usize::from(tag)] = 1),
            Codes::U8(_) | Codes::U16(_) => counts[usize::from(column.at(row))] = 1,
        }
    }
    Some(Drawn { key, centre })
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): each bit of the result depends on all of the number.
fn mixed(number: u64) -> u64 {
    let a = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ a >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ b >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ c >> 31
}

/// Starts of k-means as far as they have come, at worker 0.
#[derive(Clone, Debug)]
pub struct Lloyd {
    weights: Weights,
    starts: Vec<Start>,
    rounds: usize,
}

#[derive(Clone, Debug)]
struct Start {
    centres: Vec<Centre>,
    /// Their squared distances from their own centres, added up, of all rows.
    scatter: f64,
    still: bool,
}

/// Rounds after which only the best starts go on, and how many of them: the order seldom changes after.
const TRIAL: usize = 6;
const FINALISTS: usize = 2;
/// Rounds after which a start is taken as it is.
const MOST_ROUNDS: usize = 40;
/// A start whose squared distances fall by a smaller share than this in a round is taken as it is, too.
const LEAST_STEP: f64 = 1e-4;

impl Lloyd {
    pub fn new(weights: Weights, starts: Vec<Vec<Centre>>) -> Lloyd {
        let start = |centres| Start { centres, scatter: f64::INFINITY, still: false };
        Lloyd { weights, starts: starts.into_iter().map(start).collect(), rounds: 0 }
    }

    /// The centres of all starts that are not still, which are to be counted anew.
    pub fn asked(&self) -> Vec<Vec<Centre>> {
        self.starts.iter().filter(|start| !start.still).map(|start| start.centres.clone()).collect()
    }

    /// Enters who is nearest to the centres of each start that was asked for, over all rows.
    pub fn counted(&mut self, counted: Vec<Vec<Centre>>) {
        self.rounds += 1;
        for (start, counted) in self.starts.iter_mut().filter(|start| !start.still).zip(counted) {
            let before = start.scatter;
            start.scatter = counted.iter().map(|centre| self.weights.scatter(centre)).sum();
            let mut moved = false;
            for (centre, counted) in start.centres.iter_mut().zip(counted) {
                // A centre that nobody is nearest to stays where it is.
                if counted.uv > 0 && *centre != counted {
                    (*centre, moved) = (counted, true);
                }
            }
            let small_step = start.scatter >= before * (1.0 - LEAST_STEP);
            start.still = !moved || small_step || self.rounds == MOST_ROUNDS;
        }
        if self.rounds == TRIAL {
            let mut order: Vec<usize> = (0..self.starts.len()).collect();
            order.sort_by(|&a, &b| self.starts[a].scatter.total_cmp(&self.starts[b].scatter));
            order.into_iter().skip(FINALISTS).for_each(|start| self.starts[start].still = true);
        }
    }

    /// The centres of the start that is best, of equally good ones of the first, and its squared distances.
    pub fn best(self) -> (Vec<Centre>, f64) {
        let best = self.starts.into_iter().min_by(|a, b| a.scatter.total_cmp(&b.scatter));
        best.map(|start| (start.centres, start.scatter)).unwrap_or_default()
    }
}

/// How the centres of starts are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Seeding;

impl Seeding {
    /// Starts of which the best is kept.
    pub const STARTS: usize = 8;
    /// Customers that the centres are found on, about, of more.
    /// A program that was not optimised, as tests run it, would take seconds for so many: it draws fewer.
    pub const CUSTOMERS: u64 = if cfg!(debug_assertions) { 1 << 10 } else { 1 << 13 };

    /// The seed of the next centre of a start.
    pub fn of(start: usize, centre: usize) -> u64 {
        (start << 32 | centre) as u64
    }
}

/// Items that a part is told by, at the most.
const MOST_MARKS: usize = 3;
/// An item is told when its standard score is at least this share of the strongest one's.
const LEAST_SCORE: f64 = 0.5;

/// The items most over-represented in a part against all, the strongest first, one a feature, of tags several; `named` says how many codes
/// of a feature are items.
pub fn marks(part: &Centre, all: &Centre, named: &[usize], tags: &Tagged) -> Vec<Item> {
    let score = |item: &Item| {
        let of = |centre: &Centre| centre.profile.counts[usize::from(item.feature)][usize::from(item.code)];
        proportions_z(of(part), part.uv, of(all), all.uv)
    };
    let every = named.iter().enumerate().flat_map(|(feature, &codes)| items(feature, 0..codes));
    let mut scored: Vec<(f64, Item)> = every.map(|item| (score(&item), item)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let least = scored.first().map_or(0.0, |(strongest, _)| LEAST_SCORE * strongest);
    let mut marks: Vec<Item> = Vec::new();
    for (score, item) in scored {
        let new = tags[usize::from(item.feature)] || marks.iter().all(|mark| mark.feature != item.feature);
        if new && score > 0.0 && score >= least && marks.len() < MOST_MARKS {
            marks.push(item);
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{CARDINALITY, Customer, customers, shard};
    use super::*;
    use crate::stats::MetricKind;
    use proptest::prelude::*;

    fn weights(tags: f64) -> Weights {
        Weights { of_feature: vec![0.5, 0.3, tags], tags: vec![false, false, true] }
    }

    fn centre(customers: &[&Customer]) -> Centre {
        let mut centre = Centre { uv: customers.len() as i64, ..Centre::none(&CARDINALITY) };
        for (feature, counts) in centre.profile.counts.iter_mut().enumerate() {
            for (code, count) in (0u16..).zip(counts) {
                *count = customers.iter().filter(|c| c.has(feature, code)).count() as i64;
            }
        }
        centre
    }

    /// By the definition, coordinate by coordinate.
    fn squared(customer: &Customer, centre: &Centre, weights: &Weights) -> f64 {
        let feature = |feature: usize| {
            let coordinate = |code: usize| {
                let own = if customer.has(feature, code as u16) { 1.0 } else { 0.0 };
                (own - centre.share(feature, code)).powi(2)
            };
            weights.of_feature[feature] * (0..CARDINALITY[feature]).map(coordinate).sum::<f64>()
        };
        (0..3).map(feature).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_nearest_centre_is_that_of_the_definition(customers in customers(300), parts in 1usize..40, tags in 0.0f64..0.2) {
            let (shard, order) = shard(&customers, MetricKind::Rate);
            let weights = weights(tags);
            let centres: Vec<Centre> = (0..parts)
                .map(|part| {
                    let own: Vec<&Customer> = customers.iter().skip(part % customers.len()).step_by(parts).collect();
                    centre(&own)
                })
                .collect();
            let sets = [centres.clone(), centres[..1].to_vec()];
            let [labels, one] = &Nearest::new(&weights, &sets, 1).labels(&shard)[..] else { panic!("two sets") };
            prop_assert!(one.iter().all(|label| *label == 0));
            prop_assert_eq!(&Nearest::new(&weights, &sets[..1], MANY_ROWS).labels(&shard)[0], labels, "with keys of several features");
            for (row, &label) in labels.iter().enumerate() {
                let all: Vec<f64> = centres.iter().map(|c| squared(&customers[order[row]], c, &weights)).collect();
                let least = all.iter().copied().fold(f64::INFINITY, f64::min);
                // Rounded, as said where it is.
                prop_assert!(all[usize::from(label)] <= least + 1e-5, "{} of {}", all[usize::from(label)], least);
            }
            let found = spread_over(&shard, &CARDINALITY, std::slice::from_ref(labels), &[parts]).remove(0);
            for (part, found) in found.iter().enumerate() {
                let own: Vec<&Customer> =
                    (0..labels.len()).filter(|&row| usize::from(labels[row]) == part).map(|row| &customers[order[row]]).collect();
                prop_assert_eq!(found, &centre(&own));
                if !own.is_empty() {
                    let scatter: f64 = own.iter().map(|c| squared(c, found, &weights)).sum();
                    prop_assert!((scatter - weights.scatter(found)).abs() < 1e-9 * (1.0 + scatter));
                }
            }
        }

        #[test]
        fn iterations_never_scatter_more(customers in customers(200), parts in 1usize..6) {
            let (shard, _) = shard(&customers, MetricKind::Rate);
            let weights = weights(0.2);
            let hashes: Vec<u64> = (0..shard.rows() as u64).map(mixed).collect();
            let mut centres: Vec<Centre> = Vec::new();
            for number in 0..parts {
                let away = Nearest::new(&weights, &[centres.clone()], 1).distances(&shard);
                let away = (number > 0).then_some(&away[0][..]);
                let drawn = draw(&shard, &hashes, &CARDINALITY, away, Seeding::of(0, number));
                centres.extend(drawn.map(|drawn| drawn.centre));
            }
            let mut lloyd = Lloyd::new(weights.clone(), vec![centres]);
            let mut before = f64::INFINITY;
            while let [asked] = &lloyd.asked()[..] {
                let labels = Nearest::new(&weights, std::slice::from_ref(asked), 1).labels(&shard);
                lloyd.counted(spread_over(&shard, &CARDINALITY, &labels, &[asked.len()]));
                let after = lloyd.starts[0].scatter;
                prop_assert!(after <= before * (1.0 + 1e-5) + 1e-5, "{} after {}", after, before);
                before = after;
            }
            prop_assert!(lloyd.rounds < MOST_ROUNDS);
        }
    }

    #[test]
    fn who_is_far_is_drawn_more_often_in_proportion() {
        // 90 customers at the centre's place, 9 in one feature away (distance 1), 1 in both (1.6): 9 to 1.6.
        let customer = |codes| Customer { codes, tags: Vec::new(), part: 0, value: 0, den: 1 };
        let customers: Vec<Customer> = (0..100).map(|i| customer([u16::from(i >= 90), u16::from(i >= 99)])).collect();
        let (shard, order) = shard(&customers, MetricKind::Rate);
        let weights = weights(0.2);
        let away = |centres: &[usize]| {
            let set = centres.iter().map(|&customer| centre(&[&customers[customer]])).collect();
            Nearest::new(&weights, &[set], 1).distances(&shard).remove(0)
        };
        let at = away(&[0]);
        let hashes: Vec<u64> = order.iter().map(|&customer| mixed(customer as u64)).collect();
        let far = (0..4000u64).filter(|&seed| {
            let drawn = draw(&shard, &hashes, &CARDINALITY, Some(&at), seed).expect("some are away");
            assert_eq!(drawn.centre.profile.counts[0][1], 1, "nobody at the centre is drawn");
            drawn.centre.profile.counts[1][1] == 1
        });
        // 4,000 times 1.6 / 10.6 is 603.8, and its standard deviation 22.6.
        let far = far.count() as f64;
        assert!((far - 603.8).abs() < 4.0 * 22.6, "{far}");
        let all_there = draw(&shard, &hashes, &CARDINALITY, Some(&away(&[0, 95, 99])), 1);
        assert_eq!(all_there, None);
    }

    #[test]
    fn only_the_best_starts_go_on_after_some_rounds() {
        // One feature of two items. Start `s` has two centres of 50 customers that get purer round by round, the sooner the larger s is.
        let weights = Weights { of_feature: vec![1.0], tags: vec![false] };
        let centres = |pure: i64| {
            let of = |counts: [i64; 2]| Centre { uv: 50, profile: Profile { counts: vec![counts.to_vec()] } };
            vec![of([25 + pure, 25 - pure]), of([25 - pure, 25 + pure])]
        };
        let mut lloyd = Lloyd::new(weights, vec![centres(0); 5]);
        for round in 1..=TRIAL as i64 {
            assert_eq!(lloyd.asked().len(), 5, "round {round}");
            lloyd.counted((1..=5).map(|start| centres(round + start)).collect());
        }
        assert_eq!(lloyd.asked(), [centres(10), centres(11)]);
        lloyd.counted(vec![centres(10), centres(13)]);
        assert_eq!(lloyd.asked(), [centres(13)], "one of them did not move");
        // 2 centres of 38 and 12: each 50 - (38² + 12²) / 50 = 18.24.
        let (best, scatter) = lloyd.best();
        assert!(best == centres(13) && (scatter - 36.48).abs() < 1e-12, "{scatter}");
    }

    #[test]
    fn marks_are_the_strongest_items_one_a_feature() {
        let with = |uv: i64, counts: [Vec<i64>; 2]| Centre { uv, profile: Profile { counts: counts.into() } };
        let all = with(1000, [vec![500, 300, 200], vec![100, 900]]);
        let part = with(100, [vec![10, 10, 80], vec![60, 40]]);
        let item = |feature, code| Item { feature, code };
        // The third code of the first feature stands for rare values in the second call.
        assert_eq!(marks(&part, &all, &[3, 2], &vec![false; 2]), [item(1, 0), item(0, 2)]);
        assert_eq!(marks(&part, &all, &[2, 2], &vec![false; 2]), [item(1, 0)]);
        assert_eq!(marks(&all, &all, &[3, 2], &vec![false; 2]), []);
    }
}
