//! What the report says of the change between two periods.

use super::View;
use crate::change::FeatureChange;
use crate::score::Change;
use crate::sink::number::{count, percent};
use crate::sink::tables::Texts;
use crate::sink::terminal::visible;
use crate::sink::text::fill;
use crate::stats::{AFTER, BEFORE};

pub(super) struct ChangeView {
    pub lead: String,
    pub steps: Vec<ChangeRow>,
    pub rest: ChangeRow,
    pub total: ChangeRow,
    pub features: Vec<FeatureView>,
    pub definitions: Vec<(&'static str, &'static str)>,
}

pub(super) struct FeatureView {
    pub title: String,
    pub rows: Vec<ChangeRow>,
}

/// One set of customers in both periods.
pub(super) struct ChangeRow {
    pub name: String,
    /// Customers, share, mean: each before and after.
    pub pairs: [[String; 2]; 3],
    /// What it adds to the change: by its share, by its mean, both.
    pub parts: [String; 3],
}

/// Items of a feature that are shown; the others are added up.
const ITEMS: usize = 12;

impl View<'_, '_> {
    pub(super) fn change(&self, texts: &Texts) -> Option<ChangeView> {
        let (changes, t) = (self.result.changes?, self.t);
        let row = |name: String, change: &Change| self.row(name, &[change]);
        let step = |step: &crate::change::Step| row(visible(&texts.segment(changes.segments[step.place])), &step.own);
        let feature = |feature: &FeatureChange| {
            let name = visible(&self.result.codebook.feature(feature.feature).name);
            let sum = |of: fn(&Change) -> f64| self.n.effect(feature.parts().map(of).sum());
            let (mix, rate) = (sum(|part| part.mix), sum(|part| part.rate));
            let mut items: Vec<_> = feature.items.iter().collect();
            items.sort_by(|a, b| b.1.excess.abs().total_cmp(&a.1.excess.abs()).then(a.0.cmp(&b.0)));
            let further = items.split_off(items.len().min(ITEMS));
            let mut rows: Vec<ChangeRow> = items
                .iter()
                .map(|(item, change)| row(visible(&self.result.codebook.item_label(*item)), change))
                .collect();
            if !further.is_empty() {
                let all: Vec<&Change> = further.iter().map(|(_, change)| change).collect();
                rows.push(self.row(fill(t.change_further, &[("n", &count(all.len() as i64))]), &all));
            }
            rows.extend(feature.others.iter().map(|others| row(t.change_others.to_owned(), others)));
            FeatureView { title: fill(t.change_feature, &[("feature", &name), ("mix", &mix), ("rate", &rate)]), rows }
        };
        Some(ChangeView {
            lead: self.changed()?,
            steps: changes.steps.iter().map(step).collect(),
            rest: row(t.change_rest.to_owned(), &changes.rest),
            total: row(t.all_customers.to_owned(), &changes.whole),
            features: changes.features.iter().map(feature).collect(),
            definitions: vec![
                (t.change_mix, t.def_change_mix),
                (t.change_rate, t.def_change_rate),
                (t.change_contribution, t.def_change_contribution),
            ],
        })
    }

    /// From what to what the mean went, and what explains most of it.
    pub(super) fn changed(&self) -> Option<String> {
        let (changes, t) = (self.result.changes?, self.t);
        let (whole, mean) = (&changes.whole, |mean: Option<f64>| mean.map_or("–".into(), |mean| self.n.mean(mean)));
        let mut sentences = vec![fill(
            t.change_lead,
            &[
                ("before", &mean(whole.metric_mean[BEFORE])),
                ("after", &mean(whole.metric_mean[AFTER])),
                ("uv_before", &count(whole.uv[BEFORE])),
                ("uv_after", &count(whole.uv[AFTER])),
                ("change", &self.n.effect(whole.contribution)),
            ],
        )];
        if changes.steps.is_empty() {
            sentences.push(t.change_none.to_owned());
        }
        Some(self.paragraph(sentences))
    }

    /// Disjoint sets of customers together.
    fn row(&self, name: String, all: &[&Change]) -> ChangeRow {
        let sum = |of: &dyn Fn(&Change) -> f64| all.iter().map(|change| of(change)).sum::<f64>();
        let both = |of: &dyn Fn(usize) -> String| [BEFORE, AFTER].map(of);
        let mean = |period: usize| match all {
            [one] => one.metric_mean[period].map_or("–".into(), |mean| self.n.mean(mean)),
            _ => "–".into(),
        };
        let parts: [fn(&Change) -> f64; 3] = [|c| c.mix, |c| c.rate, |c| c.contribution];
        ChangeRow {
            name,
            pairs: [
                both(&|period| count(all.iter().map(|change| change.uv[period]).sum::<i64>())),
                both(&|period| percent(sum(&|change| change.uv_share[period]))),
                both(&mean),
            ],
            parts: parts.map(|of| self.n.effect(sum(&of))),
        }
    }
}
