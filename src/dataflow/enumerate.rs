//! Enumeration as one differential dataflow: count, exchange, threshold, next level.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use differential_dataflow::operators::ThresholdTotal;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::{KeyBatcher, KeySpine};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::{Exchange as ExchangePact, Pipeline};
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Capability, Exchange, Input, Inspect, Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, StreamVec};
use timely::worker::Worker;

use crate::encode::Shard;
use crate::enumerate::{
    CoverBlock, LevelPlan, RankedGroup, Shape, Survivors, TagGroup, count_block, count_ranked, count_tagged,
};
use crate::segment::{FeatureSet, Segment};
use crate::stats::{Block, DISCOVERY, Moments, PARTS, Parts, Stats, VALIDATION};
use crate::telemetry::Progress;

/// The times of the dataflow: one for each state of the table.
type Epoch = u64;

/// "The shard is at this epoch": all that travels from the rows to the counting operators.
type Tick = ();

/// A partial block on its way to the worker that owns its feature set.
type Update = ((FeatureSet, ()), Epoch, Block);

/// How long a counting operator works before it lets the worker move messages: long enough not to cost anything,
/// short enough that a lost peer and the progress display are noticed.
const QUANTUM: Duration = Duration::from_millis(25);

/// What one worker did at one level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counted {
    pub level: usize,
    pub feature_sets: u64,
    pub candidates: u64,
    pub cells: u64,
    pub covering_blocks: u64,
    pub seconds: f64,
    /// Sent to other workers.
    pub bytes_exchanged: u64,
    /// Microseconds of each pass over the rows.
    pub passes_us: Vec<u64>,
}

impl Counted {
    /// Microseconds of the passes over the rows, to three significant digits.
    pub fn block_us(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("three significant digits are allowed");
        self.passes_us.iter().for_each(|&us| histogram.record(us).expect("a histogram that resizes holds any value"));
        histogram
    }
}

/// Frequent segments with their exact sums; at worker 0 all of them, elsewhere none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Sorted; the base comes first, unless there are no customers.
    pub segments: Vec<Segment>,
    /// Customers of each segment in each part.
    pub uv: Vec<Parts<i64>>,
    /// The sums of each segment: all of the discovery part, then all of the validation part.
    pub sums: Vec<i128>,
}

impl Answer {
    fn of(blocks: Vec<(FeatureSet, Block)>, plans: &[LevelPlan], shape: &Shape, width: usize) -> Answer {
        let mut found: Vec<(Segment, usize, usize)> = Vec::new();
        for (i, (set, block)) in blocks.iter().enumerate() {
            let layout = &plans[set.level().max(1) - 1].layouts[set];
            let named = |(j, &cell)| Some((layout.segment(*set, cell, shape)?, i, j));
            found.extend(block.cells().iter().enumerate().filter_map(named));
        }
        found.sort_unstable();
        let mut answer = Answer::default();
        for (segment, i, j) in found {
            let (uv, sums) = blocks[i].1.entry(j);
            answer.segments.push(segment);
            answer.uv.push([uv[DISCOVERY], uv[VALIDATION]]);
            answer.sums.extend_from_slice(sums);
            debug_assert_eq!(sums.len(), PARTS * width);
        }
        answer
    }

    /// The exact sums of metric `metric` over the customers of segment `i` in one part.
    pub fn stats(&self, moments: &Moments, metric: usize, i: usize, part: usize) -> Stats {
        let at = (PARTS * i + part) * moments.width();
        moments.stats(metric, self.uv[i][part], &self.sums[at..at + moments.width()])
    }
}

/// What came out of the enumeration at this worker.
#[derive(Clone, Debug)]
pub struct Enumeration {
    pub answer: Answer,
    /// By level, from 1.
    pub counted: Vec<Counted>,
}

/// The plans of the levels, made by each worker for itself and equal on all.
type Plans = Rc<RefCell<Vec<LevelPlan>>>;

