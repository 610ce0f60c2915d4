//! What a group of cells is in short: a few conditions that say most of it.

use std::collections::HashMap;

use super::ShortRule;
use super::rule::{AS_GOOD, harmonic};
use crate::encode::Codebook;
use crate::segment::{Item, Segment};

/// Items a condition of a short rule has at the most.
const MOST_ITEMS: usize = 3;
/// Conditions a short rule has at the most.
const MOST_CONDITIONS: usize = 8;
/// Conditions that are looked at closely, of each way to judge one alone.
const PROMISING: usize = 48;
/// Precisions that the conditions of a rule are asked for, one after the other; 0 for those that make the whole rule best.
///
/// A broad condition makes the first step best and cannot be taken back, a precise one says too little alone.
const LEAST_PRECISION: [f64; 5] = [0.0, 0.3, 0.6, 0.8, 0.95];

/// For each group of cells a few conditions, any of which selects a customer, that say most of it: of several rules, each grown condition by
/// condition and rid of those that it can do without, the shortest one whose harmonic mean of precision and recall is nearly the largest.
///
/// A condition is a combination of up to three items that at least `least` customers have. `cells` have a segment, customers and the
/// group, numbered from 0.
pub fn cell_rules(codebook: &Codebook, cells: &[(Segment, i64, usize)], groups: usize, least: i64) -> Vec<ShortRule> {
    let mut uv = vec![0i64; groups];
    let mut counts: HashMap<Segment, Vec<i64>> = HashMap::new();
    for &(cell, customers, group) in cells {
        uv[group] += customers;
        for_each_part(cell, |part| {
            if part.items().all(|item| codebook.feature(item.feature).is_item(item.code)) {
                counts.entry(part).or_insert_with(|| vec![0; groups])[group] += customers;
            }
        });
    }
    let mut counts: Vec<(Segment, i64, Vec<i64>)> = counts
        .into_iter()
        .map(|(part, by_group)| (part, by_group.iter().sum(), by_group))
        .filter(|(_, customers, _)| *customers >= least)
        .collect();
    counts.sort_unstable_by_key(|(part, ..)| *part);
    (0..groups).map(|group| Chosen::among(group, uv[group], cells, &counts).rule()).collect()
}

/// The conditions that a rule for a group is made of.
struct Chosen {
    /// Customers of the group.
    uv: i64,
    /// Of each cell its customers, and those of the group.
    cells: Vec<[i64; 2]>,
    conditions: Vec<(Segment, Covered)>,
}

/// Cells by number, one bit each.
type Covered = Vec<u64>;

impl Chosen {
    /// The conditions that are promising by what they are alone: as a whole rule, or as a precise part of one.
    fn among(group: usize, uv: i64, cells: &[(Segment, i64, usize)], counts: &[(Segment, i64, Vec<i64>)]) -> Chosen {
        let best = |score: &dyn Fn(i64, i64) -> f64| {
            let mut all: Vec<(f64, Segment)> =
                counts.iter().map(|(part, selected, own)| (score(*selected, own[group]), *part)).collect();
            all.retain(|(score, _)| *score > 0.0);
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            all.truncate(PROMISING);
            all
        };
        let share = |selected: i64, own: i64| own as f64 / selected as f64;
        let whole = best(&|selected, own| harmonic(selected, own, uv));
        let precise = best(&|selected, own| share(selected, own) * (own as f64).sqrt());
        let pure = best(&|selected, own| if share(selected, own) < 0.8 { 0.0 } else { own as f64 });
        let mut conditions: Vec<Segment> = [whole, precise, pure].into_iter().flatten().map(|(_, part)| part).collect();
        conditions.sort_unstable_by_key(|condition| (condition.level(), *condition));
        conditions.dedup();
        let covered = |condition: Segment| {
            let mut bits = vec![0u64; cells.len().div_ceil(64)];
            for (at, (cell, ..)) in cells.iter().enumerate() {
                bits[at / 64] |= u64::from(cell.contains(condition)) << (at % 64);
            }
            (condition, bits)
        };
        Chosen {
            uv,
            cells: cells
                .iter()
                .map(|&(_, customers, of)| [customers, if of == group { customers } else { 0 }])
                .collect(),
            conditions: conditions.into_iter().map(covered).collect(),
        }
    }

