//! The second half of the report: how the result came about, on what data, and how to read it.

use super::View;
use crate::highlight::Condition;
use crate::job::{Adjust, Language, MergeOf};
use crate::segment::Segment;
use crate::sink::documents::{ChoiceEntry, MergeEntry};
use crate::sink::number::{count, decimal, percent};
use crate::sink::tables::Texts;
use crate::sink::terminal::visible;
use crate::sink::text::{Text, fill};
use crate::stats::MetricKind;

/// Of more merges than this the last are shown; all are in `groups.json`.
const MERGES_SHOWN: usize = 500;

pub(super) struct FunnelRow {
    pub condition: String,
    pub rejected: String,
    pub left: String,
}

pub(super) struct MergeRow {
    pub step: usize,
    pub left: String,
    pub right: String,
    pub distance: String,
    pub uv: String,
}

pub(super) struct FeatureRow {
    pub feature: String,
    pub column: String,
    pub kept: bool,
    /// Items, distinct, missing, too rare, entropy, evenness, influence.
    pub figures: [String; 7],
    pub verdict: &'static str,
    pub reason: String,
}

pub(super) struct QualityView {
    pub accounts: Vec<(String, &'static str)>,
    pub files: Vec<[String; 2]>,
    pub rejects: Vec<[String; 2]>,
    pub samples: Vec<[String; 4]>,
    pub columns: Vec<[String; 3]>,
}

impl View<'_, '_> {
    pub(super) fn funnel(&self) -> Vec<FunnelRow> {
        let (result, t) = (self.result, self.t);
        let (funnel, job) = (result.funnel, &result.job.highlight);
        let times = |factor: f64| self.n.factor(factor);
        let mut left = funnel.segments;
        let min_uv = count(result.job.min_uv(result.quality.customers));
        let row = |condition: String, rejected: String, left: u64| FunnelRow { condition, rejected, left: count(left) };
        let mut rows = vec![row(fill(t.funnel_segments, &[("min_uv", &min_uv)]), String::new(), left)];
        let mut reject = |rows: &mut Vec<FunnelRow>, condition: String, rejected: u64| {
            left = left.saturating_sub(rejected);
            rows.push(row(condition, count(rejected), left));
        };
        let folded = fill(t.funnel_folded, &[("value", &setting(job.max_overlap))]);
        let has_top = funnel.rejected.iter().any(|(condition, _)| *condition == Condition::Top);
        for (condition, rejected) in &funnel.rejected {
            let text = match condition {
                Condition::UvShare => fill(t.funnel_uv_share, &[("value", &setting(job.max_uv_share))]),
                Condition::Impact => fill(t.funnel_impact, &[("value", &setting(job.min_impact_share))]),
                Condition::Testable => t.funnel_testable.to_owned(),
                Condition::Fdr => {
                    fill(t.funnel_fdr, &[("value", &decimal(job.fdr)), ("tested", &count(funnel.tested))])
                }
                Condition::Bound => fill(t.funnel_bound, &[("value", &times(job.min_lift))]),
                Condition::NewCustomers => t.funnel_new.to_owned(),
                Condition::Gain => fill(t.funnel_gain, &[("value", &times(job.min_gain))]),
                Condition::Top => {
                    reject(&mut rows, folded.clone(), funnel.folded);
                    fill(t.funnel_top, &[("value", &count(job.top as i64))])
                }
            };
            reject(&mut rows, text, *rejected);
        }
        if !has_top {
            reject(&mut rows, folded, funnel.folded);
        }
        if let Some(validated) = funnel.validated {
            let unconfirmed = count(funnel.highlights.saturating_sub(validated));
            rows.push(FunnelRow {
                condition: t.funnel_validated.to_owned(),
                rejected: unconfirmed,
                left: count(validated),
            });
        }
        rows
    }