/// Counts all segments of up to `max_level` items and returns those with at least `min_uv` customers.
///
/// Rows stay where they are. What crosses between workers is one partial block a worker and feature set, to the worker
/// that owns the set by hash; then each frequent segment of a level that has a next one, without its sums, to all workers;
/// and each frequent segment with its sums to worker 0.
pub fn enumerate(
    worker: &mut Worker,
    shard: Shard,
    shape: Shape,
    max_level: usize,
    min_uv: u64,
    rows_hint: usize,
    progress: Arc<Progress>,
) -> (Shard, Enumeration) {
    let min_uv = i64::try_from(min_uv).unwrap_or(i64::MAX);
    let shard = Rc::new(shard);
    let shape = Rc::new(shape);
    let plans: Plans = Rc::new(RefCell::new(vec![LevelPlan::default(); max_level]));
    let counted = Rc::new(RefCell::new(Vec::new()));
    let frequent_blocks = Rc::new(RefCell::new(Vec::new()));
    let mut ticks: InputHandle<Epoch, _> = InputHandle::new();
    let probe = ProbeHandle::new();

    worker.dataflow::<Epoch, _, _>(|scope| {
        let ticks: StreamVec<'_, Epoch, Tick> = scope.input_from(&mut ticks);
        let mut below: Option<StreamVec<'_, Epoch, Segment>> = None;
        for level in 1..=max_level {
            let counter = Counter {
                level,
                shard: Rc::clone(&shard),
                shape: Rc::clone(&shape),
                plans: Rc::clone(&plans),
                counted: Rc::clone(&counted),
                progress: Arc::clone(&progress),
                rows_hint,
            };
            let survivors = below.take().unwrap_or_else(|| ticks.clone().flat_map(|()| None));
            let partial = count(ticks.clone(), survivors, counter);
            let blocks = arrange_core::<_, _, KeyBatcher<FeatureSet, Epoch, Block>, KeySpine<FeatureSet, Epoch, Block>>(
                partial,
                ExchangePact::new(|update: &Update| owner(update.0.0)),
                "Tally: add the workers' blocks",
                KeyBatcher::new,
            );
            // The base is wanted however small it is.
            let frequent = blocks
                .threshold_total(move |set, block| block.at_least(if *set == FeatureSet::EMPTY { 1 } else { min_uv }));
            if level < max_level {
                let (plans, shape) = (Rc::clone(&plans), Rc::clone(&shape));
                let names = frequent.inner.clone().flat_map(move |(set, _, block)| {
                    let layout = &plans.borrow()[level - 1].layouts[&set];
                    // The base is not a segment that could be extended.
                    let cells = if set == FeatureSet::EMPTY { [].iter() } else { block.cells().iter() };
                    cells.filter_map(|&cell| layout.segment(set, cell, &shape)).collect::<Vec<_>>()
                });
                below = Some(names.broadcast());
            }
            let sink = Rc::clone(&frequent_blocks);
            frequent
                .inner
                .exchange(|_| 0)
                .inspect(move |(set, _, block)| sink.borrow_mut().push((*set, block.clone())))
                .probe_with(&probe);
        }
    });

    ticks.send(());
    ticks.close();
    while !probe.done() {
        worker.step_or_park(None);
    }
    let answer = Answer::of(frequent_blocks.take(), &plans.borrow(), &shape, shard.moments().width());
    let mut counted = counted.take();
    counted.sort_by_key(|c: &Counted| c.level);
    // The operators of a completed dataflow are dropped when the worker next steps.
    while Rc::strong_count(&shard) > 1 {
        worker.step();
    }
    let shard = Rc::try_unwrap(shard).expect("the dataflow has been dropped");
    (shard, Enumeration { answer, counted })
}

/// The worker that adds up a feature set's blocks, before reduction to their number. Fixed, so equal in all processes.
fn owner(set: FeatureSet) -> u64 {
    use std::hash::BuildHasher;
    foldhash::fast::FixedState::with_seed(0).hash_one(set)
}

/// What the counting operator of one level needs.
struct Counter {
    level: usize,
    shard: Rc<Shard>,
    shape: Rc<Shape>,
    plans: Plans,
    counted: Rc<RefCell<Vec<Counted>>>,
    progress: Arc<Progress>,
    rows_hint: usize,
}

/// One pass over the rows.
enum Unit {
    Cover(CoverBlock),
    Ranked(RankedGroup),
    Tagged(TagGroup),
}

/// The passes of one epoch that are still to do, and the right to send their blocks.
struct Work {
    capability: Capability<Epoch>,
    units: VecDeque<Unit>,
    counted: Counted,
}

