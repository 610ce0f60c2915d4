//! Which features are worth combining, and why others are not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::encode::Codebook;
use crate::job::ScreenSpec;
use crate::segment::FeatureSet;
use crate::stats::{MetricKind, Stats};

/// What screening says of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub feature: String,
    pub column: String,
    /// Distinct values seen, missing not counted; a lower bound when there were too many to hold.
    pub distinct: u64,
    /// Items it has, `rest` not counted.
    pub items: u64,
    /// Share of customers without a value.
    pub null_share: f64,
    /// Share of customers whose value was too rare to be an item.
    pub rest_share: f64,
    /// Shannon entropy of the items, bits; of tags the mean over them of that of having a tag or not.
    pub entropy: f64,
    /// Entropy of the items, of tags of all mentions, over the logarithm of the number of items: 1 when all are equally frequent.
    pub evenness: f64,
    /// What it says about the metric: information value for a rate (nats), share of variance between the items
    /// (correlation ratio, eta squared) for an amount or a ratio. Of tags, the most that having one of them or not says.
    pub influence: f64,
    pub kept: bool,
    /// One clause for people: why it was kept or not.
    pub reason: String,
}

/// What screening knows of one encoded feature, from the discovery part: the validation part must not choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The metric's sums by code, `rest` last.
    pub stats: Vec<Stats>,
    /// Over all customers.
    pub total: Stats,
    /// Customers without a value, of the whole base.
    pub nulls: u64,
    pub distinct: u64,
}

/// Judges every encoded feature, in table order.
///
/// `pairs` holds, for two features, the customers of each combination of codes, the second one's code fastest; pairs that
/// are absent are taken to have nothing to do with each other.
pub fn screen(
    spec: &ScreenSpec,
    codebook: &Codebook,
    candidates: &[Candidate],
    kind: MetricKind,
    customers: u64,
    pairs: &BTreeMap<FeatureSet, Vec<i64>>,
) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = codebook
        .features
        .iter()
        .zip(candidates)
        .map(|(feature, candidate)| {
            let uv: Vec<i64> = feature.uv.iter().map(|&uv| uv as i64).collect();
            let rest = if feature.rest { feature.uv[feature.items.len()] } else { 0 };
            let mentions = entropy(&uv);
            let tags = feature.tags.is_some();
            let entropy = if tags { mean_entropy(&uv, customers) } else { mentions };
            let share = |count: u64| count as f64 / customers.max(1) as f64;
            let mut verdict = Verdict {
                feature: feature.name.clone(),
                column: feature.column.clone(),
                distinct: candidate.distinct,
                items: feature.items.len() as u64,
                null_share: share(candidate.nulls),
                rest_share: share(rest),
                entropy,
                evenness: if uv.len() > 1 { mentions / (uv.len() as f64).log2() } else { 0.0 },
                influence: match tags {
                    true => best_influence(kind, &candidate.stats, candidate.total),
                    false => influence(kind, &candidate.stats),
                },
                kept: true,
                reason: if tags { "kept; a customer has a set of them".into() } else { "kept".into() },
            };
            let objection = if feature.items.is_empty() {
                Some("no value is frequent enough to be an item".into())
            } else if spec.off || tags {
                // Most customers may have no tag, and each tag may be rare, and some tags still make a niche.
                None
            } else if verdict.null_share > spec.max_null_share {
                Some(format!("{:.1} % without a value (screen.max_null_share)", 100.0 * verdict.null_share))
            } else if verdict.rest_share > spec.max_rest_share {
                Some(format!(
                    "{:.1} % have a rare value, like an identifier (screen.max_rest_share)",
                    100.0 * verdict.rest_share
                ))
            } else if verdict.entropy < spec.min_entropy {
                Some("says nearly the same of everybody (screen.min_entropy)".into())
            } else {
                None
            };
            if let Some(reason) = objection {
                verdict.kept = false;
                verdict.reason = reason;
            }
            verdict
        })
        .collect();
    if spec.off {
        return verdicts;
    }
    // The most influential first; an alias has no more influence than what decides it, so that one is judged before it.
    let mut order: Vec<usize> = (0..verdicts.len()).filter(|&i| verdicts[i].kept).collect();
    order.sort_by(|&a, &b| {
        let key = |i: usize| (verdicts[i].influence, verdicts[i].entropy);
        key(b).0.total_cmp(&key(a).0).then(key(b).1.total_cmp(&key(a).1)).then(a.cmp(&b))
    });
    let mut kept: Vec<usize> = Vec::new();
    for i in order {
        let alias = kept.iter().find_map(|&k| {
            let explained = redundancy(pairs, k, i, &codebook.features[i].uv)?;
            (explained >= spec.max_redundancy).then_some((k, explained))
        });
        if let Some((k, explained)) = alias {
            verdicts[i].kept = false;
            let by = &verdicts[k].feature.clone();
            verdicts[i].reason =
                format!("{:.1} % of it follows from {by} (screen.max_redundancy)", 100.0 * explained.min(1.0));
        } else if kept.len() == spec.max_features {
            verdicts[i].kept = false;
            verdicts[i].reason = "less influence than the features kept (screen.max_features)".into();
        } else {
            kept.push(i);
        }
    }
    verdicts
}

