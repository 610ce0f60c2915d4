//! What the report says of the change between two periods.

use super::View;
use crate::change::FeatureChange;
use crate::job::OneOrMany;
use crate::score::Change;
use crate::segment::Item;
use crate::sink::number::{count, percent};
use crate::sink::tables::Texts;
use crate::sink::terminal::visible;
use crate::sink::text::fill;
use crate::stats::{AFTER, BEFORE};

pub(super) struct ChangeView {
    pub lead: String,
    /// The last row is the total; none where no segment explains anything.
    pub steps: Vec<ChangeRow>,
    pub features: Vec<FeatureView>,
    pub definitions: Vec<(&'static str, &'static str)>,
}

pub(super) struct FeatureView {
    pub title: String,
    /// The last row is the total.
    pub rows: Vec<ChangeRow>,
}

/// Customers of both periods.
pub(super) struct ChangeRow {
    pub name: String,
    pub total: bool,
    /// Customers, share, mean: each before and after.
    pub pairs: [[String; 2]; 3],
    /// What it adds to the change: by its share, by its mean, both.
    pub parts: [String; 3],
}

/// A row before it is written: sets of customers that share nobody.
struct Row<'c> {
    name: String,
    of: Vec<&'c Change>,
}

/// Items of a feature that are shown; the others are added up.
const ITEMS: usize = 12;

impl View<'_, '_> {
    pub(super) fn change(&self, texts: &Texts) -> Option<ChangeView> {
        let (changes, t) = (self.result.changes?, self.t);
        let step = |step: &'_ crate::change::Step| visible(&texts.segment(changes.segments[step.place]));
        let steps = changes.steps.iter().map(|of| Row { name: step(of), of: vec![&of.own] });
        let rest = Row { name: t.change_rest.to_owned(), of: vec![&changes.rest] };
        Some(ChangeView {
            lead: self.changed()?,
            steps: if changes.steps.is_empty() { Vec::new() } else { self.table(steps.chain([rest]).collect()) },
            features: changes
                .features
                .iter()
                .filter(|feature| !feature.items.is_empty())
                .map(|feature| self.by_feature(feature))
                .collect(),
            definitions: vec![
                (t.change_mix, t.def_change_mix),
                (t.change_rate, t.def_change_rate),
                (t.change_contribution, t.def_change_contribution),
            ],
        })
    }

    fn by_feature(&self, feature: &FeatureChange) -> FeatureView {
        let t = self.t;
        let name = visible(&self.result.codebook.feature(feature.feature).name);
        let mut items: Vec<_> = feature.items.iter().collect();
        items.sort_by(|a, b| b.1.excess.abs().total_cmp(&a.1.excess.abs()).then(a.0.cmp(&b.0)));
        let further = items.split_off(items.len().min(ITEMS));
        let codebook = self.result.codebook;
        let value = |item: &Item| codebook.feature(item.feature).items.get(usize::from(item.code));
        let label = |item: &Item| match value(item) {
            Some(value) => self.shown(codebook.feature(item.feature), value),
            None => visible(&codebook.item_label(*item)),
        };
        let mut rows: Vec<Row> =
            items.iter().map(|(item, change)| Row { name: label(item), of: vec![change] }).collect();
        if !further.is_empty() {
            let name = fill(t.change_further, &[("n", &count(further.len() as i64))]);
            rows.push(Row { name, of: further.iter().map(|(_, change)| change).collect() });
        }
        rows.extend(feature.others.iter().map(|others| Row { name: t.change_others.to_owned(), of: vec![others] }));
        let rows = self.table(rows);
        let [mix, rate, _] = &rows.last().expect("a total").parts;
        FeatureView { title: fill(t.change_feature, &[("feature", &name), ("mix", mix), ("rate", rate)]), rows }
    }

    /// From what to what the mean went, and what explains most of it.
    pub(super) fn changed(&self) -> Option<String> {
        let (changes, t) = (self.result.changes?, self.t);
        let compare = self.result.job.compare.as_ref()?;
        let named = |values: &OneOrMany| {
            values.values().iter().map(|value| visible(&value.text())).collect::<Vec<_>>().join(t.list_comma)
        };
        let whole = &changes.whole;
        let mean = |period: usize| whole.metric_mean[period].map_or("–".into(), |mean| self.n.mean(mean));
        let mut sentences = vec![fill(
            t.change_lead,
            &[
                ("column", &visible(&compare.column)),
                ("from", &named(&compare.before)),
                ("to", &named(&compare.after)),
                ("before", &mean(BEFORE)),
                ("after", &mean(AFTER)),
                ("uv_before", &count(whole.uv[BEFORE])),
                ("uv_after", &count(whole.uv[AFTER])),
                ("change", &self.n.effect(whole.contribution)),
            ],
        )];
        if changes.steps.is_empty() && compare.top > 0 {
            sentences.push(t.change_none.to_owned());
        }
        Some(self.paragraph(sentences))
    }

    /// Rows with their total, what they add to the change to three digits of the largest.
    fn table(&self, rows: Vec<Row>) -> Vec<ChangeRow> {
        let parts: [fn(&Change) -> f64; 3] = [|c| c.mix, |c| c.rate, |c| c.contribution];
        let sum = |row: &Row, of: fn(&Change) -> f64| row.of.iter().map(|change| of(change)).sum::<f64>();
        let all =
            Row { name: self.t.all_customers.to_owned(), of: rows.iter().flat_map(|row| row.of.clone()).collect() };
        let size = |row: &Row| parts.map(|of| sum(row, of).abs()).into_iter().fold(0.0, f64::max);
        let largest = rows.iter().map(size).fold(size(&all), f64::max);
        // Of rates as percentage points, of which three digits are three of the share, too.
        let unit = if largest > 0.0 { 10f64.powf(largest.log10().floor() - 2.0) } else { 1.0 };
        let written = |row: &Row, total: bool| {
            let both = |of: &dyn Fn(usize) -> String| [BEFORE, AFTER].map(of);
            let of_one =
                if total { self.result.changes.map(|changes| &changes.whole) } else { row.of.first().copied() };
            let mean = |period: usize| match of_one.filter(|_| total || row.of.len() == 1) {
                Some(one) => one.metric_mean[period].map_or("–".into(), |mean| self.n.mean(mean)),
                None => "–".into(),
            };
            ChangeRow {
                name: row.name.clone(),
                total,
                pairs: [
                    both(&|period| count(row.of.iter().map(|change| change.uv[period]).sum::<i64>())),
                    both(&|period| percent(row.of.iter().map(|change| change.uv_share[period]).sum::<f64>())),
                    both(&mean),
                ],
                parts: parts.map(|of| self.n.effect((sum(row, of) / unit).round() * unit)),
            }
        };
        let total = written(&all, true);
        rows.iter().map(|row| written(row, false)).chain([total]).collect()
    }
}
