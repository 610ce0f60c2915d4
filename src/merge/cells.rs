//! Cells: the combinations of items of a few features, of which every customer has one.

use std::collections::HashMap;

use super::ShortRule;
use super::rule::AS_GOOD;
use crate::encode::Codebook;
use crate::segment::{FeatureId, Item, ItemCode, MAX_LEVEL, Segment};

/// How cells of some features are numbered: as numbers in a mixed radix, the last feature fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Ascending, with the number of codes of each.
    pub features: Vec<(FeatureId, u64)>,
}

/// Customers a cell has at the least on average, where nobody chose the features.
const FILLED: u64 = 10;

impl Grid {
    /// Over these features, which have these many codes each; none where there are more combinations than 2^62, or a feature has several
    /// codes a customer.
    pub fn of(codebook: &Codebook, features: &[FeatureId]) -> Option<Grid> {
        let mut features: Vec<(FeatureId, u64)> =
            features.iter().map(|&feature| (feature, codebook.feature(feature).cardinality() as u64)).collect();
        features.sort_unstable();
        let single = features.iter().all(|&(feature, _)| codebook.feature(feature).tags.is_none());
        let cells = features.iter().try_fold(1u64, |cells, (_, codes)| cells.checked_mul(*codes));
        cells.filter(|&cells| single && cells <= 1 << 62).map(|_| Grid { features })
    }

    /// Over the most influential features, as long as there are no more combinations than `most`, and a tenth of the customers.
    pub fn best(codebook: &Codebook, influences: &[f64], customers: u64, most: usize) -> Grid {
        let most = (most as u64).min(customers / FILLED);
        let mut order: Vec<FeatureId> = (0..codebook.features.len() as FeatureId).collect();
        order.sort_by(|&a, &b| influences[usize::from(b)].total_cmp(&influences[usize::from(a)]).then(a.cmp(&b)));
        let mut best = Grid { features: Vec::new() };
        let mut chosen: Vec<FeatureId> = Vec::new();
        for feature in order {
            chosen.push(feature);
            match Grid::of(codebook, &chosen) {
                Some(grid) if grid.combinations() <= most && chosen.len() <= MAX_LEVEL => best = grid,
                _ => {
                    chosen.pop();
                }
            }
        }
        best
    }

    /// Combinations of codes, with and without customers.
    pub fn combinations(&self) -> u64 {
        self.features.iter().map(|(_, codes)| codes).product()
    }

    /// What the code of the feature in a place adds to the number of a cell.
    pub fn stride(&self, place: usize) -> u64 {
        self.features[place + 1..].iter().map(|(_, codes)| codes).product()
    }

    /// The cell of a number. It may say the code `rest`, which is any value that is no item.
    pub fn segment(&self, mut number: u64) -> Segment {
        let mut items = Vec::with_capacity(self.features.len());
        for &(feature, codes) in self.features.iter().rev() {
            items.push(Item { feature, code: (number % codes) as ItemCode });
            number /= codes;
        }
        items.reverse();
        Segment::of_items(&items)
    }
}

/// Items a condition of a short rule has at the most.
const MOST_ITEMS: usize = 3;
/// Conditions a short rule has at the most.
const MOST_CONDITIONS: usize = 8;
/// Conditions that are looked at closely, each time one is added to a rule.
const PROMISING: usize = 48;

/// For each group of cells a few conditions, any of which selects a customer, that say it nearly: each adds more to the harmonic mean of
/// precision and recall than any other would, as long as that is worth a condition.
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
    (0..groups).map(|group| rule_of(group, uv[group], cells, &counts)).collect()
}

