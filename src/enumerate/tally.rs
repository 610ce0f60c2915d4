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

    /// The magnitudes of all rows added up: no sum over any of them is larger.
    fn bound(self) -> u128 {
        match self {
            Addend::Bits(yes) => yes.iter().map(|&yes| u128::from(yes)).sum(),
            Addend::Values(values) => values.iter().map(|v| u128::from(v.unsigned_abs())).sum(),
            Addend::Product(a, b) => {
                let product = |(a, b): (&i64, &i64)| u128::from(a.unsigned_abs()) * u128::from(b.unsigned_abs());
                a.iter().zip(b).map(product).fold(0, u128::saturating_add)
            }
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

/// What no sum of a moment over any of a shard's rows can exceed in magnitude.
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
    /// Bits under the first narrow sum that count the rows which it is added of, instead of `counts`; 0: none.
    packed: u32,
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
            packed: figures.packed,
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
        if run.zero || self.packed == 0 {
            let class = usize::from(run.yes) & (self.classes - 1);
            K::count(keys, &mut self.counts[run.part * self.classes + class]);
        }
        if !run.zero {
            let of = |wanted: fn(&Source) -> bool| {
                let chosen = self.sources.iter().zip(&addends.0).filter(move |(source, _)| wanted(source));
                chosen.map(|(_, addend)| *addend)
            };
            let packed = self.packed;
            let narrow = &mut self.narrow[run.part];
            match (rows, &addends.0[..]) {
                (Rows::From(start), &[Addend::Values(values), _]) if narrow.moments == 2 => {
                    narrow.add_amounts(keys, &values[start..start + keys.len()], packed);
                }
                _ => narrow.add(of(|s| matches!(s, Source::Narrow(_))), rows, keys, |place, addend, row| {
                    let value = addend.narrow_at(row);
                    if place == 0 && packed > 0 { packed_value(value, packed) } else { value }
                }),
            }
            self.wide[run.part].add(of(|s| matches!(s, Source::Wide(_))), rows, keys, |_, addend, row| addend.at(row));
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
            let mut uv = counted(part, &|_| true);
            if self.packed > 0 {
                let packed = self.narrow[part].column(0);
                uv.iter_mut().zip(packed).for_each(|(uv, v)| *uv = uv.wrapping_add(packed_count(v, self.packed)));
            }
            planes.push(widened(uv, self.figures.uv));
            for (&source, &width) in self.sources.iter().zip(&self.figures.sums) {
                planes.push(match source {
                    Source::Run(rate) => widened(counted(part, &|class| class >> rate & 1 == 1), width),
                    Source::Wide(place) => Plane::I128(self.wide[part].column(place)),
                    Source::Narrow(place) => {
                        let mut column = self.narrow[part].column(place);
                        if place == 0 && self.packed > 0 {
                            column.iter_mut().for_each(|v| *v >>= self.packed);
                        }
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

/// A value and the count of one, in one integer: sums of these are sums of both.
fn packed_value(value: i64, bits: u32) -> i64 {
    (value << bits).wrapping_add(1)
}

/// How many packed values a sum is of. What is above the bits is the sum itself, negative too.
fn packed_count(sum: i64, bits: u32) -> u32 {
    (sum & ((1 << bits) - 1)) as u32
}

impl Sums<i64> {
    /// One amount, its values and their squares: by far the most frequent case, so it is spared the detour over `rows`.
    fn add_amounts<K: Key>(&mut self, keys: &[K], values: &[i64], packed: u32) {
        let (cells, _) = self.cells.as_chunks_mut::<2>();
        let add = |cell: &mut [i64; 2], value: i64, first: i64| {
            *cell = [cell[0].wrapping_add(first), cell[1].wrapping_add(value.wrapping_mul(value))];
        };
        if packed > 0 {
            for (key, &value) in keys.iter().zip(values) {
                add(&mut cells[key.cell()], value, packed_value(value, packed));
            }
        } else {
            keys.iter().zip(values).for_each(|(key, &value)| add(&mut cells[key.cell()], value, value));
        }
    }
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
        value: impl Fn(usize, Addend<'a>, usize) -> T,
    ) {
        let moments = self.moments;
        if moments == 0 {
            return;
        }
        self.rows.resize(keys.len() * moments, T::default());
        for (place, addend) in addends.enumerate() {
            rows.each(keys.len(), |i, row| self.rows[i * moments + place] = value(place, addend, row));
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
