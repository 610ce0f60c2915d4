//! The highlights, looked at on the customers who were held out.

use super::rule::Frequent;
use super::{Direction, Funnel, Highlight};
use crate::job::HighlightSpec;
use crate::score::{holm, measures, test};
use crate::stats::{MetricKind, Scale};

/// Estimates the highlights again on the customers held out, and counts those that hold.
///
/// A highlight is validated when it has the same direction there and its two-sided cautious p, adjusted over all
/// highlights by Holm's method, is at most alpha. One that cannot be tested there takes part in the adjustment with p = 1. Nothing is
/// filled in when nothing was held out.
pub fn validate(
    highlights: &mut [Highlight],
    funnel: &mut Funnel,
    spec: &HighlightSpec,
    frequent: &Frequent,
    kind: MetricKind,
    scale: Scale,
) {
    if spec.holdout <= 0.0 {
        return;
    }
    let base = frequent.base_whole - frequent.base_discovery;
    let mut cautious = Vec::with_capacity(highlights.len());
    for highlight in highlights.iter_mut() {
        let at = frequent.position(highlight.segment);
        let part = frequent.whole[at] - frequent.discovery[at];
        highlight.validation = (part.uv > 0).then(|| measures(kind, scale, &part, &base));
        let test = test(kind, scale, &part, &base);
        highlight.validation_log_p = test.map(|t| t.log_p);
        cautious.push(test.map_or(0.0, |t| t.cautious_log_p));
    }
    for (highlight, adjusted) in highlights.iter_mut().zip(holm(&cautious)) {
        let holds = highlight
            .validation
            .is_some_and(|v| v.effect != 0.0 && (v.effect < 0.0) == (highlight.direction == Direction::Under));
        highlight.validated = Some(holds && highlight.validation_log_p.is_some() && adjusted <= spec.alpha);
    }
    funnel.validated = Some(highlights.iter().filter(|h| h.validated == Some(true)).count() as u64);
}