fn rule_of(group: usize, uv: i64, cells: &[(Segment, i64, usize)], counts: &[(Segment, i64, Vec<i64>)]) -> ShortRule {
    let good = |selected: i64, own: i64| if own == 0 { 0.0 } else { 2.0 * own as f64 / (selected + uv) as f64 };
    let mut promising: Vec<(f64, Segment)> =
        counts.iter().map(|(part, selected, own)| (good(*selected, own[group]), *part)).collect();
    // Precise ones too, which say little of a group alone and the rest of it together with others.
    let precise = |(part, selected, own): &(Segment, i64, Vec<i64>)| {
        (own[group] as f64 / *selected as f64 * (own[group] as f64).sqrt(), *part)
    };
    let mut more: Vec<(f64, Segment)> = counts.iter().map(precise).collect();
    let best = |all: &mut Vec<(f64, Segment)>| {
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        all.truncate(PROMISING);
    };
    best(&mut promising);
    best(&mut more);
    let mut conditions: Vec<Segment> = promising.into_iter().chain(more).map(|(_, part)| part).collect();
    conditions.sort_unstable();
    conditions.dedup();
    let mut covered = vec![false; cells.len()];
    let (mut selected, mut own, mut rule) = (0, 0, Vec::new());
    while rule.len() < MOST_CONDITIONS {
        let gain = |condition: &Segment| {
            let (mut more, mut of_group) = (0, 0);
            for ((cell, customers, of), covered) in cells.iter().zip(&covered) {
                if !covered && cell.contains(*condition) {
                    more += customers;
                    of_group += if *of == group { *customers } else { 0 };
                }
            }
            (good(selected + more, own + of_group), more, of_group)
        };
        let all = conditions.iter().map(|condition| (gain(condition), *condition));
        let Some(((value, more, of_group), condition)) =
            all.max_by(|(a, x), (b, y)| a.0.total_cmp(&b.0).then(y.level().cmp(&x.level())).then(y.cmp(x)))
        else {
            break;
        };
        if value <= good(selected, own) + if rule.is_empty() { 0.0 } else { AS_GOOD / 2.0 } {
            break;
        }
        (selected, own) = (selected + more, own + of_group);
        rule.push(condition);
        cells.iter().zip(&mut covered).for_each(|((cell, ..), covered)| *covered |= cell.contains(condition));
    }
    let share = |part: i64, of: i64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    ShortRule { segments: rule, uv: selected, precision: share(own, selected), recall: share(own, uv) }
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
    use crate::encode::{Feature, ItemValue, TagSource};

    fn codebook(codes: &[usize]) -> Codebook {
        let feature = |(number, &codes): (usize, &usize)| Feature {
            name: format!("f{number}"),
            column: format!("f{number}"),
            items: (0..codes as i64).map(ItemValue::Int).collect(),
            uv: vec![0; codes],
            rest: false,
            tags: None,
            null_values: Vec::new(),
            completed: None,
        };
        Codebook { features: codes.iter().enumerate().map(feature).collect() }
    }

    fn segment(items: &[(u16, u16)]) -> Segment {
        Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
    }

    #[test]
    fn cells_are_numbered_by_their_codes() {
        let mut codebook = codebook(&[3, 4, 5]);
        codebook.features[1].rest = true;
        let grid = Grid::of(&codebook, &[1, 0]).expect("few combinations");
        assert_eq!((grid.combinations(), grid.stride(0), grid.stride(1)), (15, 5, 1));
        assert_eq!(grid.segment(2 * 5 + 4), segment(&[(0, 2), (1, 4)]), "the last code is that of the rest");
        codebook.features[0].tags = Some(TagSource::List);
        assert_eq!(Grid::of(&codebook, &[0]), None, "customers have several tags");
    }

    #[test]
    fn the_most_influential_features_make_the_cells_as_long_as_these_are_filled() {
        let mut codebook = codebook(&[3, 40, 5, 2]);
        let features = |grid: Grid| grid.features.iter().map(|(feature, _)| *feature).collect::<Vec<_>>();
        let best = |codebook: &Codebook, customers, most| Grid::best(codebook, &[0.1, 0.4, 0.2, 0.3], customers, most);
        assert_eq!(features(best(&codebook, 1_000_000, 100_000)), [0, 1, 2, 3]);
        // 40 by 2 cells; by 5 more they would be 400, by 3 more 240.
        assert_eq!(features(best(&codebook, 1_000_000, 239)), [1, 3]);
        assert_eq!(features(best(&codebook, 790, 100_000)), [1], "79 cells at the most");
        assert_eq!(features(best(&codebook, 9, 100_000)), Vec::<FeatureId>::new());
        codebook.features[1].tags = Some(TagSource::List);
        assert_eq!(features(best(&codebook, 1_000_000, 100_000)), [0, 2, 3]);
    }

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
}
