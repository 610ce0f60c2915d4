//! Rows into cells: counters as narrow as they can be, and only for what differs from row to row.
//!
//! The rows of a shard lie in runs of one part in which the rates are constant (see [`Shard`]), so that a rate costs nothing
//! but counting its runs apart: `cells[key] += 1` on 32-bit counters is the whole inner loop. Other metrics are added only
//! in the runs where they are not zero, all moments of a cell side by side, so that a row touches one place in memory.

use crate::block::{Figures, Plane, Width};
use crate::encode::{MetricColumn, RUN_RATES, Run, Shard};
use crate::stats::{MetricKind, PARTS};

/// Rows that are counted at a time: their keys and moments stay in the first-level cache.
pub const CHUNK: usize = 2048;

/// One moment that is added row by row.
#[derive(Clone, Copy)]
enum Addend<'a> {
    Bits(&'a [u8]),
    Values(&'a [i64]),
    Product(&'a [i64], &'a [i64]),
}

impl Addend<'_> {
    fn at(self, row: usize) -> i128 {
        match self {
            Addend::Bits(yes) => i128::from(yes[row]),
            Addend::Values(values) => i128::from(values[row]),
            Addend::Product(a, b) => i128::from(a[row]) * i128::from(b[row]),
        }
    }

    /// The same in 64 bits, for a moment that has been found to fit them.
    fn narrow_at(self, row: usize) -> i64 {
        match self {
            Addend::Bits(yes) => i64::from(yes[row]),
            Addend::Values(values) => values[row],
            Addend::Product(a, b) => a[row].wrapping_mul(b[row]),
        }
    }

    /// The largest magnitude in the column.
    fn bound(self) -> u128 {
        let largest = |values: &[i64]| values.iter().map(|v| v.unsigned_abs()).max().map_or(0, u128::from);
        match self {
            Addend::Bits(_) => 1,
            Addend::Values(values) => largest(values),
            Addend::Product(a, b) => largest(a) * largest(b),
        }
    }
}

/// The moments of all metrics, in the order of [`crate::stats::Moments`].
fn addends(shard: &Shard) -> Vec<Addend<'_>> {
    let mut addends = Vec::new();
    for metric in &shard.metrics {
        match metric {
            MetricColumn::Rate(yes) => addends.push(Addend::Bits(yes)),
            MetricColumn::Amount(values) => addends.extend([Addend::Values(values), Addend::Product(values, values)]),
            MetricColumn::Ratio { num, den } => addends.extend([
                Addend::Values(num),
                Addend::Product(num, num),
                Addend::Values(den),
                Addend::Product(den, den),
                Addend::Product(num, den),
            ]),
        }
    }
    addends
}

/// The largest magnitude of each moment among a shard's rows.
pub fn bounds(shard: &Shard) -> Vec<u128> {
    addends(shard).into_iter().map(Addend::bound).collect()
}

/// Where a moment's sum comes from.
#[derive(Clone, Copy)]
enum Source {
    /// The counters of the runs in which this rate is yes.
    Run(usize),
    /// A place among the narrow sums.
    Narrow(usize),
    /// A place among the wide sums.
    Wide(usize),
}

fn sources(figures: &Figures) -> Vec<Source> {
    let (mut rates, mut narrow, mut wide) = (0, 0, 0);
    let mut sources = Vec::with_capacity(figures.sums.len());
    let next = |count: &mut usize| {
        *count += 1;
        *count - 1
    };
    for &kind in figures.moments.kinds() {
        for _ in 0..kind.moments() {
            sources.push(match (kind, figures.sums[sources.len()]) {
                (MetricKind::Rate, _) if rates < RUN_RATES => Source::Run(next(&mut rates)),
                (_, Width::I128) => Source::Wide(next(&mut wide)),
                (_, Width::U32 | Width::I64) => Source::Narrow(next(&mut narrow)),
            });
        }
    }
    sources
}

/// Which rows of a shard are counted at a time.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// As many as there are keys, from this one.
    From(usize),
    /// One for each key.
    These(&'a [u32]),
}

impl Rows<'_> {
    fn each(self, keys: usize, mut each: impl FnMut(usize, usize)) {
        match self {
            Rows::From(start) => (0..keys).for_each(|i| each(i, start + i)),
            Rows::These(rows) => rows.iter().enumerate().for_each(|(i, &row)| each(i, row as usize)),
        }
    }
}

/// A row's cell.
pub trait Key: Copy {
    fn cell(self) -> usize;

