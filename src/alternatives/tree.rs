//! A decision tree of few leaves, grown on exact counts of all customers of the discovery part.
//!
//! A regression tree (CART; Breiman, Friedman, Olshen and Stone, 1984) on the metric, best first: of all leaves that one is split whose
//! split adds most to the squares between leaves, until there are as many as asked for. A feature's items are split in two
//! by order of their means, among which cuts the best of all divisions is (Fisher, 1958), as long as leaves may be of any size; of tags, who
//! has one from who has not.

use serde::{Deserialize, Serialize};

use super::items;
use super::rows::Counts;
use crate::score::{excess, squares_between};
use crate::segment::{FeatureId, Item};
use crate::stats::{MetricKind, Stats};

/// Customers of one part who become a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    pub part: u8,
    pub new: u8,
    pub feature: FeatureId,
    /// Whether customers with this code go to the new part; of tags, of which one is asked for, those who have it.
    pub moves: Vec<bool>,
    /// Which of both parts has fewer customers, so that it is counted; the other has what is left.
    pub counted: u8,
}

/// What is asked of a feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    pub feature: FeatureId,
    /// Whether a customer has one of the items, or none of them.
    pub within: bool,
    pub items: Vec<Item>,
}

/// What a tree is grown by.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    pub kind: MetricKind,
    /// The discovery part of the base.
    pub base: Stats,
    /// Items a feature, without a code for the others, and whether customers have a set of them.
    pub items: Vec<usize>,
    pub tags: Vec<bool>,
    /// Fewest customers of a leaf.
    pub least: i64,
    /// Most leaves.
    pub leaves: usize,
}

/// A tree as far as it is grown.
#[derive(Clone, Debug)]
pub struct Tree {
    growth: Growth,
    leaves: Vec<Leaf>,
    splits: Vec<Split>,
}

#[derive(Clone, Debug)]
struct Leaf {
    counts: Counts,
    best: Option<Cut>,
}

/// A way to split a leaf.
#[derive(Clone, Debug, PartialEq)]
struct Cut {
    /// What it adds to the squares between leaves.
    gain: f64,
    feature: usize,
    moves: Vec<bool>,
    moved: i64,
}

/// A gain of a smaller share of the squares between the two new leaves is what rounding leaves of none.
const LEAST_GAIN: f64 = 1e-9;

impl Tree {
    /// One leaf, with the counts of everybody.
    pub fn new(growth: Growth, all: Counts) -> Tree {
        let mut tree = Tree { growth, leaves: Vec::new(), splits: Vec::new() };
        let root = tree.leaf(all);
        tree.leaves.push(root);
        tree
    }

    pub fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// The next split; none when there are enough leaves, or none can be split. [`Tree::counted`] is told what was counted for it.
    pub fn split(&mut self) -> Option<Split> {
        if self.leaves.len() >= self.growth.leaves {
            return None;
        }
        let splittable = self.leaves.iter().enumerate().filter_map(|(part, leaf)| Some((part, leaf.best.as_ref()?)));
        // Of equal gains the first.
        let (part, cut) = splittable.reduce(|best, next| if next.1.gain > best.1.gain { next } else { best })?;
        let (part, new) = (part as u8, self.leaves.len() as u8);
        let uv = self.leaves[usize::from(part)].counts.total.uv;
        let counted = if 2 * cut.moved <= uv { new } else { part };
        let split = Split { part, new, feature: cut.feature as FeatureId, moves: cut.moves.clone(), counted };
        self.splits.push(split.clone());
        Some(split)
    }

    /// Enters what was counted of the part that the last split asks for.
    pub fn counted(&mut self, counts: Counts) {
        let split = self.splits.last().expect("something was split");
        let (part, of_new) = (usize::from(split.part), split.counted == split.new);
        let rest = self.leaves[part].counts.without(&counts);
        let (stays, new) = if of_new { (rest, counts) } else { (counts, rest) };
        self.leaves[part] = self.leaf(stays);
        let new = self.leaf(new);
        self.leaves.push(new);
    }

    fn leaf(&self, counts: Counts) -> Leaf {
        let cuts = (0..counts.codes.len()).filter_map(|feature| self.cut(&counts, feature));
        let best = cuts.reduce(|best, next| if next.gain > best.gain { next } else { best });
        Leaf { counts, best }
    }

