//! Parquet's hybrid of runs and packed bits, to bytes.
//!
//! Levels and the places in a dictionary are held so (`RLE` in Parquet's list of encodings): runs, each headed by a
//! number whose lowest bit says whether one value is repeated or groups of eight follow in `width` bits each.

use arrow::buffer::Buffer;

/// A reader of one such sequence. What is damaged ends it early or is an error, and never panics.
pub(super) struct Hybrid {
    data: Buffer,
    /// Of the next byte to read.
    at: usize,
    width: u32,
    run: Run,
}

/// What is left of the current run.
#[derive(Clone, Copy)]
pub(super) enum Run {
    Repeated {
        value: u8,
        left: usize,
    },
    /// Values are in groups of eight from byte `from`; `done` of them have been read.
    Packed {
        from: usize,
        done: usize,
        left: usize,
    },
}

/// Moves eight values of up to 8 bits, packed from the lowest bit, to a byte each: first four to the upper half, then
/// two of each half, then one of each pair.
struct Spread {
    /// Masks of what stays and of what moves, with how far.
    steps: [(u64, u64, u32); 3],
}

impl Spread {
    fn new(width: u32) -> Spread {
        let step = |values: u32, lane: u32| {
            let stays = (0..64 / lane).fold(0u64, |mask, nth| mask | low_bits(values * width) << (nth * lane));
            let by = values * (8 - width);
            // Before the step, a lane holds its values and behind them those that move to the next one.
            let moves = (0..64 / (2 * lane))
                .fold(0u64, |mask, nth| mask | low_bits(values * width) << (nth * 2 * lane + values * width));
            (stays & even_lanes(lane), moves, by)
        };
        Spread { steps: [step(4, 32), step(2, 16), step(1, 8)] }
    }

    #[inline]
    fn bytes(&self, packed: u64) -> u64 {
        self.steps.iter().fold(packed, |x, &(stays, moves, by)| (x & stays) | ((x & moves) << by))
    }
}

fn low_bits(bits: u32) -> u64 {
    1u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1)
}

/// All ones in every other lane, the first included.
fn even_lanes(lane: u32) -> u64 {
    (0..64 / (2 * lane)).fold(0u64, |mask, nth| mask | low_bits(lane) << (nth * 2 * lane))
}

impl Hybrid {
    /// Of values of up to 8 bits.
    pub(super) fn new(data: Buffer, width: u32) -> Hybrid {
        assert!(width <= 8, "{width} bits are more than a byte");
        Hybrid { data, at: 0, width, run: Run::Repeated { value: 0, left: 0 } }
    }

    /// The run that the next value is in.
    pub(super) fn run(&mut self) -> Result<Run, String> {
        while let Run::Repeated { left: 0, .. } | Run::Packed { left: 0, .. } = self.run {
            let header = self.varint()?;
            let count = usize::try_from(header >> 1).map_err(|error| error.to_string())?;
            if header & 1 == 1 {
                let bytes = count.checked_mul(self.width as usize).filter(|bytes| *bytes <= self.data.len() - self.at);
                // The last run may be cut where its values end.
                let bytes = bytes.unwrap_or(self.data.len() - self.at);
                let left = match self.width {
                    0 => count.checked_mul(8).ok_or("a run of too many values")?,
                    width => (bytes * 8 / width as usize).min(count.saturating_mul(8)),
                };
                if left == 0 && count > 0 {
                    return Err("the page ends within its values".into());
                }
                self.run = Run::Packed { from: self.at, done: 0, left };
                self.at += bytes;
            } else {
                let value = match self.width {
                    0 => 0,
                    _ => *self.data.get(self.at).ok_or("the page ends within its values")?,
                };
                self.run = Run::Repeated { value, left: count };
                self.at += usize::from(self.width > 0);
            }
        }
        Ok(self.run)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = *self.data.get(self.at).ok_or("the page ends before its values do")?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a run of too many values".into())
    }

    /// Passes over values of the current run.
    pub(super) fn advance(&mut self, values: usize) {
        match &mut self.run {
            Run::Repeated { left, .. } => *left -= values,
            Run::Packed { done, left, .. } => {
                *done += values;
                *left -= values;
            }
        }
    }

    pub(super) fn skip(&mut self, mut values: usize) -> Result<(), String> {
        while values > 0 {
            let (Run::Repeated { left, .. } | Run::Packed { left, .. }) = self.run()?;
            let part = left.min(values);
            self.advance(part);
            values -= part;
        }
        Ok(())
    }

    /// The bytes of a packed run from where it begins.
    pub(super) fn packed(&self, from: usize) -> &[u8] {
        &self.data[from..]
    }