    /// Counters to count keys of this kind into, given those of a tally.
    fn count(keys: &[Self], counts: &mut [u32]);
}

impl Key for u16 {
    fn cell(self) -> usize {
        usize::from(self)
    }

    fn count(keys: &[u16], counts: &mut [u32]) {
        // There is a counter for every key there can be, so none is checked.
        let counts: &mut [u32; KEYS] = counts.first_chunk_mut().expect("a tally has a counter for every short key");
        for &key in keys {
            let count = &mut counts[usize::from(key)];
            *count = count.wrapping_add(1);
        }
    }
}

impl Key for u32 {
    fn cell(self) -> usize {
        self as usize
    }

    fn count(keys: &[u32], counts: &mut [u32]) {
        for &key in keys {
            let count = &mut counts[key as usize];
            *count = count.wrapping_add(1);
        }
    }
}

/// Keys of 16 bits.
pub const KEYS: usize = 1 << 16;

/// The counters of one block, kept from block to block so that their memory is asked for once.
pub struct Tally {
    figures: Figures,
    sources: Vec<Source>,
    /// Runs of a part that are counted apart: one for each combination of the rates.
    classes: usize,
    cells: usize,
    /// By part and class, then cell.
    counts: Vec<Vec<u32>>,
    /// By part.
    narrow: [Sums<i64>; PARTS],
    wide: [Sums<i128>; PARTS],
}

impl Tally {
    /// No cells yet, of these figures. The metrics of the shards that are counted are those of the figures, or there are none
    /// in the figures and only customers are counted.
    pub fn new(figures: &Figures) -> Tally {
        let sources = sources(figures);
        let rates = sources.iter().filter(|s| matches!(s, Source::Run(_))).count();
        let narrow = sources.iter().filter(|s| matches!(s, Source::Narrow(_))).count();
        let wide = sources.iter().filter(|s| matches!(s, Source::Wide(_))).count();
        Tally {
            figures: figures.clone(),
            sources,
            classes: 1 << rates,
            cells: 0,
            counts: vec![Vec::new(); PARTS << rates],
            narrow: std::array::from_fn(|_| Sums::new(narrow)),
            wide: std::array::from_fn(|_| Sums::new(wide)),
        }
    }

    /// `cells` cells for keys of 16 bits, all zero.
    pub fn reset_short(&mut self, cells: usize) {
        assert!(cells <= KEYS, "{cells} cells for keys of 16 bits");
        self.reset(cells);
        self.counts.iter_mut().for_each(|counts| counts.resize(KEYS, 0));
    }

    /// `cells` cells, all zero.
    pub fn reset(&mut self, cells: usize) {
        let used = self.cells;
        self.counts.iter_mut().for_each(|counts| counts[..used].fill(0));
        self.narrow.iter_mut().for_each(|sums| sums.cells.clear());
        self.wide.iter_mut().for_each(|sums| sums.cells.clear());
        self.cells = 0;
        self.grow(cells);
    }

    /// More cells, zero too.
    pub fn grow(&mut self, cells: usize) {
        self.cells = self.cells.max(cells);
        for counts in self.counts.iter_mut().filter(|counts| counts.len() < cells) {
            // Slots come a few at a time: growing by half keeps that cheap.
            counts.resize(cells.max(counts.len() + counts.len() / 2), 0);
        }
        self.narrow.iter_mut().for_each(|sums| sums.grow(self.cells));
        self.wide.iter_mut().for_each(|sums| sums.grow(self.cells));
    }

    /// Adds rows of one run to their cells.
    pub fn add<K: Key>(&mut self, addends: &Addends, run: &Run, rows: Rows, keys: &[K]) {
        let class = usize::from(run.yes) & (self.classes - 1);
        K::count(keys, &mut self.counts[run.part * self.classes + class]);
        if !run.zero {
            let of = |wanted: fn(&Source) -> bool| {
                let chosen = self.sources.iter().zip(&addends.0).filter(move |(source, _)| wanted(source));
                chosen.map(|(_, addend)| *addend)
            };
            self.narrow[run.part].add(of(|s| matches!(s, Source::Narrow(_))), rows, keys, Addend::narrow_at);
            self.wide[run.part].add(of(|s| matches!(s, Source::Wide(_))), rows, keys, Addend::at);
        }
    }

