//! Amounts cut at quantiles of the discovery part, found exactly over all workers.

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};
use crate::encode::MetricColumn;
use crate::job::{Job, PRIVACY_FLOOR};
use crate::stats::{DISCOVERY, Scale};

/// Between which values an amount was kept, in scaled units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    pub low: i64,
    pub high: i64,
    /// Customers whose value was less, and more.
    pub below: u64,
    pub above: u64,
}

fn floor(job: &Job) -> u64 {
    if job.enumerate.allow_small { 1 } else { PRIVACY_FLOOR }
}

impl Caps {
    /// The two values, each where enough customers are beyond it: else it is nearly that of one of them.
    pub fn told(&self, job: &Job) -> [Option<i64>; 2] {
        [(self.low, self.below), (self.high, self.above)].map(|(value, beyond)| (beyond >= floor(job)).then_some(value))
    }
}

/// Bits of a value that are settled in one pass over the rows.
const DIGIT: u32 = 16;

/// A number of the same order as the value.
fn key(value: i64) -> u64 {
    value as u64 ^ 1 << 63
}

/// Cuts each amount that has shares `[low, high]` at these quantiles (winsorising; Dixon, 1960): the quantile of share q of n values
/// is the ceil(q n)-th smallest, at least the first. None where nothing was asked for, or nobody is in the discovery part.
///
/// The values of the validation part are cut too and decide nothing. Worker 0 adds up one histogram of 16 bits of the values a
/// worker, four times over, so the quantiles are exact and the same however the rows are divided.
pub fn winsorise(
    worker: &mut Worker,
    metrics: &mut [MetricColumn],
    part: &[u8],
    shares: &[Option<[f64; 2]>],
) -> Vec<Option<Caps>> {
    let mut all = Vec::with_capacity(metrics.len());
    for (metric, shares) in metrics.iter_mut().zip(shares) {
        let (MetricColumn::Amount(values), Some(shares)) = (metric, shares) else {
            all.push(None);
            continue;
        };
        let caps = shares.map(|share| quantile(worker, values, part, share));
        let [Some(low), Some(high)] = caps else {
            all.push(None);
            continue;
        };
        let (mut below, mut above) = (0, 0);
        for value in values.iter_mut() {
            below += u64::from(*value < low);
            above += u64::from(*value > high);
            *value = (*value).clamp(low, high);
        }
        let total = gather(worker, [below, above]);
        let total = total.into_iter().fold([0, 0], |[a, b], [below, above]| [a + below, b + above]);
        let [below, above] = broadcast(worker, (worker.index() == 0).then_some(total));
        all.push(Some(Caps { low, high, below, above }));
    }
    all
}

/// Where metrics were cut, in words.
pub fn cut_notes(caps: &[Option<Caps>], scales: &[Scale], job: &Job) -> Vec<String> {
    let secondary = job.secondary.iter().map(|s| (&s.name, s.winsorise));
    let asked = std::iter::once((&job.metric.column, job.metric.winsorise)).chain(secondary);
    let mut notes = Vec::new();
    for ((caps, scale), (name, shares)) in caps.iter().zip(scales).zip(asked) {
        let (Some(caps), Some([from, to])) = (caps, shares) else { continue };
        let floor = floor(job);
        let side = |word: &str, share: f64, value: Option<i64>, customers: u64| match value {
            Some(value) => {
                let value = value as f64 / scale.unit();
                format!(
                    "values {word} {value} (quantile {share} of the discovery part) count as {value}, {customers} customers"
                )
            }
            None if customers == 0 => format!("no value is {word} quantile {share} of the discovery part"),
            // Whose value that is would be nearly told.
            None => format!(
                "values {word} quantile {share} of the discovery part count as that, fewer than {floor} customers"
            ),
        };
        let [low, high] = caps.told(job);
        let mut sides = Vec::new();
        if from > 0.0 {
            sides.push(side("below", from, low, caps.below));
        }
        if to < 1.0 {
            sides.push(side("above", to, high, caps.above));
        }
        notes.push(format!("{name:?} was winsorised: {}.", sides.join("; ")));
    }
    notes
}

