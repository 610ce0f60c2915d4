//! Times of the calculations that a run spends itself in, each on one thread unless it says otherwise.
//!
//! - `count_block`: 1,000,000 rows counted into one covering block of 5 features with 8 items each, all 10 triples summed
//!   out, with a rate and with an amount as the metric. Throughput is in rows.
//! - `cover`: the covering blocks of all triples of 20 and of 68 features with 8 items each.
//! - `score`: measures, tests and q-values of 100,000 segments, on all cores (rayon). Throughput is in segments.
//!
//! Run with `cargo bench --bench stages`, or one of them with `cargo bench --bench stages -- count_block`. Tables are made
//! in code from a fixed rule. Each answer is checked before it is timed.

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use nichemine::audience::CustomerIds;
use nichemine::block::{Block, Figures, Plane};
use nichemine::encode::{Codes, MetricColumn, Shard};
use nichemine::enumerate::{CoverBlock, GRID_CELLS, Shape, Tally, bounds, count_block, cover};
use nichemine::highlight::{Frequent, score};
use nichemine::job::Adjust;
use nichemine::segment::{FeatureId, FeatureSet, Segment};
use nichemine::stats::{MetricKind, Scale, Stats};

const ROWS: usize = 1_000_000;
const ITEMS: usize = 8;

/// Bits without a pattern that a counter could profit from (the finaliser of SplitMix64; Steele, Lea and Flood, 2014).
fn scrambled(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn shard(features: u64, metric: MetricColumn) -> Shard {
    let codes = |f: u64| (0..ROWS as u64).map(|row| (scrambled(row * features + f) % ITEMS as u64) as u8).collect();
    Shard::new(
        (0..features).map(|f| Codes::U8(codes(f))).collect(),
        (0..ROWS as u64).map(|row| u8::from(row % 10 < 3)).collect(),
        vec![metric],
        CustomerIds::Row((0..ROWS as u64).collect()),
    )
}

fn triples(features: FeatureId) -> BTreeSet<FeatureSet> {
    let pairs = (0..features).flat_map(|a| (a + 1..features).map(move |b| (a, b)));
    pairs.flat_map(|(a, b)| (b + 1..features).map(move |c| FeatureSet::new(&[a, b, c]))).collect()
}

fn counting(c: &mut Criterion) {
    let mut group = c.benchmark_group("count_block");
    group.throughput(Throughput::Elements(ROWS as u64));
    let rate: Vec<u8> = (0..ROWS).map(|row| u8::from(row % 20 == 0)).collect();
    let amount: Vec<i64> = (0..ROWS as i64).map(|row| row % 1000 - 300).collect();
    // One row in 20; and 1000 times the sum of -300..700, which is 199,500.
    let metrics =
        [("rate", MetricColumn::Rate(rate), 50_000), ("amount", MetricColumn::Amount(amount), 199_500_000i128)];
    for (name, metric, sum) in metrics {
        let shard = shard(5, metric);
        let shape = Shape {
            cardinality: vec![ITEMS; 5],
            items: vec![ITEMS; 5],
            common: vec![ROWS as u64 / 8; 5],
            tags: vec![false; 5],
        };
        let figures = Figures::new(shard.moments(), &bounds(&shard), ROWS as u64);
        let block = the_one(cover(&triples(5), |_| ITEMS, GRID_CELLS, |_| 1.0));
        let mut tally = Tally::new(&figures);
        let counted = count_block(&[&shard], &block, &shape, &mut tally);
        assert_eq!(counted.len(), 10, "triples of 5 features");
        for (set, block) in counted {
            assert_eq!(totals(&block, &figures), (i128::from(ROWS as u64), sum), "{set:?}");
        }
        group.bench_function(name, |b| b.iter(|| count_block(&[black_box(&shard)], &block, &shape, &mut tally)));
    }
    group.finish();
}

fn the_one(blocks: Vec<CoverBlock>) -> CoverBlock {
    <[CoverBlock; 1]>::try_from(blocks).map(|[block]| block).expect("8^5 cells fit one grid")
}

/// Customers and sum of the metric, over all cells and both parts.
fn totals(block: &Block, figures: &Figures) -> (i128, i128) {
    let all = |plane: &Plane| (0..plane.len()).map(|cell| plane.at(cell)).sum::<i128>();
    let of = |figure: usize| block.planes().chunks(figures.per_part()).map(|part| all(&part[figure])).sum();
    (of(0), of(1))
}

fn covering(c: &mut Criterion) {
    let mut group = c.benchmark_group("cover");
    group.sample_size(10);
    // n (n - 1) (n - 2) / 6.
    for (features, sets) in [(20, 1_140), (68, 50_116)] {
        let wanted = triples(features);
        let covered: Vec<FeatureSet> =
            cover(&wanted, |_| ITEMS, GRID_CELLS, |_| 1.0).into_iter().flat_map(|block| block.sets).collect();
        assert_eq!(covered.len(), sets, "every set once");
        assert_eq!(BTreeSet::from_iter(covered), wanted);
        group.bench_function(format!("{features} features"), |b| {
            b.iter(|| cover(black_box(&wanted), |_| ITEMS, GRID_CELLS, |_| 1.0))
        });
    }
    group.finish();
}

fn scoring(c: &mut Criterion) {
    let mut group = c.benchmark_group("score");
    let set = FeatureSet::new(&[0, 1, 2]);
    let segments: Vec<Segment> =
        (0..100_000u32).map(|i| Segment::new(set, &[i / 2500, i / 50 % 50, i % 50].map(|c| c as u16))).collect();
    group.throughput(Throughput::Elements(segments.len() as u64));
    // The base: 1,000,000 customers of whom every tenth says yes. The first segment: 100 customers, 20 yes: lift 2.
    let sums = |uv: i64, yes: i64| Stats { uv, sum: yes.into(), sq: yes.into(), ..Stats::default() };
    let whole: Vec<Stats> = (0..100_000).map(|i| sums(100 + i % 1000, 20 + i % 70)).collect();
    let frequent = Frequent {
        segments: &segments,
        whole: &whole,
        discovery: &whole,
        base_whole: sums(1_000_000, 100_000),
        base_discovery: sums(1_000_000, 100_000),
        unlisted: None,
    };
    for kind in [MetricKind::Rate, MetricKind::Amount] {
        let scored = score(&frequent, kind, Scale::default(), Adjust::BenjaminiHochberg);
        assert_eq!(scored[0].measures.lift, Some(2.0));
        // 100 times the sum of 100..1100, which is 599,500.
        assert_eq!(scored.iter().map(|s| s.measures.uv).sum::<i64>(), 59_950_000);
        assert!(scored.iter().all(|s| s.test.is_some() && s.q.is_some()));
        group.bench_function(format!("{kind:?}").to_lowercase(), |b| {
            b.iter(|| score(black_box(&frequent), kind, Scale::default(), Adjust::BenjaminiHochberg))
        });
    }
    group.finish();
}

criterion_group!(benches, counting, covering, scoring);
criterion_main!(benches);