    fn squares(&self, stats: &Stats) -> f64 {
        squares_between(self.growth.kind, stats, &self.growth.base)
    }

    /// The best way to split by a feature.
    fn cut(&self, counts: &Counts, feature: usize) -> Option<Cut> {
        let Growth { kind, base, least, ref tags, .. } = self.growth;
        let (total, codes) = (counts.total, &counts.codes[feature]);
        let own = self.squares(&total);
        let gain = |moved: &Stats| {
            let stays = total - *moved;
            let between = self.squares(moved) + self.squares(&stays);
            let enough = moved.uv >= least.max(1) && stays.uv >= least.max(1);
            (enough && between - own > LEAST_GAIN * between).then_some(between - own)
        };
        let better = |best: Option<(f64, usize)>, gain: Option<f64>, at: usize| match (best, gain) {
            (None, Some(gain)) => Some((gain, at)),
            (Some((most, _)), Some(gain)) if gain > most => Some((gain, at)),
            (best, _) => best,
        };
        if tags[feature] {
            let each = codes.iter().enumerate();
            let (gain, tag) = each.fold(None, |best, (tag, stats)| better(best, gain(stats), tag))?;
            let moves = (0..codes.len()).map(|code| code == tag).collect();
            return Some(Cut { gain, feature, moves, moved: codes[tag].uv });
        }
        let mean = |code: usize| excess(kind, &codes[code], &base) / codes[code].uv as f64;
        let mut order: Vec<usize> = (0..codes.len()).filter(|&code| codes[code].uv > 0).collect();
        // Those who do best first, so that they are the ones who move.
        order.sort_by(|&a, &b| mean(b).total_cmp(&mean(a)).then(a.cmp(&b)));
        let mut moved = Stats::default();
        let mut best = None;
        for (at, &code) in order.iter().enumerate() {
            moved = moved + codes[code];
            best = better(best, gain(&moved), at);
        }
        let (gain, at) = best?;
        let moved: i64 = order[..=at].iter().map(|&code| codes[code].uv).sum();
        // Codes that nobody of the leaf has go where most go.
        let mut moves: Vec<bool> = codes.iter().map(|stats| stats.uv == 0 && 2 * moved > total.uv).collect();
        order[..=at].iter().for_each(|&code| moves[code] = true);
        Some(Cut { gain, feature, moves, moved })
    }