    /// Appends the next values.
    pub(super) fn read(&mut self, mut values: usize, keys: &mut Vec<u8>) -> Result<(), String> {
        while values > 0 {
            let part = match self.run()? {
                Run::Repeated { value, left } => {
                    let part = left.min(values);
                    keys.resize(keys.len() + part, value);
                    part
                }
                Run::Packed { from, done, left } => {
                    let part = left.min(values);
                    let groups = if done % 8 == 0 { self.groups(from, done / 8, part / 8, keys) } else { 0 };
                    match groups {
                        0 => {
                            // Up to the next whole group.
                            let part = part.min(8 - done % 8);
                            (done..done + part).for_each(|nth| keys.push(self.value(from, nth)));
                            part
                        }
                        groups => 8 * groups,
                    }
                }
            };
            self.advance(part);
            values -= part;
        }
        Ok(())
    }

    /// Appends whole groups of eight. Gives how many: eight bytes are read for each, so those at the end of a page are
    /// left to be read one by one.
    fn groups(&self, from: usize, first: usize, groups: usize, keys: &mut Vec<u8>) -> usize {
        let width = self.width as usize;
        let data = &self.data[from + first * width..];
        let groups = groups.min(data.len().saturating_sub(8) / width.max(1));
        let start = keys.len();
        keys.resize(start + 8 * groups, 0);
        let (eights, _) = keys[start..].as_chunks_mut::<8>();
        let spread = Spread::new(self.width);
        for (nth, eight) in eights.iter_mut().enumerate() {
            let packed = data[nth * width..][..8].try_into().expect("a slice of eight bytes");
            *eight = spread.bytes(u64::from_le_bytes(packed)).to_le_bytes();
        }
        groups
    }

    fn value(&self, from: usize, nth: usize) -> u8 {
        let bit = nth * self.width as usize;
        let byte = |at: usize| self.data.get(at).map_or(0, |&byte| u16::from(byte));
        let at = from + bit / 8;
        ((byte(at) | byte(at + 1) << 8) >> (bit % 8) & low_bits(self.width) as u16) as u8
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs as the format describes them: the same value repeated, or groups of eight in packed bits.
    fn encoded(runs: &[(bool, Vec<u8>)], width: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        let varint = |mut n: u64, bytes: &mut Vec<u8>| loop {
            let more = n > 0x7f;
            bytes.push((n & 0x7f) as u8 | if more { 0x80 } else { 0 });
            n >>= 7;
            if !more {
                break;
            }
        };
        for (packed, run) in runs {
            let run: Vec<u8> = run.iter().map(|value| value & low_bits(width) as u8).collect();
            if *packed {
                let groups = run.len() / 8;
                varint((groups as u64) << 1 | 1, &mut bytes);
                let mut bits = vec![0u8; groups * width as usize];
                for (nth, value) in run[..8 * groups].iter().enumerate() {
                    for bit in (0..width as usize).filter(|bit| value >> bit & 1 == 1) {
                        let at = nth * width as usize + bit;
                        bits[at / 8] |= 1 << (at % 8);
                    }
                }
                bytes.extend(bits);
                values.extend_from_slice(&run[..8 * groups]);
            } else if let Some(value) = run.first() {
                varint((run.len() as u64) << 1, &mut bytes);
                bytes.extend((width > 0).then_some(*value));
                values.extend(run.iter().map(|_| *value));
            }
        }
        (bytes, values)
    }

    fn read(bytes: &[u8], width: u32, parts: &[usize], values: usize) -> Result<Vec<u8>, String> {
        let mut hybrid = Hybrid::new(Buffer::from(bytes), width);
        let (mut keys, mut parts) = (Vec::new(), parts.iter().cycle());
        while keys.len() < values {
            let part = (*parts.next().expect("it goes on")).min(values - keys.len());
            hybrid.read(part, &mut keys)?;
        }
        Ok(keys)
    }

    proptest! {
        #[test]
        fn values_are_those_that_were_encoded_however_they_are_asked_for(
            runs in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..8),
            parts in proptest::collection::vec(1usize..100, 1..4),
            width in 0u32..=8,
            skipped in 0usize..300,
        ) {
            let (bytes, values) = encoded(&runs, width);
            prop_assert_eq!(&read(&bytes, width, &parts, values.len()).expect("all are there"), &values);
            let skipped = skipped.min(values.len());
            let mut hybrid = Hybrid::new(Buffer::from(bytes), width);
            let mut keys = Vec::new();
            hybrid.skip(skipped).expect("all are there");
            hybrid.read(values.len() - skipped, &mut keys).expect("all are there");
            prop_assert_eq!(keys, &values[skipped..]);
        }

        #[test]
        fn damaged_bytes_end_in_an_error_and_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..60), width in 0u32..=8,
        ) {
            let _ = read(&bytes, width, &[7, 1000], 5000);
        }
    }
}
