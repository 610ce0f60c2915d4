//! Enumeration as differential dataflows: count, exchange, threshold; one for each round of levels and pass over the rows.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use differential_dataflow::operators::ThresholdTotal;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::{KeyBatcher, KeySpine};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange as ExchangePact;
use timely::dataflow::operators::generic::source;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Exchange, Inspect, Probe};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

use super::agree::{Failure, agree};
use super::collective::{broadcast, gather};
use super::room::Room;
use super::shared::{Plan, Shared, Task};
use crate::block::{Block, Figures};
use crate::encode::Shard;
use crate::enumerate::{
    Answer, Limits, Load, Round, Shape, Survivors, Tally, Unit, Workers, bounds, candidates, count_block, count_ranked,
    count_tagged,
};
use crate::segment::{FeatureSet, MAX_LEVEL, Segment};
use crate::telemetry::Progress;

/// The times of the dataflow: one for each state of the table.
type Epoch = u64;

/// A partial block on its way to the worker that owns its feature set.
type Update = ((FeatureSet, ()), Epoch, Block);

/// How long a counting operator works before it lets the worker move messages: long enough not to cost anything,
/// short enough that a lost peer and the progress display are noticed.
const QUANTUM: Duration = Duration::from_millis(25);

/// What one worker did in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counted {
    /// The levels that were counted together.
    pub levels: [usize; 2],
    /// Feature sets, cells and the candidates of each of these levels; candidates are told for a level counted on its own.
    pub planned: Vec<Planned>,
    /// Passes over the rows, by all workers of a process together.
    pub passes: u64,
    pub seconds: f64,
    /// Sent to other workers.
    pub bytes_exchanged: u64,
    /// Microseconds of each block that this worker counted.
    pub blocks_us: Vec<u64>,
}

/// What was counted of one level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Planned {
    pub feature_sets: u64,
    pub cells: u64,
    pub candidates: Option<u64>,
}

impl Counted {
    /// What a round that was planned since `started` is going to count.
    fn planned(round: &Round, started: Instant) -> Counted {
        let planned = |level: usize| Planned {
            feature_sets: round.feature_sets(level),
            cells: round.cells(level),
            candidates: round.candidates,
        };
        Counted {
            levels: [*round.levels.start(), *round.levels.end()],
            planned: round.levels.clone().map(planned).collect(),
            passes: round.units.len() as u64,
            seconds: started.elapsed().as_secs_f64(),
            bytes_exchanged: 0,
            blocks_us: Vec::new(),
        }
    }

    /// Microseconds of the passes over the rows, to three significant digits.
    pub fn block_us(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("three significant digits are allowed");
        self.blocks_us.iter().for_each(|&us| histogram.record(us).expect("a histogram that resizes holds any value"));
        histogram
    }
}

/// What came out of the enumeration at this worker.
#[derive(Clone, Debug)]
pub struct Enumeration {
    pub answer: Answer,
    /// By round.
    pub counted: Vec<Counted>,
}

impl Enumeration {
    /// Of each level: feature sets, cells and candidates, the last worked out now where the level was counted before they were
    /// known. Only worker 0, which has the answer, can tell.
    pub fn planned(&self, shape: &Shape) -> Vec<Planned> {
        let planned = self.counted.iter().flat_map(|round| (round.levels[0]..=round.levels[1]).zip(&round.planned));
        let items = || shape.items.iter().map(|&items| items as u64).sum();
        planned
            .map(|(level, planned)| {
                let later =
                    || if level == 1 { items() } else { candidates(level, shape, &self.answer.survivors(level - 1)) };
                Planned { candidates: Some(planned.candidates.unwrap_or_else(later)), ..planned.clone() }
            })
            .collect()
    }
}

