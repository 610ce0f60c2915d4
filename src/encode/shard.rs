//! The rows of one worker as columns of small integers.

use super::tags::{TagCodes, TagLoad};
use crate::audience::CustomerIds;
use crate::segment::Item;
use crate::stats::{MetricKind, Moments};

/// One worker's customers, coded. Rows stay here from encoding to assignment.
#[derive(Clone, Debug)]
pub struct Shard {
    /// One column a combined feature, in table order.
    pub features: Vec<Codes>,
    /// 0 for the discovery part, 1 for the validation part.
    pub part: Vec<u8>,
    /// The primary metric, then the secondary ones.
    pub metrics: Vec<MetricColumn>,
    pub ids: CustomerIds,
}

impl Shard {
    pub fn rows(&self) -> usize {
        self.part.len()
    }

    pub fn moments(&self) -> Moments {
        Moments::of(&self.metrics.iter().map(MetricColumn::kind).collect::<Vec<_>>())
    }

    /// Which of `len` rows from `start` have each of these sorted items, one bit a row.
    pub fn bitmaps(&self, items: &[Item], start: usize, len: usize) -> Vec<Vec<u64>> {
        let by_feature = items.chunk_by(|a, b| a.feature == b.feature);
        by_feature
            .flat_map(|items| match &self.features[usize::from(items[0].feature)] {
                Codes::Tags(tags) => tags.bitmaps(&items.iter().map(|i| i.code).collect::<Vec<_>>(), start, len),
                Codes::U8(_) | Codes::U16(_) => items.iter().map(|&item| self.bitmap(item, start, len)).collect(),
            })
            .collect()
    }

    fn bitmap(&self, item: Item, start: usize, len: usize) -> Vec<u64> {
        fn bits<T: Copy + PartialEq>(codes: &[T], code: T) -> Vec<u64> {
            let word = |codes: &[T]| codes.iter().enumerate().fold(0, |word, (i, &c)| word | u64::from(c == code) << i);
            codes.chunks(64).map(word).collect()
        }
        match &self.features[usize::from(item.feature)] {
            // A code that does not fit the width occurs nowhere.
            Codes::U8(codes) => match u8::try_from(item.code) {
                Ok(code) => bits(&codes[start..start + len], code),
                Err(_) => vec![0; len.div_ceil(64)],
            },
            Codes::U16(codes) => bits(&codes[start..start + len], item.code),
            Codes::Tags(_) => unreachable!("all items of a set of tags are looked up at once"),
        }
    }

    /// A feature each: the combinations of up to `most` tags that customers have, of one that has no tags none.
    pub fn tag_loads(&self, most: usize) -> Vec<TagLoad> {
        let load = |codes: &Codes| match codes {
            Codes::Tags(tags) => tags.load(most),
            Codes::U8(_) | Codes::U16(_) => TagLoad::default(),
        };
        self.features.iter().map(load).collect()
    }

    /// Bytes held, ids not counted.
    pub fn bytes(&self) -> u64 {
        let features: usize = self.features.iter().map(Codes::bytes).sum();
        let metrics: usize = self.metrics.iter().map(MetricColumn::bytes).sum();
        (features + metrics + self.part.len()) as u64
    }
}

/// Item codes of one feature: one a row, as narrow as they fit, or a set a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codes {
    U8(Vec<u8>),
    U16(Vec<u16>),
    Tags(TagCodes),
}

impl Codes {
    /// Codes below `cardinality`, one a row, with room for `rows`.
    pub fn with_capacity(cardinality: usize, rows: usize) -> Codes {
        if cardinality <= 1 << 8 { Codes::U8(Vec::with_capacity(rows)) } else { Codes::U16(Vec::with_capacity(rows)) }
    }

    pub fn push(&mut self, code: u16) {
        match self {
            Codes::U8(codes) => codes.push(u8::try_from(code).expect("the cardinality chose the width")),
            Codes::U16(codes) => codes.push(code),
            Codes::Tags(_) => unreachable!("a set is not one code"),
        }
    }

    /// The code of a row, of a feature that has one a row.
    pub fn at(&self, row: usize) -> u16 {
        match self {
            Codes::U8(codes) => u16::from(codes[row]),
            Codes::U16(codes) => codes[row],
            Codes::Tags(_) => unreachable!("a set is not one code"),
        }
    }

    /// Adds a row to the counts of its codes.
    pub fn count(&self, row: usize, counts: &mut [i64]) {
        match self {
            Codes::U8(codes) => counts[usize::from(codes[row])] += 1,
            Codes::U16(codes) => counts[usize::from(codes[row])] += 1,
            Codes::Tags(tags) => tags.row(row).iter().for_each(|&tag| counts[usize::from(tag)] += 1),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Codes::U8(codes) => codes.len(),
            Codes::U16(codes) => codes.len(),
            Codes::Tags(tags) => tags.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> usize {
        match self {
            Codes::U8(codes) => codes.len(),
            Codes::U16(codes) => 2 * codes.len(),
            Codes::Tags(tags) => tags.bytes(),
        }
    }
}

/// One metric, a value a customer, in scaled units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricColumn {
    /// 0 or 1.
    Rate(Vec<u8>),
    Amount(Vec<i64>),
    Ratio {
        num: Vec<i64>,
        den: Vec<i64>,
    },
}

impl MetricColumn {
    pub fn kind(&self) -> MetricKind {
        match self {
            MetricColumn::Rate(_) => MetricKind::Rate,
            MetricColumn::Amount(_) => MetricKind::Amount,
            MetricColumn::Ratio { .. } => MetricKind::Ratio,
        }
    }

    /// The moments of one customer, in the order of [`Moments`].
    pub fn moments_at(&self, row: usize, mut each: impl FnMut(i128)) {
        match self {
            MetricColumn::Rate(yes) => each(i128::from(yes[row])),
            MetricColumn::Amount(values) => {
                let v = i128::from(values[row]);
                each(v);
                each(v * v);
            }
            MetricColumn::Ratio { num, den } => {
                let (n, d) = (i128::from(num[row]), i128::from(den[row]));
                for moment in [n, n * n, d, d * d, n * d] {
                    each(moment);
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            MetricColumn::Rate(yes) => yes.len(),
            MetricColumn::Amount(values) => 8 * values.len(),
            MetricColumn::Ratio { num, den } => 8 * (num.len() + den.len()),
        }
    }
}