fn quantile(worker: &mut Worker, values: &[i64], part: &[u8], share: f64) -> Option<i64> {
    let mut prefix = 0u64;
    // Which of the values that begin with the prefix is sought, from 1.
    let mut rank: Option<u64> = None;
    for shift in (0..u64::BITS).step_by(DIGIT as usize).rev() {
        let mut histogram = vec![0u64; 1 << DIGIT];
        let settled = |key: u64| key.checked_shr(shift + DIGIT).unwrap_or(0);
        for (&value, _) in values.iter().zip(part).filter(|(_, part)| usize::from(**part) == DISCOVERY) {
            let key = key(value);
            if settled(key) == prefix {
                histogram[(key >> shift) as usize & ((1 << DIGIT) - 1)] += 1;
            }
        }
        let all = gather(worker, histogram);
        let found = (worker.index() == 0).then(|| {
            let count = |digit: usize| all.iter().map(|histogram| histogram[digit]).sum::<u64>();
            let n: u64 = (0..1 << DIGIT).map(count).sum();
            // The tolerance keeps 0.9 * 10 from being 9.000000000000002 and the tenth.
            let first = ((share * n as f64 * (1.0 - 1e-14)).ceil().max(1.0) as u64).min(n);
            let mut left = rank.unwrap_or(first);
            (0..1u64 << DIGIT).filter(|_| n > 0).find_map(|digit| {
                let here = count(digit as usize);
                if left <= here {
                    return Some((digit, left));
                }
                left -= here;
                None
            })
        });
        let (digit, left) = broadcast(worker, found)?;
        (prefix, rank) = (prefix << DIGIT | digit, Some(left));
    }
    Some((prefix ^ 1 << 63) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every worker has every `workers`-th row.
    fn cut(rows: &[(i64, u8)], shares: [f64; 2], workers: usize) -> (Vec<i64>, Option<Caps>) {
        let rows = rows.to_vec();
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let own = rows.iter().skip(worker.index()).step_by(worker.peers());
            let (values, part): (Vec<i64>, Vec<u8>) = own.copied().unzip();
            let mut metrics = [MetricColumn::Rate(vec![1; values.len()]), MetricColumn::Amount(values)];
            let caps = winsorise(worker, &mut metrics, &part, &[None, Some(shares)]);
            assert_eq!(caps[0], None);
            let [_, MetricColumn::Amount(values)] = metrics else { unreachable!() };
            (values, caps[1])
        })
        .expect("threads");
        let parts: Vec<(Vec<i64>, Option<Caps>)> = guards.join().into_iter().map(|x| x.expect("no panic")).collect();
        assert!(parts.iter().all(|part| part.1 == parts[0].1), "all workers know the caps");
        let longest = parts[0].0.len();
        let value = |i: usize| parts.iter().filter_map(move |(values, _)| values.get(i).copied());
        ((0..longest).flat_map(value).collect(), parts[0].1)
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        // 1 to 10 in discovery: the 90 % quantile is the 9th. What was held out is cut as well.
        let mut rows: Vec<(i64, u8)> = (1..=10).map(|v| (v, 0)).collect();
        rows.extend([(99, 1), (-5, 1)]);
        let (values, caps) = cut(&rows, [0.0, 0.9], 2);
        assert_eq!(values, [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 1]);
        assert_eq!(caps, Some(Caps { low: 1, high: 9, below: 1, above: 2 }));
        assert_eq!(cut(&[(7, 1)], [0.1, 0.9], 2), (vec![7], None), "nobody to take a quantile of");
        assert_eq!(cut(&[], [0.1, 0.9], 1), (vec![], None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn values_are_cut_as_by_definition(
            rows in prop::collection::vec((prop_oneof![-9i64..9, any::<i64>()], 0u8..2), 0..60),
            low in 0.0..0.6,
            more in 0.0..0.4,
            workers in 1usize..4,
        ) {
            let mut sorted: Vec<i64> = rows.iter().filter(|row| row.1 == 0).map(|row| row.0).collect();
            sorted.sort_unstable();
            let (values, caps) = cut(&rows, [low, low + more], workers);
            let at = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1];
            let expected: Vec<i64> = match sorted.is_empty() {
                true => rows.iter().map(|row| row.0).collect(),
                false => rows.iter().map(|row| row.0.clamp(at(low), at(low + more))).collect(),
            };
            prop_assert_eq!(values, expected);
            prop_assert_eq!(caps.is_none(), sorted.is_empty());
        }
    }
}