/// Agrees on what the plan has to know of all rows.
pub fn agree_load(worker: &mut Worker, shared: &Shared, shard: &Shard) -> Load {
    let moments = shard.moments();
    let summed = shard.runs().iter().filter(|run| !run.zero).map(|run| run.rows.len() as u64).sum::<u64>();
    let all = gather(worker, (bounds(shard), summed, shard.rows() as u64));
    let tags = gather(worker, shard.tag_loads(MAX_LEVEL));
    let processes = workers(worker, shared).processes;
    let load = (worker.index() == 0).then(|| {
        let total = |moment| all.iter().fold(0u128, |sum, (bounds, _, _)| sum.saturating_add(bounds[moment]));
        let rows: u64 = all.iter().map(|(_, _, rows)| rows).sum();
        let summed: u64 = all.iter().map(|(_, summed, _)| summed).sum();
        let bounds = (0..moments.width()).map(|moment: usize| total(moment)).collect();
        let tags = tags.into_iter().reduce(|mut sum, more| {
            sum.iter_mut().zip(&more).for_each(|(a, b)| a.add(b));
            sum
        });
        Load { tags: tags.unwrap_or_default(), ..Load::new(moments, bounds, rows, summed, processes) }
    });
    broadcast(worker, load)
}

/// Counts all segments of up to `limits.max_level` items and returns those with at least `limits.min_uv` customers.
///
/// Rows stay in their process, whose workers take turns at all of them: a block is counted by one worker over the rows of
/// all. What crosses between workers is one partial block a process and feature set, to the worker that owns the set by
/// hash; then the cells of each frequent segment of a level that has a next one to all workers; and each frequent segment
/// with its sums to worker 0.
pub fn enumerate(
    worker: &mut Worker,
    shared: &Arc<Shared>,
    shard: Shard,
    shape: &Shape,
    limits: &Limits,
    progress: &Arc<Progress>,
) -> Result<(Arc<Shard>, Enumeration), Failure> {
    let shard = Arc::new(shard);
    shared.deposit(worker.index(), Arc::clone(&shard));
    // Every worker has deposited its rows when this is agreed.
    let load = agree_load(worker, shared, &shard);
    let room = Room::agree(worker, shared)?;
    let workers = workers(worker, shared);
    let (mut plans, mut counted, mut frequent): (Vec<Arc<Plan>>, Vec<Counted>, Vec<_>) = Default::default();
    let mut below: Vec<Cells> = Vec::new();
    let mut level = 1;
    while level <= limits.max_level {
        let started = Instant::now();
        let plan = shared.plan(plans.len(), || {
            let round = match plans.last() {
                None => Round::first(shape, &load, limits),
                Some(last) => Round::next(level, shape, &survivors(&below, &last.round, shape), &load),
            };
            Plan::new(round, shape, &load, workers, room.blocks.min(limits.block_bytes))
        });
        below.clear();
        // The plans are equal, so all workers refuse alike.
        room.fits(plan.largest, &plan.round)?;
        let deepest = *plan.round.levels.end();
        let mut record = Counted::planned(&plan.round, started);
        progress.levels[deepest - 1][1].store(plan.tasks() as u64, Ordering::Relaxed);
        let counter = Counter {
            shards: shared.shards(),
            plan: Arc::clone(&plan),
            shape: shape.clone(),
            figures: load.figures.clone(),
            progress: Arc::clone(progress),
        };
        let min_uv = i64::try_from(limits.min_uv).unwrap_or(i64::MAX);
        let extended = (deepest < limits.max_level).then_some(deepest);
        tracing::debug!(level = deepest, units = plan.round.units.len(), seconds = took(started), "planned");
        for pass in 0..plan.passes() {
            let started = Instant::now();
            let found = tally(worker, &counter, pass, min_uv, extended, &mut record);
            frequent.extend(found.frequent);
            below.extend(found.extended);
            tracing::debug!(level = deepest, pass, counting = record.seconds, seconds = took(started), "pass done");
            let held = frequent.iter().map(|(_, block): &(FeatureSet, Block)| block.cells().len() as u64).sum();
            agree(worker, room.holds(held).err())?;
        }
        counted.push(record);
        plans.push(plan);
        level = deepest + 1;
    }
    let started = Instant::now();
    let layout = |set: FeatureSet| {
        plans.iter().find_map(|plan| plan.round.layouts.get(&set)).expect("it was counted as planned")
    };
    let answer = Answer::of(frequent, layout, shape, load.figures.moments.width());
    tracing::debug!(segments = answer.segments.len(), seconds = took(started), "answer put together");
    shared.clear();
    Ok((shard, Enumeration { answer, counted }))
}