    /// The figures of all cells, as a block has them.
    pub fn planes(&self) -> Vec<Plane> {
        let cells = self.cells;
        let counted = |part: usize, wanted: &dyn Fn(usize) -> bool| -> Vec<u32> {
            let classes = &self.counts[part * self.classes..][..self.classes];
            let mut wanted = classes.iter().enumerate().filter(|(class, _)| wanted(*class)).map(|(_, counts)| counts);
            let mut sum = wanted.next().expect("every rate has a class")[..cells].to_vec();
            for counts in wanted {
                sum.iter_mut().zip(&counts[..cells]).for_each(|(a, b)| *a = a.wrapping_add(*b));
            }
            sum
        };
        let mut planes = Vec::with_capacity(PARTS * self.figures.per_part());
        for part in 0..PARTS {
            planes.push(widened(counted(part, &|_| true), self.figures.uv));
            for (&source, &width) in self.sources.iter().zip(&self.figures.sums) {
                planes.push(match source {
                    Source::Run(rate) => widened(counted(part, &|class| class >> rate & 1 == 1), width),
                    Source::Wide(place) => Plane::I128(self.wide[part].column(place)),
                    Source::Narrow(place) => {
                        let column = self.narrow[part].column(place);
                        match width {
                            Width::U32 => Plane::U32(column.into_iter().map(|v| v as u32).collect()),
                            Width::I64 | Width::I128 => Plane::I64(column),
                        }
                    }
                });
            }
        }
        planes
    }
}

fn widened(counts: Vec<u32>, width: Width) -> Plane {
    match width {
        Width::U32 => Plane::U32(counts),
        Width::I64 => Plane::I64(counts.into_iter().map(i64::from).collect()),
        Width::I128 => Plane::I128(counts.into_iter().map(i128::from).collect()),
    }
}

/// The moments of a shard, as columns of numbers to add.
pub struct Addends<'a>(Vec<Addend<'a>>);

impl Addends<'_> {
    pub fn of(shard: &Shard) -> Addends<'_> {
        Addends(addends(shard))
    }
}

/// Sums of one width: those of cell `c` start at `c * moments`.
struct Sums<T> {
    moments: usize,
    cells: Vec<T>,
    /// The moments of the rows at hand, row by row.
    rows: Vec<T>,
}

/// Integers that are added modulo their width.
trait Wrapping: Copy + Default {
    fn plus(self, other: Self) -> Self;
}

impl Wrapping for i64 {
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
}

impl Wrapping for i128 {
    fn plus(self, other: i128) -> i128 {
        self.wrapping_add(other)
    }
}

impl<T: Wrapping> Sums<T> {
    fn new(moments: usize) -> Sums<T> {
        Sums { moments, cells: Vec::new(), rows: Vec::new() }
    }

    fn grow(&mut self, cells: usize) {
        self.cells.resize(cells * self.moments, T::default());
    }

    fn column(&self, moment: usize) -> Vec<T> {
        self.cells.iter().skip(moment).step_by(self.moments).copied().collect()
    }

    fn add<'a, K: Key>(
        &mut self,
        addends: impl Iterator<Item = Addend<'a>>,
        rows: Rows,
        keys: &[K],
        value: impl Fn(Addend<'a>, usize) -> T,
    ) {
        let moments = self.moments;
        if moments == 0 {
            return;
        }
        self.rows.resize(keys.len() * moments, T::default());
        for (place, addend) in addends.enumerate() {
            rows.each(keys.len(), |i, row| self.rows[i * moments + place] = value(addend, row));
        }
        fn add<T: Wrapping, K: Key, const N: usize>(cells: &mut [T], rows: &[T], keys: &[K]) {
            let (cells, _) = cells.as_chunks_mut::<N>();
            let (rows, _) = rows.as_chunks::<N>();
            for (key, row) in keys.iter().zip(rows) {
                let cell = &mut cells[key.cell()];
                cell.iter_mut().zip(row).for_each(|(sum, v)| *sum = sum.plus(*v));
            }
        }
        let (cells, rows) = (&mut self.cells, &self.rows);
        match moments {
            1 => add::<T, K, 1>(cells, rows, keys),
            2 => add::<T, K, 2>(cells, rows, keys),
            3 => add::<T, K, 3>(cells, rows, keys),
            4 => add::<T, K, 4>(cells, rows, keys),
            5 => add::<T, K, 5>(cells, rows, keys),
            6 => add::<T, K, 6>(cells, rows, keys),
            _ => {
                for (key, row) in keys.iter().zip(rows.chunks_exact(moments)) {
                    let cell = &mut cells[key.cell() * moments..][..moments];
                    cell.iter_mut().zip(row).for_each(|(sum, v)| *sum = sum.plus(*v));
                }
            }
        }
    }
}