/// The blocks of every feature set that the level wants: the feature set is the key, this worker's partial block the difference.
///
/// Waits until both the tick and all survivors of the level below are in, plans, then counts a few blocks an activation.
/// A block is complete once the frontier passes its time.
fn count<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    survivors: StreamVec<'scope, Epoch, Segment>,
    counter: Counter,
) -> StreamVec<'scope, Epoch, Update> {
    let scope = ticks.scope();
    let peers = scope.peers() as u64;
    let me = scope.index() as u64;
    ticks.binary_frontier(survivors, Pipeline, Pipeline, "Count: rows into blocks", move |_, info| {
        let activator = scope.activator_for(info.address);
        let mut waiting: BTreeMap<Epoch, Capability<Epoch>> = BTreeMap::new();
        let mut below: BTreeMap<Epoch, Vec<Segment>> = BTreeMap::new();
        let mut work: VecDeque<Work> = VecDeque::new();
        move |(ticks, ticks_frontier), (survivors, survivors_frontier), output| {
            ticks.for_each(|capability, _| {
                let capability = capability.retain_least(0).expect("a tick has a time");
                waiting.insert(*capability.time(), capability);
            });
            survivors.for_each(|capability, segments| {
                let time = *capability.least().expect("a survivor has a time");
                below.entry(time).or_default().append(segments);
            });
            while let Some(entry) = waiting.first_entry() {
                let time = *entry.key();
                if ticks_frontier.less_equal(&time) || survivors_frontier.less_equal(&time) {
                    break;
                }
                work.push_back(counter.plan(entry.remove(), below.remove(&time).unwrap_or_default()));
            }
            let started = Instant::now();
            while let Some(current) = work.front_mut() {
                let mut session = output.session(&current.capability);
                while let Some(unit) = current.units.pop_front() {
                    for (set, block) in counter.count(unit, &mut current.counted) {
                        if owner(set) % peers != me {
                            current.counted.bytes_exchanged += block.wire_bytes();
                        }
                        session.give(((set, ()), *current.capability.time(), block));
                    }
                    if started.elapsed() > QUANTUM {
                        break;
                    }
                }
                drop(session);
                if !current.units.is_empty() {
                    activator.activate();
                    return;
                }
                if let Some(done) = work.pop_front() {
                    counter.counted.borrow_mut().push(done.counted);
                }
            }
        }
    })
}

impl Counter {
    /// Plans the level for one epoch, from all survivors of the level below.
    fn plan(&self, capability: Capability<Epoch>, segments: Vec<Segment>) -> Work {
        let started = Instant::now();
        let mut below = Survivors::new();
        for segment in segments {
            below.entry(segment.features()).or_default().push(segment);
        }
        below.values_mut().for_each(|segments| segments.sort_unstable());
        let plan = LevelPlan::new(self.level, &self.shape, &below, self.rows_hint);
        let [_, planned] = &self.progress.levels[self.level - 1];
        planned.fetch_add(plan.units() as u64, Ordering::Relaxed);
        let units = plan.blocks.iter().cloned().map(Unit::Cover);
        let units = units.chain(plan.ranked.iter().cloned().map(Unit::Ranked));
        let units = units.chain(plan.tagged.iter().cloned().map(Unit::Tagged)).collect();
        let counted = Counted {
            level: self.level,
            feature_sets: plan.layouts.keys().filter(|set| set.level() > 0).count() as u64,
            candidates: plan.candidates,
            cells: plan.cells,
            covering_blocks: plan.units() as u64,
            seconds: started.elapsed().as_secs_f64(),
            bytes_exchanged: 0,
            passes_us: Vec::new(),
        };
        self.plans.borrow_mut()[self.level - 1] = plan;
        Work { capability, units, counted }
    }