fn took(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

/// The workers of all processes, which have equally many each.
pub fn workers(worker: &Worker, shared: &Shared) -> Workers {
    Workers { processes: (worker.peers() / shared.threads()) as u64, threads: shared.threads() as u64 }
}

/// The frequent cells of one feature set.
type Cells = (FeatureSet, Vec<u64>);

/// The segments that these cells of a round stand for.
fn survivors(cells: &[Cells], round: &Round, shape: &Shape) -> Survivors {
    let named = |(set, cells): &Cells| {
        let layout = &round.layouts[set];
        (*set, cells.iter().filter_map(|&cell| layout.segment(*set, cell, shape)).collect::<Vec<Segment>>())
    };
    cells.iter().map(named).filter(|(_, segments)| !segments.is_empty()).collect()
}

/// What one pass found.
struct Found {
    /// At worker 0: the frequent cells of every feature set.
    frequent: Vec<(FeatureSet, Block)>,
    /// At every worker: those of the level that is extended.
    extended: Vec<Cells>,
}

/// One pass as a dataflow: the feature set is the key, a process's partial block the difference.
fn tally(
    worker: &mut Worker,
    counter: &Counter,
    pass: usize,
    min_uv: i64,
    extended: Option<usize>,
    record: &mut Counted,
) -> Found {
    let counted = Rc::new(RefCell::new(record.clone()));
    let frequent = Rc::new(RefCell::new(Vec::new()));
    let cells = Rc::new(RefCell::new(Vec::new()));
    let probe = ProbeHandle::new();
    worker.dataflow::<Epoch, _, _>(|scope| {
        let partial = count(scope, counter.clone(), pass, Rc::clone(&counted));
        let blocks = arrange_core::<_, _, KeyBatcher<FeatureSet, Epoch, Block>, KeySpine<FeatureSet, Epoch, Block>>(
            partial,
            ExchangePact::new(|update: &Update| owner(update.0.0)),
            "Tally: add the processes' blocks",
            KeyBatcher::new,
        );
        // The base is wanted however small it is.
        let found = blocks
            .threshold_total(move |set, block| block.at_least(if *set == FeatureSet::EMPTY { 1 } else { min_uv }));
        if let Some(level) = extended {
            let sink = Rc::clone(&cells);
            let names = found
                .inner
                .clone()
                .flat_map(move |(set, _, block)| (set.level() == level).then(|| (set, block.cells().to_vec())));
            names.broadcast().inspect(move |cells: &Cells| sink.borrow_mut().push(cells.clone())).probe_with(&probe);
        }
        let sink = Rc::clone(&frequent);
        found
            .inner
            .exchange(|_| 0)
            .inspect(move |(set, _, block)| sink.borrow_mut().push((*set, block.clone())))
            .probe_with(&probe);
    });
    while !probe.done() {
        worker.step_or_park(None);
    }
    *record = counted.borrow().clone();
    Found { frequent: frequent.take(), extended: cells.take() }
}

/// The worker that adds up a feature set's blocks, before reduction to their number. Fixed, so equal in all processes.
fn owner(set: FeatureSet) -> u64 {
    use std::hash::BuildHasher;
    foldhash::fast::FixedState::with_seed(0).hash_one(set)
}

/// What the counting operator of one round needs.
#[derive(Clone)]
struct Counter {
    shards: Vec<Arc<Shard>>,
    plan: Arc<Plan>,
    shape: Shape,
    figures: Figures,
    progress: Arc<Progress>,
}

/// The blocks of every feature set of a pass, as this process's workers count them: whoever is free takes the next task.
fn count<'scope>(
    scope: Scope<'scope, Epoch>,
    counter: Counter,
    pass: usize,
    record: Rc<RefCell<Counted>>,
) -> StreamVec<'scope, Epoch, Update> {
    let peers = scope.peers() as u64;
    let me = scope.index() as u64;
    source::<_, CapacityContainerBuilder<Vec<Update>>, _, _>(
        scope,
        "Count: rows into blocks",
        move |capability, info| {
            let activator = scope.activator_for(info.address);
            let mut capability = Some(capability);
            let mut tally = Tally::new(&counter.figures);
            move |output| {
                let Some(time) = &capability else { return };
                let started = Instant::now();
                let mut session = output.session(time);
                while started.elapsed() < QUANTUM {
                    let Some(task) = counter.plan.take(pass) else {
                        drop(session);
                        capability = None;
                        return;
                    };
                    let mut record = record.borrow_mut();
                    for (set, block) in counter.count(&task, &mut tally, &mut record) {
                        if owner(set) % peers != me {
                            record.bytes_exchanged += block.wire_bytes();
                        }
                        session.give(((set, ()), *time.time(), block));
                    }
                }
                activator.activate();
            }
        },
    )
}