    /// Where the merging stopped and why.
    pub(super) fn stop(&self) -> String {
        let (grouping, t) = (self.result.grouping, self.t);
        if self.language == Language::En && !grouping.reason.is_empty() {
            return visible(&grouping.reason);
        }
        let groups = grouping.groups.len().to_string();
        if grouping.kept.is_some() {
            return fill(t.merging_kept, &[("groups", &groups)]);
        }
        let chosen = grouping.choices.iter().find(|choice| choice.chosen);
        match chosen.and_then(|choice| choice.next_distance.zip(choice.jump)) {
            Some((distance, jump)) => {
                fill(t.merging_stop, &[("groups", &groups), ("distance", &decimal(distance)), ("jump", &decimal(jump))])
            }
            None => {
                let [fewest, most] = self.result.job.merge.groups.map(|n| n.to_string());
                fill(t.merging_few, &[("groups", &groups), ("fewest", &fewest), ("most", &most)])
            }
        }
    }

    pub(super) fn merges(&self) -> Vec<MergeRow> {
        let leaves = &self.result.grouping.leaves;
        let rank = |leaf: &Segment| self.result.highlights.iter().position(|h| h.segment == *leaf).map(|i| i + 1);
        let texts = Texts::short(self.result.codebook, self.language);
        let node = |node: usize| match leaves.get(node) {
            Some(leaf) if self.result.job.merge.of == MergeOf::Cells => visible(&texts.segment(*leaf)),
            Some(leaf) => match rank(leaf) {
                Some(rank) => fill(self.t.highlight_number, &[("n", &rank.to_string())]),
                None => self.t.segment_carried.to_owned(),
            },
            None => fill(self.t.result_of, &[("n", &(node - leaves.len() + 1).to_string())]),
        };
        let row = |m: &crate::merge::Merge| MergeRow {
            step: m.step + 1,
            left: node(m.left),
            right: node(m.right),
            distance: decimal(m.distance),
            uv: MergeEntry::of(m, self.result).uv.map_or("–".into(), count),
        };
        let merges = &self.result.grouping.merges;
        merges[merges.len().saturating_sub(MERGES_SHOWN)..].iter().map(row).collect()
    }

    /// The heading of the merges.
    pub(super) fn merge_log(&self) -> String {
        let steps = self.result.grouping.merges.len();
        let text = if steps > MERGES_SHOWN { self.t.merge_log_last } else { self.t.merge_log };
        fill(text, &[("steps", &count(steps as i64)), ("last", &count(MERGES_SHOWN as i64))])
    }

    pub(super) fn choices(&self) -> Vec<[String; 7]> {
        let number = |value: Option<f64>| value.map_or("–".into(), decimal);
        let row = |c: &crate::merge::Choice| {
            let chosen = if c.chosen { self.t.mark_yes } else { "" };
            [
                count(c.groups as i64),
                number(c.next_distance),
                number(c.jump),
                c.worth.explained.map_or("–".into(), percent),
                c.worth.silhouette.map_or("–".into(), decimal),
                ChoiceEntry::of(c, self.result).worth.smallest.map_or("–".into(), count),
                chosen.to_owned(),
            ]
        };
        self.result.grouping.choices.iter().map(row).collect()
    }

    pub(super) fn features(&self) -> Vec<FeatureRow> {
        let row = |v: &crate::screen::Verdict| FeatureRow {
            feature: visible(&v.feature),
            column: visible(&v.column),
            kept: v.kept,
            figures: [
                count(v.items),
                count(v.distinct),
                percent(v.null_share),
                percent(v.rest_share),
                decimal(v.entropy),
                decimal(v.evenness),
                decimal(v.influence),
            ],
            verdict: if v.kept { self.t.yes } else { self.t.no },
            reason: self.reason(v),
        };
        self.result.verdicts.iter().map(row).collect()
    }