    fn count(&self, unit: Unit, counted: &mut Counted) -> Vec<(FeatureSet, Block)> {
        let started = Instant::now();
        let blocks = match unit {
            Unit::Cover(block) => count_block(&self.shard, &block, &self.shape),
            Unit::Ranked(group) => count_ranked(&self.shard, &group, &self.plans.borrow()[self.level - 1]),
            Unit::Tagged(group) => count_tagged(&self.shard, &group, &self.plans.borrow()[self.level - 1]),
        };
        let took = started.elapsed();
        counted.seconds += took.as_secs_f64();
        counted.passes_us.push(took.as_micros().try_into().unwrap_or(u64::MAX));
        self.progress.levels[self.level - 1][0].fetch_add(1, Ordering::Relaxed);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::CustomerIds;
    use crate::encode::{Codes, MetricColumn};
    use crate::segment::Item;
    use proptest::prelude::*;

    /// A small table: codes by feature, parts, values; the last code of a feature is `rest` where `rest` says so.
    #[derive(Clone, Debug)]
    struct Table {
        cards: Vec<usize>,
        rest: Vec<bool>,
        rows: Vec<(Vec<u16>, u8, bool, i64)>,
    }

    impl Table {
        fn shape(&self) -> Shape {
            let items = self.cards.iter().zip(&self.rest).map(|(card, &rest)| card - usize::from(rest)).collect();
            Shape { cardinality: self.cards.clone(), items, tags: vec![false; self.cards.len()] }
        }

        fn shard(&self, worker: usize, workers: usize) -> Shard {
            let rows: Vec<_> = self.rows.iter().skip(worker).step_by(workers).collect();
            let features = (0..self.cards.len()).map(|f| {
                let mut codes = Codes::with_capacity(self.cards[f], rows.len());
                rows.iter().for_each(|row| codes.push(row.0[f]));
                codes
            });
            Shard {
                features: features.collect(),
                part: rows.iter().map(|row| row.1).collect(),
                metrics: vec![
                    MetricColumn::Rate(rows.iter().map(|row| u8::from(row.2)).collect()),
                    MetricColumn::Amount(rows.iter().map(|row| row.3).collect()),
                    MetricColumn::Ratio {
                        num: rows.iter().map(|row| row.3 / 2).collect(),
                        den: rows.iter().map(|row| i64::from(row.2) + 3).collect(),
                    },
                ],
                ids: CustomerIds::Row((0..rows.len() as u64).collect()),
            }
        }

        /// The definition, over raw rows: every segment a row is in gets the row.
        fn brute_force(&self, max_level: usize, min_uv: i64) -> Answer {
            let mut cells: BTreeMap<Segment, ([i64; 2], Vec<i128>)> = BTreeMap::new();
            for (codes, part, yes, value) in &self.rows {
                let (n, d) = (i128::from(value / 2), i128::from(*yes) + 3);
                let y = i128::from(*value);
                let moments = [i128::from(*yes), y, y * y, n, n * n, d, d * d, n * d];
                for mask in 0u32..1 << codes.len() {
                    let chosen: Vec<usize> = (0..codes.len()).filter(|i| mask >> i & 1 == 1).collect();
                    let is_rest = |&f: &usize| self.rest[f] && usize::from(codes[f]) == self.cards[f] - 1;
                    if chosen.len() > max_level || chosen.iter().any(is_rest) {
                        continue;
                    }
                    let items: Vec<Item> = chosen.iter().map(|&f| Item { feature: f as u16, code: codes[f] }).collect();
                    let cell = cells.entry(Segment::of_items(&items)).or_insert(([0; 2], vec![0; 16]));
                    cell.0[usize::from(*part)] += 1;
                    let sums = &mut cell.1[8 * usize::from(*part)..][..8];
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

        fn engine(&self, max_level: usize, min_uv: u64, workers: usize) -> Answer {
            let table = self.clone();
            let guards = timely::execute(timely::Config::process(workers), move |worker| {
                let shard = table.shard(worker.index(), worker.peers());
                let rows = table.rows.len();
                enumerate(worker, shard, table.shape(), max_level, min_uv, rows, Progress::new(max_level)).1.answer
            })
            .expect("threads");
            let answers: Vec<Answer> = guards.join().into_iter().map(|a| a.expect("no panic")).collect();
            assert!(answers[1..].iter().all(|a| a.segments.is_empty()), "only worker 0 has the answer");
            answers.into_iter().next().expect("worker 0")
        }
    }

    fn tables() -> impl Strategy<Value = Table> {
        // Wide features put pairs and triples beyond the grid, onto ranks.
        let card = prop_oneof![4 => 1usize..6, 1 => Just(40), 1 => Just(300)];
        proptest::collection::vec((card, any::<bool>()), 1..6).prop_flat_map(|features| {
            let (cards, rest): (Vec<usize>, Vec<bool>) = features.into_iter().unzip();
            let code = |card: usize| prop_oneof![3 => 0..card.min(3) as u16, 1 => 0..card as u16];
            let codes: Vec<_> = cards.iter().map(|&card| code(card)).collect();
            let value = prop_oneof![9 => -100i64..100, 1 => -4_000_000_000_000_000_000i64..4_000_000_000_000_000_000];
            proptest::collection::vec((codes, 0u8..2, any::<bool>(), value), 0..120).prop_map(move |rows| Table {
                cards: cards.clone(),
                rest: rest.clone(),
                rows,
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
        #[test]
        fn the_engine_counts_what_the_definition_says(
            table in tables(),
            max_level in 1usize..6,
            min_uv in 1u64..8,
            workers in 1usize..4,
        ) {
            let expected = table.brute_force(max_level, min_uv as i64);
            prop_assert_eq!(table.engine(max_level, min_uv, workers), expected);
        }
    }

    #[test]
    fn cells_too_many_to_hold_are_counted_by_those_that_occur() {
        // 2,000 x 2,000 codes exceed what is held densely; every third pair repeats.
        let rows = (0..3000u32).map(|i| {
            let i = i - i % 3 / 2;
            (vec![(i % 2000) as u16, (i * 7 % 2000) as u16], (i % 2) as u8, i % 5 == 0, i64::from(i))
        });
        let table = Table { cards: vec![2000, 2000], rest: vec![false, false], rows: rows.collect() };
        assert_eq!(table.engine(2, 1, 2), table.brute_force(2, 1));
    }
}