impl Counter {
    fn count(&self, task: &Task, tally: &mut Tally, record: &mut Counted) -> Vec<(FeatureSet, Block)> {
        let started = Instant::now();
        let shards: Vec<&Shard> = self.shards[task.shards.clone()].iter().map(|shard| &**shard).collect();
        let round = &self.plan.round;
        let blocks = match &round.units[task.unit] {
            Unit::Cover(block) => count_block(&shards, block, &self.shape, tally),
            Unit::Ranked(group) => count_ranked(&shards, group, &round.layouts, &self.figures),
            Unit::Tagged(group) => count_tagged(&shards, group, &round.layouts, &self.figures),
        };
        let took = started.elapsed();
        record.seconds += took.as_secs_f64();
        record.blocks_us.push(took.as_micros().try_into().unwrap_or(u64::MAX));
        self.progress.levels[round.levels.end() - 1][0].fetch_add(1, Ordering::Relaxed);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::audience::CustomerIds;
    use crate::encode::{Codes, MetricColumn};
    use crate::memory::Size;
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
            let with =
                |f: usize, code: usize| self.rows.iter().filter(|row| usize::from(row.0[f]) == code).count() as u64;
            let most = |f: usize| (0..self.cards[f]).map(|code| with(f, code)).max().unwrap_or(0);
            let common = (0..self.cards.len()).map(most).collect();
            Shape { cardinality: self.cards.clone(), items, common, tags: vec![false; self.cards.len()] }
        }

        fn shard(&self, worker: usize, workers: usize) -> Shard {
            let rows: Vec<_> = self.rows.iter().skip(worker).step_by(workers).collect();
            let features = (0..self.cards.len()).map(|f| {
                let mut codes = Codes::with_capacity(self.cards[f], rows.len());
                rows.iter().for_each(|row| codes.push(row.0[f]));
                codes
            });
            Shard::new(
                features.collect(),
                rows.iter().map(|row| row.1).collect(),
                vec![
                    MetricColumn::Rate(rows.iter().map(|row| u8::from(row.2)).collect()),
                    MetricColumn::Amount(rows.iter().map(|row| row.3).collect()),
                    MetricColumn::Ratio {
                        num: rows.iter().map(|row| row.3 / 2).collect(),
                        den: rows.iter().map(|row| i64::from(row.2) + 3).collect(),
                    },
                ],
                CustomerIds::Row((0..rows.len() as u64).collect()),
            )
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

        fn engine(&self, max_level: usize, min_uv: u64, workers: usize, block_bytes: u64) -> Answer {
            let table = self.clone();
            let (shared, progress) = (Shared::new(workers, Size(u64::MAX)), Progress::new(max_level));
            let guards = timely::execute(timely::Config::process(workers), move |worker| {
                let shard = table.shard(worker.index(), worker.peers());
                let limits = Limits { customers: table.rows.len() as u64, min_uv, max_level, block_bytes };
                enumerate(worker, &shared, shard, &table.shape(), &limits, &progress).expect("room").1.answer
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
            // One block a pass, or all.
            block_bytes in prop_oneof![Just(1), Just(1 << 30)],
        ) {
            let expected = table.brute_force(max_level, min_uv as i64);
            prop_assert_eq!(table.engine(max_level, min_uv, workers, block_bytes), expected);
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
        assert_eq!(table.engine(2, 1, 2, 1 << 30), table.brute_force(2, 1));
    }
}
