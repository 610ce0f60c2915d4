//! What the workers of one process share: their rows, and the passes over them that are still to be done.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::encode::Shard;
use crate::enumerate::{Load, Round, Shape, Workers, held_bytes};
use crate::memory::Size;
use crate::merge::{Nearest, Rounds};

/// The rows of a process's workers and the plans that they work off together. Workers of other processes have their own.
#[derive(Debug)]
pub struct Shared {
    threads: usize,
    memory: Size,
    /// By worker.
    shards: Mutex<BTreeMap<usize, Arc<Shard>>>,
    /// By round.
    plans: Mutex<Vec<Arc<OnceLock<Arc<Plan>>>>>,
    /// A tree that all workers of the process work at.
    tree: RwLock<Option<Rounds>>,
    /// Pieces of its round that have been taken.
    searched: AtomicUsize,
}

/// A round with its passes, and what of them has been taken by a worker.
#[derive(Debug)]
pub struct Plan {
    pub round: Round,
    passes: Vec<Pass>,
    /// Bytes that the largest unit is held in.
    pub largest: u64,
}

/// Tasks whose blocks are in memory together.
#[derive(Debug)]
struct Pass {
    tasks: Vec<Task>,
    next: AtomicUsize,
}

/// A block to be counted over the rows of some of the process's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Place in [`Round::units`].
    pub unit: usize,
    /// Places in [`Shared::shards`].
    pub shards: Range<usize>,
}

/// Tasks a worker under which units are cut by rows: enough that all workers end at about the same time.
const TASKS_PER_WORKER: usize = 4;

impl Shared {
    /// For a process with so many workers and so much memory for all that grows with the table.
    pub fn new(threads: usize, memory: Size) -> Arc<Shared> {
        Arc::new(Shared {
            threads,
            memory,
            shards: Mutex::default(),
            plans: Mutex::default(),
            tree: RwLock::default(),
            searched: AtomicUsize::new(0),
        })
    }

    /// What this process may use.
    pub fn memory(&self) -> Size {
        self.memory
    }

    /// Workers of this process.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Lends a worker's rows to the others.
    pub fn deposit(&self, worker: usize, shard: Arc<Shard>) {
        self.shards.lock().expect("no worker panics with the lock").insert(worker, shard);
    }

    /// The rows of all workers that deposited theirs, in their order.
    pub fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.lock().expect("no worker panics with the lock").values().cloned().collect()
    }

    /// The plan of a round: made by the first worker that asks, the same for all.
    pub fn plan(&self, round: usize, make: impl FnOnce() -> Plan) -> Arc<Plan> {
        let cell = {
            let mut plans = self.plans.lock().expect("no worker panics with the lock");
            if plans.len() <= round {
                plans.resize_with(round + 1, Default::default);
            }
            Arc::clone(&plans[round])
        };
        Arc::clone(cell.get_or_init(|| Arc::new(make())))
    }

    /// Gives the rows back and forgets the plans. Until all workers have done so, none may lend other rows.
    pub fn clear(&self) {
        self.shards.lock().expect("no worker panics with the lock").clear();
        self.plans.lock().expect("no worker panics with the lock").clear();
    }

    /// Puts a tree where all workers of the process find it; gives how many searches it wants.
    pub fn plant(&self, tree: Rounds) -> usize {
        let wanted = tree.wanted();
        *self.tree.write().expect("no worker panics with the lock") = Some(tree);
        self.searched.store(0, Ordering::Relaxed);
        wanted
    }

    /// Does the next `piece` searches of the round that are a process's share of all `processes`; gives the number of the first and what
    /// they found, none if all are taken.
    pub fn search_next(&self, process: usize, processes: usize, piece: usize) -> Option<(usize, Vec<Nearest>)> {
        let tree = self.tree.read().expect("no worker panics with the lock");
        let tree = tree.as_ref()?;
        let from = (self.searched.fetch_add(1, Ordering::Relaxed) * processes + process) * piece;
        (from < tree.wanted()).then(|| (from, tree.search(from..(from + piece).min(tree.wanted()))))
    }

    /// Enters what all searches of the round found, in order; gives how many are wanted next.
    pub fn merge_round(&self, found: Vec<Nearest>) -> usize {
        let mut tree = self.tree.write().expect("no worker panics with the lock");
        let Some(tree) = tree.as_mut() else { return 0 };
        tree.advance(found);
        self.searched.store(0, Ordering::Relaxed);
        tree.wanted()
    }

    /// Takes the tree away.
    pub fn harvest(&self) -> Option<Rounds> {
        self.tree.write().expect("no worker panics with the lock").take()
    }
}

impl Plan {
    /// The passes of a round over the rows of `workers`, each with blocks of at most `bytes`, unless one alone has more.
    pub fn new(round: Round, shape: &Shape, load: &Load, workers: Workers, bytes: u64) -> Plan {
        let held = |unit: usize| {
            held_bytes(round.unit_cells(unit).saturating_mul(load.figures.cell_bytes()), workers.processes)
        };
        let largest = (0..round.units.len()).map(held).max().unwrap_or(0);
        let workers = workers.threads as usize;
        let mut passes: Vec<(u64, Vec<usize>)> = Vec::new();
        for unit in 0..round.units.len() {
            match passes.last_mut() {
                Some((sum, units)) if sum.saturating_add(held(unit)) <= bytes => {
                    *sum += held(unit);
                    units.push(unit);
                }
                _ => passes.push((held(unit), vec![unit])),
            }
        }
        let tasks = |mut units: Vec<usize>| {
            // The dearest first, so that no worker is left with one when the others are done.
            units.sort_by(|&a, &b| round.unit_ns(b, shape, load).total_cmp(&round.unit_ns(a, shape, load)));
            let cuts = (TASKS_PER_WORKER * workers).div_ceil(units.len()).min(workers);
            let cut = |unit: usize| {
                (0..cuts).map(move |i| Task { unit, shards: i * workers / cuts..(i + 1) * workers / cuts })
            };
            Pass { tasks: units.into_iter().flat_map(cut).collect(), next: AtomicUsize::new(0) }
        };
        let passes = passes.into_iter().map(|(_, units)| tasks(units)).collect();
        Plan { round, passes, largest }
    }

    pub fn passes(&self) -> usize {
        self.passes.len()
    }

    /// Tasks of all passes.
    pub fn tasks(&self) -> usize {
        self.passes.iter().map(|pass| pass.tasks.len()).sum()
    }

    /// The next task of a pass, for whoever asks first.
    pub fn take(&self, pass: usize) -> Option<Task> {
        let Pass { tasks, next } = &self.passes[pass];
        tasks.get(next.fetch_add(1, Ordering::Relaxed)).cloned()
    }
}
