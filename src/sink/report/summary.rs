//! The first paragraphs of the report: what was found, in how many groups, and which of them matter most.

use super::View;
use crate::merge::Group;
use crate::sink::number::{count, percent};
use crate::sink::terminal::visible;
use crate::sink::text::fill;

impl View<'_, '_> {
    pub(super) fn summary(&self) -> Vec<String> {
        let (result, t, n) = (self.result, self.t, self.n);
        let highlights = count(result.highlights.len() as i64);
        let mut first = vec![fill(
            t.summary,
            &[
                ("customers", &count(result.base.uv)),
                ("mean", &n.mean(result.base.metric_mean)),
                ("segments", &count(result.funnel.segments)),
                ("highlights", &highlights),
            ],
        )];
        if result.highlights.is_empty() {
            first.push(t.no_highlights.to_owned());
        } else if let Some(validated) = result.funnel.validated {
            let all = result.highlights.len() as u64;
            first.push(match validated {
                _ if validated == all => t.summary_validated_all.to_owned(),
                _ if 2 * validated < all => fill(t.summary_validated_few, &[("validated", &count(validated))]),
                _ => fill(t.summary_validated, &[("validated", &count(validated))]),
            });
        }
        first.extend(self.grouped());
        let mut paragraphs = vec![self.paragraph(first)];
        paragraphs.extend([false, true].into_iter().filter_map(|under| self.largest(under)));
        paragraphs.extend(self.changed());
        paragraphs
    }

    /// How many groups there are, and of what.
    fn grouped(&self) -> Option<String> {
        let (result, t) = (self.result, self.t);
        let groups = &result.grouping.groups;
        let assigned = result.assigned.group.len() as i64;
        let features = result.grouping.leaves.first().map_or(Vec::new(), |leaf| {
            leaf.items().map(|item| visible(&result.codebook.feature(item.feature).name)).collect()
        });
        let values = [
            ("groups", count(groups.len() as i64)),
            ("assigned", count(assigned)),
            ("share", percent(assigned as f64 / (result.base.uv.max(1)) as f64)),
            ("cells", count(result.grouping.leaves.len() as i64)),
            ("features", features.join(t.list_comma)),
        ];
        let template = match (groups.len(), self.of_cells()) {
            (0, _) => return None,
            (_, true) => t.summary_cells,
            (1, false) => t.summary_one_group,
            (_, false) => t.summary_groups,
        };
        Some(self.say(template, &values.each_ref().map(|(name, value)| (*name, value.as_str()))))
    }

    /// The group that adds most, or takes most away. Of groups of cells the customers kept aside say which it is, and whether it does.
    fn largest(&self, under: bool) -> Option<String> {
        let (t, n) = (self.t, self.n);
        let of_side = self.result.grouping.groups.iter().filter(|g| g.measures.impact != 0.0);
        let of_side = of_side.filter(|g| (g.measures.impact < 0.0) == under);
        let held_out = |group: &&Group| self.of_cells() && group.validation.is_some();
        let of_side = of_side.filter(|group| !held_out(group) || self.is_confirmed(group));
        let best =
            of_side.max_by(|a, b| a.influence(self.of_cells()).abs().total_cmp(&b.influence(self.of_cells()).abs()))?;
        let m = &best.measures;
        let mut values = vec![
            ("name", visible(&best.name)),
            ("uv", count(m.uv)),
            ("mean", n.mean(m.metric_mean)),
            ("lift", n.lift_or_effect(m.lift, m.effect)),
            ("impact", n.amount(best.influence(self.of_cells()))),
        ];
        let held = self.result.group_validation(best).filter(|_| self.of_cells());
        let template = match (held, under) {
            (None, false) => t.summary_best_over,
            (None, true) => t.summary_best_under,
            (Some(_), false) => t.summary_held_over,
            (Some(_), true) => t.summary_held_under,
        };
        if let Some(held) = held {
            values.push(("held", n.mean(held.metric_mean)));
            values.push(("held_lift", n.lift_or_effect(held.lift, held.effect)));
        }
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Some(fill(template, &values))
    }
}