/// Shannon entropy of counts, in bits.
fn entropy(counts: &[i64]) -> f64 {
    let total: i64 = counts.iter().sum();
    let bits = |&count: &i64| {
        let p = count as f64 / total as f64;
        -p * p.log2()
    };
    counts.iter().filter(|&&count| count > 0).map(bits).sum::<f64>().max(0.0)
}

/// The mean entropy, in bits, of having an item or not.
fn mean_entropy(uv: &[i64], customers: u64) -> f64 {
    let of = |&uv: &i64| entropy(&[uv, customers as i64 - uv]);
    uv.iter().map(of).sum::<f64>() / uv.len().max(1) as f64
}

/// The share of the entropy of feature `i` that feature `by` explains: mutual information over entropy, 0 to 1
/// (the uncertainty coefficient, Theil 1970).
fn redundancy(pairs: &BTreeMap<FeatureSet, Vec<i64>>, by: usize, i: usize, uv: &[u64]) -> Option<f64> {
    let (first, second) = (by.min(i), by.max(i));
    let cells = pairs.get(&FeatureSet::new(&[first as u16, second as u16]))?;
    let uv: Vec<i64> = uv.iter().map(|&uv| uv as i64).collect();
    let own = entropy(&uv);
    if own == 0.0 {
        return None;
    }
    let inner = if i == second { uv.len() } else { cells.len() / uv.len() };
    let mut other = vec![0i64; cells.len() / uv.len()];
    for (at, count) in cells.iter().enumerate() {
        other[if i == second { at / inner } else { at % inner }] += count;
    }
    Some((own + entropy(&other) - entropy(cells)) / own)
}

/// How much a feature says about the metric. A rate: information value, the sum over codes of (share of the yes - share of the
/// no) * ln of their ratio (Siddiqi, 2006), half a customer added to each cell. An amount or ratio: the share of the
/// customers' variance that lies between the codes (correlation ratio, Pearson 1905); of a ratio, that of the numerator.
fn influence(kind: MetricKind, stats: &[Stats]) -> f64 {
    let total: Stats = stats.iter().copied().sum();
    let occupied = stats.iter().filter(|s| s.uv > 0);
    match kind {
        MetricKind::Rate => {
            let (yes, no) = (total.sum as f64, total.uv as f64 - total.sum as f64);
            if yes == 0.0 || no == 0.0 {
                return 0.0;
            }
            let codes = occupied.clone().count() as f64;
            let value = occupied.map(|s| {
                let p = (s.sum as f64 + 0.5) / (yes + 0.5 * codes);
                let q = (s.uv as f64 - s.sum as f64 + 0.5) / (no + 0.5 * codes);
                (p - q) * (p / q).ln()
            });
            value.sum()
        }
        MetricKind::Amount | MetricKind::Ratio => {
            let mean = total.sum as f64 / total.uv.max(1) as f64;
            let spread = total.sq as f64 - total.sum as f64 * mean;
            if spread <= 0.0 {
                return 0.0;
            }
            let between = occupied.map(|s| {
                let own = s.sum as f64 / s.uv as f64;
                s.uv as f64 * (own - mean) * (own - mean)
            });
            (between.sum::<f64>() / spread).clamp(0.0, 1.0)
        }
    }
}

