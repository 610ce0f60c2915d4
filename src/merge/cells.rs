//! Cells: the combinations of items of a few features, of which every customer has one.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::TagSource;
    use crate::merge::sample::{codebook, segment};

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
}
