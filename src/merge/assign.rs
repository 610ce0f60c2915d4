//! Which of a customer's highlights decides the group.

use crate::highlight::Highlight;
use crate::score::strength;

/// The highlights in the order in which a customer is asked for them: the first that covers the customer decides.
///
/// Strongest first: by the shrunken lift furthest from 1 on a log scale (a third as far as three times), or by the
/// absolute shrunken effect where lift has no meaning ([`strength`]); then by rank. A highlight all of whose customers are taken by
/// stronger ones gets none, so a group may end without customers.
pub fn priority(highlights: &[Highlight]) -> Vec<usize> {
    // The base decides whether there is lift, so either all have one or none.
    let strength = |h: &Highlight| strength(h.shrunken_lift, h.shrunken_effect);
    let mut order: Vec<usize> = (0..highlights.len()).collect();
    order.sort_by(|&a, &b| strength(&highlights[b]).total_cmp(&strength(&highlights[a])).then(a.cmp(&b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::highlight::Direction;
    use crate::highlight::tests::candidate;

    fn highlight(shrunken_lift: Option<f64>, shrunken_effect: f64) -> Highlight {
        Highlight { shrunken_lift, shrunken_effect, ..candidate(0, Direction::Over) }
    }

    #[test]
    fn the_lift_furthest_from_one_is_asked_first_and_rank_breaks_ties() {
        let of_lifts = |lifts: &[f64]| priority(&lifts.iter().map(|&l| highlight(Some(l), 0.0)).collect::<Vec<_>>());
        assert_eq!(of_lifts(&[2.0, 0.25, 3.0, 2.0, 0.5]), [1, 2, 0, 3, 4]);
        assert_eq!(of_lifts(&[9.0, 0.0, -0.1]), [2, 1, 0], "a loss is further from the base than nothing at all");
    }

    #[test]
    fn without_lift_the_effect_decides() {
        let effects = [1.0, -3.0, 2.0].map(|e| highlight(None, e));
        assert_eq!(priority(&effects), [1, 2, 0]);
        assert!(priority(&[]).is_empty());
    }
}