    fn rule(&self) -> ShortRule {
        let mut rules: Vec<(f64, Vec<usize>)> = (LEAST_PRECISION.iter())
            .map(|&least| {
                let mut rule = self.grown(least);
                self.prune(&mut rule);
                (self.value(&rule), rule)
            })
            .collect();
        // The shortest first, of equally short ones the best.
        rules.sort_by(|(a, short), (b, long)| short.len().cmp(&long.len()).then(b.total_cmp(a)));
        let most = rules.iter().map(|(value, _)| *value).fold(0.0, f64::max);
        let best = rules.into_iter().find(|(value, _)| *value >= most - AS_GOOD).unwrap_or_default();
        let [selected, own] = self.sums(&self.union(&best.1));
        let share = |part: i64, of: i64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        ShortRule {
            segments: best.1.iter().map(|&at| self.conditions[at].0).collect(),
            uv: selected,
            precision: share(own, selected),
            recall: share(own, self.uv),
        }
    }

    /// Conditions one by one, each the one that adds most customers of the group among those of whose new customers this share is in it,
    /// or without such a share the one that makes the rule best; as long as it gets better.
    fn grown(&self, least: f64) -> Vec<usize> {
        let (mut covered, mut rule) = (vec![0; self.cells.len().div_ceil(64)], Vec::new());
        let (mut selected, mut own) = (0, 0);
        while rule.len() < MOST_CONDITIONS {
            let candidate = |(at, (_, bits)): (usize, &(Segment, Covered))| {
                let fresh: Covered = bits.iter().zip(&covered).map(|(bits, covered)| bits & !covered).collect();
                let [more, of_group] = self.sums(&fresh);
                let good = of_group > 0 && of_group as f64 >= least * more as f64;
                let value = harmonic(selected + more, own + of_group, self.uv);
                let score = if least > 0.0 { of_group as f64 } else { value };
                good.then_some((score, value, at, [more, of_group]))
            };
            // The first of equally good ones has the fewest items.
            let first = |a: (f64, f64, usize, [i64; 2]), b: (f64, f64, usize, [i64; 2])| if b.0 > a.0 { b } else { a };
            let found = self.conditions.iter().enumerate().filter_map(candidate).reduce(first);
            let Some((_, value, at, [more, of_group])) = found else { break };
            let worth = if rule.is_empty() || least > 0.0 { 0.0 } else { AS_GOOD / 2.0 };
            if value <= harmonic(selected, own, self.uv) + worth {
                break;
            }
            (selected, own) = (selected + more, own + of_group);
            covered.iter_mut().zip(&self.conditions[at].1).for_each(|(covered, bits)| *covered |= bits);
            rule.push(at);
        }
        rule
    }

    /// Takes out conditions that the rest says, or that are not worth a condition, as long as there are such.
    fn prune(&self, rule: &mut Vec<usize>) {
        while rule.len() > 1 {
            let without = |at: usize| {
                let mut rest = rule.clone();
                rest.remove(at);
                (self.value(&rest), at)
            };
            // The last of equally good ones, which was added last.
            let first = |a: (f64, usize), b: (f64, usize)| if b.0 >= a.0 { b } else { a };
            let Some((rest, at)) = (0..rule.len()).map(without).reduce(first) else { break };
            if rest < self.value(rule) - AS_GOOD / 2.0 {
                break;
            }
            rule.remove(at);
        }
    }

    /// The harmonic mean of precision and recall of some conditions.
    fn value(&self, rule: &[usize]) -> f64 {
        let [selected, own] = self.sums(&self.union(rule));
        harmonic(selected, own, self.uv)
    }

    fn union(&self, rule: &[usize]) -> Covered {
        let mut all = vec![0; self.cells.len().div_ceil(64)];
        for &at in rule {
            all.iter_mut().zip(&self.conditions[at].1).for_each(|(all, bits)| *all |= bits);
        }
        all
    }