    /// Why a feature was kept or not, which is told in English, in the report's language.
    fn reason(&self, v: &crate::screen::Verdict) -> String {
        let t = self.t;
        let (text, setting) = v.reason.rsplit_once(" (").map_or((v.reason.as_str(), ""), |(text, rest)| (text, rest));
        let share = |template, share| fill(template, &[("share", &percent(share))]);
        let said = match (text, setting.trim_end_matches(')')) {
            _ if self.language == Language::En => return visible(&v.reason),
            ("kept", _) => t.reason_kept.to_owned(),
            (text, _) if text == Text::of(Language::En).reason_tags => t.reason_tags.to_owned(),
            (text, _) if text == Text::of(Language::En).reason_items => t.reason_items.to_owned(),
            (_, "screen.max_null_share") => share(t.reason_null, v.null_share),
            (_, "screen.max_rest_share") => share(t.reason_rest, v.rest_share),
            (text, "screen.max_redundancy") => match text.split_once(" % of it follows from ") {
                Some((share, by)) => {
                    fill(t.reason_redundancy, &[("share", &format!("{share}%")), ("by", &visible(by))])
                }
                None => return visible(&v.reason),
            },
            (_, "screen.min_entropy") => t.reason_entropy.to_owned(),
            _ => return visible(&v.reason),
        };
        if setting.is_empty() { said } else { format!("{said}（{}）", setting.trim_end_matches(')')) }
    }

    pub(super) fn quality(&self) -> QualityView {
        let (quality, t) = (self.result.quality, self.t);
        let rows = quality.rows;
        let mut accounts = vec![
            (count(rows.read), t.rows_read),
            (count(rows.kept), t.rows_kept),
            (count(rows.quarantined), t.rows_quarantined),
            (count(rows.merged), t.rows_merged),
        ];
        if quality.rounded_values > 0 {
            accounts.push((count(quality.rounded_values), t.rounded));
        }
        QualityView {
            accounts,
            files: self.result.table.files.iter().map(|f| [visible(&f.name), count(f.rows)]).collect(),
            rejects: quality.rejects.iter().map(|(reason, rows)| [visible(reason), count(*rows)]).collect(),
            // Not the value: it may be personal, and a report is passed on. `quality.json` has it.
            samples: quality
                .samples
                .iter()
                .map(|s| {
                    let column = s.column.as_deref().map_or("–".into(), visible);
                    [visible(&s.file), count(s.row), column, visible(&s.reason)]
                })
                .collect(),
            columns: quality.columns.iter().map(|c| [visible(&c.name), count(c.nulls), count(c.distinct)]).collect(),
        }
    }

    pub(super) fn definitions(&self) -> Vec<(&'static str, String)> {
        let (t, job) = (self.t, &self.result.job.highlight);
        let method = match job.adjust {
            Adjust::BenjaminiHochberg => "Benjamini-Hochberg",
            Adjust::BenjaminiYekutieli => "Benjamini-Yekutieli",
        };
        let impact = if self.result.kind == MetricKind::Ratio { t.def_impact_ratio } else { t.def_impact };
        let validated = if job.holdout > 0.0 {
            fill(t.def_validated, &[("share", &setting(job.holdout)), ("alpha", &setting(job.alpha))])
        } else {
            t.def_not_validated.to_owned()
        };
        let mut definitions = vec![
            (t.def_base_word, t.def_base.to_owned()),
            (t.def_uv_word, t.def_uv.to_owned()),
            (t.def_lift_word, t.def_lift.to_owned()),
            (t.def_impact_word, impact.to_owned()),
            (t.def_shrunken_word, t.def_shrunken.to_owned()),
            (t.def_added_word, t.def_added.to_owned()),
            (t.def_q_word, fill(t.def_q, &[("method", method)])),
            (t.def_validated_word, validated),
            (t.def_index_word, fill(t.def_index, &[("floor", &count(self.result.floor()))])),
        ];
        if let Some(value) = job.value_per_unit {
            let profit = [("value", decimal(value)), ("cost", decimal(job.cost_per_customer))];
            let profit = profit.each_ref().map(|(name, value)| (*name, value.as_str()));
            definitions.push((t.def_profit_word, fill(t.def_profit, &profit)));
        }
        if self.result.job.secondary.iter().any(|s| s.guard.is_some()) {
            definitions.push((t.def_guard_word, t.def_guard.to_owned()));
        }
        definitions
    }
}

/// A share that somebody set, with the digits they set.
fn setting(share: f64) -> String {
    format!("{}%", decimal(share * 100.0))
}