/// The influence of the item that has most, as a feature of its own: those who have it against all others.
fn best_influence(kind: MetricKind, stats: &[Stats], total: Stats) -> f64 {
    stats.iter().map(|&own| influence(kind, &[own, total - own])).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Feature, ItemValue, TagSource};

    fn feature(name: &str, uv: &[u64]) -> Feature {
        Feature {
            name: name.into(),
            column: name.into(),
            items: (0..uv.len() as i64).map(ItemValue::Int).collect(),
            uv: uv.to_vec(),
            ..Feature::default()
        }
    }

    fn stats(cells: &[(i64, i128)]) -> Vec<Stats> {
        cells.iter().map(|&(uv, sum)| Stats { uv, sum, sq: sum, ..Stats::default() }).collect()
    }

    #[test]
    fn an_alias_and_a_constant_are_left_out_with_the_reason() {
        let codebook = Codebook {
            features: vec![
                feature("city", &[50, 30, 20]),
                feature("region", &[50, 50]),
                feature("same", &[100]),
                feature("coin", &[50, 50]),
            ],
        };
        let candidate = |cells: &[(i64, i128)]| Candidate {
            stats: stats(cells),
            total: stats(cells).into_iter().sum(),
            nulls: 0,
            distinct: cells.len() as u64,
        };
        let candidates = [
            candidate(&[(50, 5), (30, 15), (20, 12)]),
            candidate(&[(50, 5), (50, 27)]),
            candidate(&[(100, 32)]),
            candidate(&[(50, 16), (50, 16)]),
        ];
        // Region follows from city: cells (0,0), (1,1), (2,1). Coin is independent of both.
        let pairs = BTreeMap::from([
            (FeatureSet::new(&[0, 1]), vec![50, 0, 0, 30, 0, 20]),
            (FeatureSet::new(&[0, 3]), vec![25, 25, 15, 15, 10, 10]),
            (FeatureSet::new(&[1, 3]), vec![25, 25, 25, 25]),
        ]);
        let judge = |spec: &ScreenSpec| screen(spec, &codebook, &candidates, MetricKind::Rate, 100, &pairs);
        let verdicts = judge(&ScreenSpec::default());
        assert_eq!(verdicts.iter().map(|v| v.kept).collect::<Vec<_>>(), [true, false, false, true]);
        assert!(verdicts[1].reason.contains("follows from city"), "{}", verdicts[1].reason);
        assert!(verdicts[2].reason.contains("min_entropy"), "{}", verdicts[2].reason);
        assert!(judge(&ScreenSpec { off: true, ..ScreenSpec::default() }).iter().all(|v| v.kept));
        let few = judge(&ScreenSpec { max_features: 1, ..ScreenSpec::default() });
        assert_eq!(few.iter().map(|v| v.kept).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn tags_are_judged_one_by_one_and_kept_if_any_is_frequent() {
        // 1000 customers, 500 with the first tag and 100 with the second, who may have both; 900 have the only tag of `few`, and
        // all but 5 customers have none of `none`, which is no item.
        let mut codebook =
            Codebook { features: vec![feature("two", &[500, 100]), feature("few", &[900]), feature("none", &[])] };
        codebook.features.iter_mut().for_each(|f| f.tags = Some(TagSource::List));
        let candidate = |cells: &[(i64, i128)], nulls| Candidate {
            stats: stats(cells),
            total: stats(&[(1000, 200)])[0],
            nulls,
            distinct: cells.len() as u64,
        };
        let candidates = [candidate(&[(500, 100), (100, 80)], 450), candidate(&[(900, 180)], 100), candidate(&[], 995)];
        let spec = ScreenSpec { min_entropy: 0.9, max_null_share: 0.2, ..ScreenSpec::default() };
        let verdicts = screen(&spec, &codebook, &candidates, MetricKind::Rate, 1000, &BTreeMap::new());
        assert_eq!(verdicts.iter().map(|v| v.kept).collect::<Vec<_>>(), [true, true, false]);
        // (1 + 0.468996) / 2 bits; of 600 mentions five sixths.
        assert!((verdicts[0].entropy - 0.734498).abs() < 1e-6, "{}", verdicts[0].entropy);
        assert!((verdicts[0].evenness - 0.650022).abs() < 1e-6, "{}", verdicts[0].evenness);
        let second = influence(MetricKind::Rate, &stats(&[(100, 80), (900, 120)]));
        assert_eq!(verdicts[0].influence, second, "the first tag says nothing");
        assert_eq!((verdicts[0].null_share, verdicts[2].null_share), (0.45, 0.995));
    }

    #[test]
    fn influence_is_what_the_formulas_say() {
        // IV of two codes with 10 of 50 and 40 of 50 yes: shares (10.5, 40.5)/51 of the yes, (40.5, 10.5)/51 of the no.
        let (p, q) = (10.5 / 51.0, 40.5 / 51.0f64);
        let expected = 2.0 * (p - q) * (p / q).ln();
        assert!((influence(MetricKind::Rate, &stats(&[(50, 10), (50, 40)])) - expected).abs() < 1e-12);
        // Amounts 0, 0 | 2, 2: all variance lies between the codes; 0, 2 | 0, 2: none.
        let amount = |sum, sq| Stats { uv: 2, sum, sq, ..Stats::default() };
        assert_eq!(influence(MetricKind::Amount, &[amount(0, 0), amount(4, 8)]), 1.0);
        assert_eq!(influence(MetricKind::Amount, &[amount(2, 4), amount(2, 4)]), 0.0);
    }
}