    /// The conditions of each leaf after the first `splits` splits, in the order of the features.
    pub fn rules(&self, splits: usize) -> Vec<Vec<Clause>> {
        // Of each leaf and feature the codes that are left; of tags those that are asked for, and those that are ruled out.
        #[derive(Clone)]
        struct Left {
            codes: Vec<bool>,
            out: Vec<bool>,
        }
        let left = |(stats, &tags): (&Vec<Stats>, &bool)| Left {
            codes: vec![!tags; stats.len()],
            out: vec![false; stats.len()],
        };
        let root: Vec<Left> = self.leaves[0].counts.codes.iter().zip(&self.growth.tags).map(left).collect();
        let mut leaves = vec![root];
        for Split { part, feature, moves, .. } in &self.splits[..splits] {
            let (part, feature) = (usize::from(*part), usize::from(*feature));
            let mut new = leaves[part].clone();
            let (stays, goes) = (&mut leaves[part][feature], &mut new[feature]);
            for (code, &moves) in moves.iter().enumerate() {
                if self.growth.tags[feature] {
                    goes.codes[code] |= moves;
                    stays.out[code] |= moves;
                } else {
                    goes.codes[code] &= moves;
                    stays.codes[code] &= !moves;
                }
            }
            leaves.push(new);
        }
        let conditions = |(feature, left): (usize, &Left)| {
            let listed = |within: bool, codes: &[bool], as_is: bool| {
                let codes = codes[..self.growth.items[feature]].iter().enumerate();
                let items = items(feature, codes.filter(|(_, own)| **own == as_is).map(|(code, _)| code));
                Clause { feature: feature as FeatureId, within, items }
            };
            if self.growth.tags[feature] {
                let each = |all: Clause| {
                    all.items.into_iter().map(move |item| Clause {
                        feature: item.feature,
                        within: all.within,
                        items: vec![item],
                    })
                };
                return each(listed(true, &left.codes, true)).chain(each(listed(false, &left.out, true))).collect();
            }
            let (within, without) = (listed(true, &left.codes, true), listed(false, &left.codes, false));
            // The code of all rare values has no name, so what holds it is told by what it is not.
            let rest = left.codes.get(self.growth.items[feature]);
            match rest {
                Some(true) if without.items.is_empty() => Vec::new(),
                Some(true) => vec![without],
                None if without.items.is_empty() => Vec::new(),
                None if without.items.len() < within.items.len() => vec![without],
                None | Some(false) => vec![within],
            }
        };
        leaves.iter().map(|leaf| leaf.iter().enumerate().flat_map(conditions).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{CARDINALITY, Customer, customers, kind, shard};
    use super::super::rows::{count, move_rows};
    use super::*;
    use proptest::prelude::*;

    /// Grows a tree over the rows of a shard; gives it with the label of each row.
    fn grown(customers: &[Customer], growth: Growth) -> (Tree, Vec<u8>, Vec<usize>) {
        let (shard, order) = shard(customers, growth.kind);
        let mut labels = vec![0; order.len()];
        let mut tree = Tree::new(growth, count(&shard, &CARDINALITY, &labels, 0));
        while let Some(split) = tree.split() {
            move_rows(&shard, &split, &mut labels);
            tree.counted(count(&shard, &CARDINALITY, &labels, split.counted));
        }
        (tree, labels, order)
    }

    fn growth(customers: &[Customer], kind: MetricKind, least: i64, leaves: usize) -> Growth {
        let base = customers.iter().filter(|c| c.part == 0).map(|c| c.stats(kind)).sum();
        // The last code of the second feature stands for rare values.
        Growth { kind, base, items: vec![3, 299, 4], tags: vec![false, false, true], least, leaves }
    }

    /// What lies between sets of customers of the discovery part, by the definition: over their distances from the base's mean.
    fn between(sets: &[Vec<&Customer>], growth: &Growth) -> f64 {
        let base = growth.base;
        let ratio = growth.kind == MetricKind::Ratio;
        let mean = base.sum as f64 / if ratio { base.den as f64 } else { base.uv as f64 };
        let distance = |c: &Customer| {
            let stats = c.stats(growth.kind);
            stats.sum as f64 - mean * if ratio { stats.den as f64 } else { 1.0 }
        };
        let square = |set: &Vec<&Customer>| {
            if set.is_empty() { 0.0 } else { set.iter().map(|c| distance(c)).sum::<f64>().powi(2) / set.len() as f64 }
        };
        sets.iter().map(square).sum()
    }

    /// Whether those who answer yes have the items of the highest means, of equal ones the first: a cut by order.
    fn in_order(yes: &[&Customer], no: &[&Customer], feature: usize, growth: &Growth) -> bool {
        let means = |set: &[&Customer]| -> Vec<(f64, u16)> {
            let of = |code: u16| set.iter().filter(move |c| c.codes[feature] == code);
            let sum = |code: u16| of(code).map(|c| c.stats(growth.kind)).sum::<Stats>();
            let codes = (0..6).filter(|&code| of(code).count() > 0);
            codes.map(|code| (excess(growth.kind, &sum(code), &growth.base) / sum(code).uv as f64, code)).collect()
        };
        let before = |a: &(f64, u16), b: &(f64, u16)| a.0 > b.0 || (a.0 == b.0 && a.1 < b.1);
        means(yes).iter().all(|a| means(no).iter().all(|b| before(a, b)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_split_is_the_best_of_all_ways_to_divide_a_feature(
            customers in customers(60), kind in kind(), least in prop_oneof![Just(1i64), 2i64..9], leaves in 2usize..5,
        ) {
            // Few enough items that all ways to divide them can be tried.
            let customers: Vec<Customer> = customers.into_iter().map(|mut c| { c.codes[1] %= 6; c }).collect();
            let growth = growth(&customers, kind, least, leaves);
            let (tree, labels, order) = grown(&customers, growth.clone());
            let mut parts: Vec<Vec<&Customer>> = vec![customers.iter().filter(|c| c.part == 0).collect()];
            let enough = |set: &Vec<&Customer>| set.len() as i64 >= least;
            let best = |parts: &[Vec<&Customer>]| {
                let mut best = 0.0f64;
                for part in parts {
                    let own = between(std::slice::from_ref(part), &growth);
                    // Sets of codes of the first two features, and single tags, as bits.
                    let sets = (1u32..8).map(|set| (0, set)).chain((1..64).map(|set| (1, set)));
                    for (feature, set) in sets.chain((0..4).map(|tag| (2, 1 << tag))) {
                        let asked = |c: &&&Customer| (0u16..6).any(|code| set >> code & 1 == 1 && c.has(feature, code));
                        let (yes, no): (Vec<&Customer>, Vec<&Customer>) = part.iter().partition(asked);
                        let cut = least == 1 || feature == 2 || in_order(&yes, &no, feature, &growth);
                        if cut && enough(&yes) && enough(&no) {
                            best = best.max(between(&[yes, no], &growth) - own);
                        }
                    }
                }
                best
            };
            let scale = 1e-7 * (1.0 + growth.base.sq.max(growth.base.uv.into()) as f64);
            for split in tree.splits() {
                let expected = best(&parts);
                let before = between(&parts, &growth);
                let moves = |c: &&Customer| {
                    (0u16..).zip(&split.moves).any(|(code, &m)| m && c.has(usize::from(split.feature), code))
                };
                let (new, stays) = parts[usize::from(split.part)].iter().copied().partition(moves);
                prop_assert!(enough(&new) && enough(&stays));
                parts[usize::from(split.part)] = stays;
                parts.push(new);
                let gain = between(&parts, &growth) - before;
                prop_assert!((gain - expected).abs() <= scale, "{} of {}", gain, expected);
            }
            if parts.len() < leaves {
                prop_assert!(best(&parts) <= scale, "it could have grown");
            }
            // The rules say, of everybody, which leaf it is.
            for (row, &label) in labels.iter().enumerate() {
                let customer = &customers[order[row]];
                for (leaf, rule) in tree.rules(tree.splits().len()).iter().enumerate() {
                    let meets = rule.iter().all(|Clause { feature, within, items }| {
                        items.iter().any(|item| customer.has(usize::from(*feature), item.code)) == *within
                    });
                    prop_assert_eq!(meets, leaf == usize::from(label), "row {} leaf {}: {:?}", row, leaf, rule);
                }
            }
        }
    }

    #[test]
    fn a_tree_is_grown_as_by_hand() {
        // Of 30 customers: code 0 of the first feature 10, 9 yes; code 1 10, 1 yes; code 2 10, 5 yes, all of them with tag 3.
        let customer = |a: u16, yes: bool, tag: bool| Customer {
            codes: [a, 0],
            tags: if tag { vec![3] } else { Vec::new() },
            part: 0,
            value: i64::from(yes),
            den: 1,
        };
        let of = |a: u16, yes: usize| (0..10).map(move |i| customer(a, i < yes, a == 2 && i < yes));
        let customers: Vec<Customer> = of(0, 9).chain(of(1, 1)).chain(of(2, 5)).collect();
        let growth = growth(&customers, MetricKind::Rate, 5, 3);
        let (tree, labels, order) = grown(&customers, growth);
        let rules = tree.rules(2);
        // Base 15 of 30. Codes 0 and 1 by themselves have an excess of 4 and -4 over 10: squares 1.6. Cutting off either: 1.6 + 16 / 20 = 2.4.
        // Tag 3 has 5 of 5: excess 2.5, 1.25, and the other 25 have 0.25: 1.5. Of equal cuts the first, of those who do best.
        let item = |feature, code| Item { feature, code };
        let condition = |feature, within, items| Clause { feature, within, items };
        assert_eq!(rules[1], [condition(0, true, vec![item(0, 0)])]);
        // Of codes 1 and 2, 6 of 20: squares 0.8. By tag: 1.25 + (1 - 7.5)² / 15 = 4.07; by code 0 + 1.6.
        assert_eq!(rules[2], [condition(0, false, vec![item(0, 0)]), condition(2, true, vec![item(2, 3)])]);
        assert_eq!(rules[0], [condition(0, false, vec![item(0, 0)]), condition(2, false, vec![item(2, 3)])]);
        let sizes: Vec<usize> = (0..3).map(|leaf| labels.iter().filter(|&&label| label == leaf).count()).collect();
        assert_eq!((sizes, order.len()), (vec![15, 10, 5], 30));
        assert_eq!(tree.rules(1).len(), 2, "with one leaf fewer it is the same tree less its last split");
    }
}