    /// Customers of some cells, and those of the group.
    fn sums(&self, cells: &[u64]) -> [i64; 2] {
        let mut sums = [0; 2];
        for (word, &bits) in cells.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let [customers, own] = self.cells[64 * word + bits.trailing_zeros() as usize];
                (sums[0], sums[1]) = (sums[0] + customers, sums[1] + own);
                bits &= bits - 1;
            }
        }
        sums
    }
}

/// Every combination of up to three items of a segment.
fn for_each_part(segment: Segment, mut of: impl FnMut(Segment)) {
    let items: Vec<Item> = segment.items().collect();
    for chosen in 1u32..1 << items.len() {
        if chosen.count_ones() as usize <= MOST_ITEMS {
            let part: Vec<Item> = (0..items.len()).filter(|i| chosen >> i & 1 == 1).map(|i| items[i]).collect();
            of(Segment::of_items(&part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::sample::{codebook, segment};

    #[test]
    fn a_rule_for_cells_is_of_few_conditions_that_select_the_group() {
        // Group 1: whoever has item 0 of the first feature, or 1 of the second and 1 of the third.
        let codebook = codebook(&[3, 3, 3]);
        let all = (0..27u16).map(|i| [(0, i / 9), (1, i / 3 % 3), (2, i % 3)]);
        let cells: Vec<(Segment, i64, usize)> = all
            .map(|items| {
                let codes = items.map(|(_, code)| code);
                let own = codes[0] == 0 || codes[1..] == [1, 1];
                (segment(&items), 20 + i64::from(codes[2]), usize::from(own))
            })
            .collect();
        let rules = cell_rules(&codebook, &cells, 2, 10);
        let mut own = rules[1].segments.clone();
        own.sort_unstable_by_key(|segment| segment.level());
        assert_eq!(own, [segment(&[(0, 0)]), segment(&[(1, 1), (2, 1)])]);
        assert_eq!((rules[1].precision, rules[1].recall), (1.0, 1.0));
        assert_eq!(rules[1].uv, cells.iter().filter(|cell| cell.2 == 1).map(|cell| cell.1).sum::<i64>());
        let other = &rules[0];
        assert!(other.precision > 0.8 && other.recall > 0.6, "{other:?}");
        assert!(cell_rules(&codebook, &cells, 2, 100_000).iter().all(|rule| rule.segments.is_empty()));
    }

    #[test]
    fn precise_conditions_are_found_where_a_broad_one_looks_best_at_first() {
        // 20 values of the first feature, 5 of the second. The group: values 0 to 2 of the first; all else is as it comes. One
        // condition of the second feature selects a third of the group and much else.
        let codebook = codebook(&[20, 5]);
        let all = (0..100u16).map(|i| [(0, i / 5), (1, i % 5)]);
        let cells: Vec<(Segment, i64, usize)> = all
            .map(|items| {
                let (value, other) = (items[0].1, items[1].1);
                let broad = if other == 0 { 300 } else { 40 };
                (segment(&items), broad, usize::from(value < 8))
            })
            .collect();
        let rule = &cell_rules(&codebook, &cells, 2, 10)[1];
        assert_eq!((rule.precision, rule.recall), (1.0, 1.0), "{rule:?}");
        assert_eq!(rule.segments.len(), 8);
    }

    #[test]
    fn a_condition_that_the_others_say_is_taken_out() {
        let codebook = codebook(&[2, 2, 2]);
        let all = (0..8u16).map(|i| [(0, i / 4), (1, i / 2 % 2), (2, i % 2)]);
        let cells: Vec<(Segment, i64, usize)> =
            all.map(|items| (segment(&items), 50, usize::from(items[0].1 == 0 && items[1].1 == 0))).collect();
        let rule = &cell_rules(&codebook, &cells, 2, 10)[1];
        assert_eq!(rule.segments, [segment(&[(0, 0), (1, 0)])]);
    }
}
