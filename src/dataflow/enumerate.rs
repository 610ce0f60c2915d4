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
use timely::dataflow::operators::{Inspect, Probe};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

use super::agree::{Failure, agree};
use super::collective::{broadcast, collect, gather};
use super::promise::Promise;
use super::room::Room;
use super::shared::{Plan, Shared, Task};
use crate::block::{Block, Figures};
use crate::encode::Shard;
use crate::enumerate::{
    Answer, Limits, Load, Round, Shape, Survivors, Tally, Unit, Workers, bounds, candidates, closed, count_block,
    count_ranked, count_tagged,
};
use crate::score::Spread;
use crate::segment::{FeatureSet, MAX_LEVEL, Segment};
use crate::telemetry::Progress;

/// The times of the dataflow: one for each state of the table.
type Epoch = u64;

/// A partial block on its way to the worker that owns its feature set.
type Update = ((FeatureSet, ()), Epoch, Block);

/// How long a counting operator works before it lets the worker move messages: long enough not to cost anything,
/// short enough that a lost peer and the progress display are noticed.
pub(super) const QUANTUM: Duration = Duration::from_millis(25);

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
    /// Of all frequent segments that were counted, on the whole base and on the discovery part; at worker 0 and only where a promise
    /// was asked for.
    pub spread: [Spread; 2],
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

/// Which segments are looked for, and what is known of the table.
#[derive(Clone, Copy)]
pub struct Sought<'a> {
    pub shape: &'a Shape,
    pub load: &'a Load,
    pub limits: &'a Limits,
    /// What a segment has to promise beside its number of customers.
    pub promise: Option<&'a Promise>,
    /// Bytes of other rows that this worker holds meanwhile.
    pub beside: u64,
}

/// Counts all segments of up to `limits.max_level` items and returns those with at least `limits.min_uv` customers that keep the
/// promise.
///
/// Rows stay in their process, whose workers take turns at all of them: a block is counted by one worker over the rows of
/// all. What crosses between workers is one partial block a process and feature set, to the worker that owns the set by
/// hash; then the cells of each frequent segment of a level that has a next one to all workers; and each frequent segment
/// with its sums to worker 0.
pub fn enumerate(
    worker: &mut Worker,
    shared: &Arc<Shared>,
    shard: Shard,
    sought: &Sought,
    progress: &Arc<Progress>,
) -> Result<(Arc<Shard>, Enumeration), Failure> {
    let Sought { shape, load, limits, promise, beside } = *sought;
    let shard = Arc::new(shard);
    shared.deposit(worker.index(), Arc::clone(&shard));
    // Every worker has deposited its rows when this is agreed.
    let room = Room::agree(worker, shared, shard.bytes() + beside)?;
    let workers = workers(worker, shared);
    let (mut plans, mut counted, mut frequent): (Vec<Arc<Plan>>, Vec<Counted>, Vec<_>) = Default::default();
    let mut spread: [Spread; 2] = Default::default();
    let mut below: Vec<Cells> = Vec::new();
    // With a promise to keep, fewer cells are wanted than have the customers.
    let typical = promise.map_or(0, |promise| promise.typical_uv(limits.customers));
    let reckoned = Limits { min_uv: limits.min_uv.max(typical), ..limits.clone() };
    let mut level = 1;
    while level <= limits.max_level {
        let started = Instant::now();
        let plan = shared.plan(plans.len(), || {
            let round = match plans.last() {
                None => Round::first(shape, load, &reckoned),
                Some(last) => Round::next(level, shape, &survivors(&below, &last.round, shape), load),
            };
            Plan::new(round, shape, load, workers, room.blocks.min(limits.block_bytes))
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
        let wanted = Wanted { min_uv: i64::try_from(limits.min_uv).unwrap_or(i64::MAX), promise: promise.cloned() };
        let extended = (deepest < limits.max_level).then_some(deepest);
        tracing::debug!(level = deepest, units = plan.round.units.len(), seconds = took(started), "planned");
        for pass in 0..plan.passes() {
            let started = Instant::now();
            let found = tally(worker, &counter, pass, &wanted, extended, &mut record);
            frequent.extend(found.frequent);
            below.extend(found.extended);
            spread = both(spread, &found.spread);
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
    let mut answer = Answer::of(frequent, layout, shape, load.figures.moments.width());
    if promise.is_some_and(Promise::rounds) {
        // A guard that no test reaches through the engine: the bound's slack is wider than any rounding seen.
        answer.retain(&closed(&answer.segments));
    }
    tracing::debug!(segments = answer.segments.len(), seconds = took(started), "answer put together");
    if promise.is_some() {
        spread = gather(worker, spread).iter().fold(Default::default(), both);
    }
    shared.clear();
    Ok((shard, Enumeration { answer, spread, counted }))
}

fn both(spread: [Spread; 2], more: &[Spread; 2]) -> [Spread; 2] {
    let [whole, discovery] = spread;
    [whole.plus(&more[0]), discovery.plus(&more[1])]
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

/// Which cells are kept.
#[derive(Clone)]
struct Wanted {
    min_uv: i64,
    promise: Option<Promise>,
}

/// What one pass found.
struct Found {
    /// At worker 0: the frequent cells of every feature set.
    frequent: Vec<(FeatureSet, Block)>,
    /// At every worker: those of the level that is extended.
    extended: Vec<Cells>,
    /// Of the feature sets that this worker adds up, where a promise is asked for.
    spread: [Spread; 2],
}

/// One pass as a dataflow: the feature set is the key, a process's partial block the difference.
fn tally(
    worker: &mut Worker,
    counter: &Counter,
    pass: usize,
    wanted: &Wanted,
    extended: Option<usize>,
    record: &mut Counted,
) -> Found {
    let counted = Rc::new(RefCell::new(record.clone()));
    let frequent = Rc::new(RefCell::new(Vec::new()));
    let cells = Rc::new(RefCell::new(Vec::new()));
    let spread = Rc::new(RefCell::new(<[Spread; 2]>::default()));
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
        let min_uv = wanted.min_uv;
        let found = blocks
            .threshold_total(move |set, block| block.at_least(if *set == FeatureSet::EMPTY { 1 } else { min_uv }))
            .inner;
        let found = match wanted.promise.clone() {
            None => found,
            Some(promise) => {
                let (plan, shape, spread) = (Arc::clone(&counter.plan), counter.shape.clone(), Rc::clone(&spread));
                found.map(move |(set, time, block)| {
                    if set == FeatureSet::EMPTY {
                        return (set, time, block);
                    }
                    let layout = &plan.round.layouts[&set];
                    let mut spread = spread.borrow_mut();
                    for (place, &cell) in block.cells().iter().enumerate() {
                        if layout.segment(set, cell, &shape).is_some() {
                            promise.spread(block.planes(), place, &mut spread);
                        }
                    }
                    (set, time, block.filtered(|planes, place| promise.kept_by(planes, place)))
                })
            }
        };
        if let Some(level) = extended {
            let sink = Rc::clone(&cells);
            let names = found
                .clone()
                .flat_map(move |(set, _, block)| (set.level() == level).then(|| (set, block.cells().to_vec())));
            names.broadcast().inspect(move |cells: &Cells| sink.borrow_mut().push(cells.clone())).probe_with(&probe);
        }
        collect(found, |_| 0, Rc::clone(&frequent)).probe_with(&probe);
    });
    while !probe.done() {
        worker.step_or_park(None);
    }
    *record = counted.borrow().clone();
    let frequent = frequent.take().into_iter().map(|(set, _, block)| (set, block)).collect();
    Found { frequent, extended: cells.take(), spread: spread.take() }
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
