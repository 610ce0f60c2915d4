//! `report.html`: the run for an analyst or a growth manager, in one file that needs no network.
//!
//! Neither clock times nor the run's id are in it: it has the same bytes whenever the result is the same.

mod alternatives;
mod change;
mod describe;
mod method;
mod migration;
mod mix;
mod summary;
mod who;

use askama::Template;

use alternatives::AlternativesView;
use change::ChangeView;
use method::{FeatureRow, FunnelRow, MergeRow, QualityView};
use migration::MigrationView;
use mix::{MixHead, MixView};

pub(super) use migration::mark;

use super::migration::Told;
use super::number::{Numbers, chance, count, decimal, percent};
use super::tables::Texts;
use super::terminal::visible;
use super::text::{Text, fill};
use super::{RunResult, audience_folder};
use crate::highlight::{Direction, Highlight};
use crate::job::{Guard, Language, MergeOf, OneOrMany, RankBy};
use crate::merge::{Group, Kind, PRECISE, joined};
use crate::profile::ProfileItem;
use crate::score::Measures;
use crate::stats::MetricKind;

/// Segments shown of a group; all are in `groups.json`.
const SEGMENTS_SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "report.html", config = "src/sink/askama.toml")]
struct Page {
    t: &'static Text,
    title: String,
    kind: String,
    summary: Vec<String>,
    warning: Option<&'static str>,
    notes: Vec<String>,
    cards: Vec<(String, &'static str)>,
    /// Heading of the impact columns, with the metric's unit.
    impact: String,
    base: BaseRow,
    has_secondary: bool,
    groups_lead: &'static str,
    groups: Vec<GroupView>,
    group_segments: &'static str,
    rule_note: &'static str,
    rule_title: &'static str,
    choices_title: String,
    /// Whether there are customers in no group.
    has_nobody: bool,
    /// A table a column that groups are divided by, over the same groups.
    mix: Vec<MixView>,
    mix_heads: Vec<MixHead>,
    highlights: Vec<HighlightView>,
    /// Between two sentences.
    gap: &'static str,
    /// In which order they are, in words.
    ranked_by: String,
    /// Heading of the expected profits, where there are any.
    profit: Option<&'static str>,
    change: Option<ChangeView>,
    migration: Option<MigrationView>,
    funnel: Vec<FunnelRow>,
    stop: String,
    merges: Vec<MergeRow>,
    merge_log: String,
    choices: Vec<[String; 7]>,
    alternatives: Option<AlternativesView>,
    features: Vec<FeatureRow>,
    influence: &'static str,
    quality: QualityView,
    definitions: Vec<(&'static str, String)>,
}

struct BaseRow {
    uv: String,
    mean: String,
    held_out: String,
}

/// The measures as every table of the report shows them.
struct Figures {
    over: bool,
    direction: &'static str,
    /// The same for the narrow column of a table.
    short: &'static str,
    uv: String,
    share: String,
    mean: String,
    lift: String,
    /// Without its unit, which the column's heading has.
    impact: String,
}

struct GroupView {
    id: u32,
    name: String,
    /// What it is to the groups of the run before, unless it is one of them.
    mark: Option<String>,
    /// What it would be called today, where that is another name.
    typical: Option<String>,
    figures: Figures,
    /// Of the lift, over its customers.
    interval: Option<String>,
    held_out: String,
    /// Said where that does not show by itself that the group differs.
    unconfirmed: Option<&'static str>,
    /// Its rule in short, where it is told, and is shorter than the whole.
    short: Option<String>,
    description: String,
    segments: Vec<String>,
    /// How many more there are.
    more: Option<String>,
    up: Vec<Bar>,
    down: Vec<Bar>,
    secondary: Vec<[String; 4]>,
    sql: String,
    audience: String,
}

/// One item of a profile: its width is drawn.
struct Bar {
    item: String,
    index: String,
    shares: String,
    /// Per cent of the room for bars.
    width: String,
}

struct HighlightView {
    rank: usize,
    /// Among the highlights of its direction.
    direction_rank: usize,
    /// Its impact over the customers that better-ranked ones of its direction do not cover, where these are not all.
    added: Option<String>,
    /// Only where the job says what a unit is worth.
    profit: Option<String>,
    /// Guarded metrics that it harms.
    harms: Option<String>,
    /// Name, mean, lift or effect of each secondary metric.
    secondary: Vec<[String; 3]>,
    segment: String,
    figures: Figures,
    interval: String,
    shrunken: String,
    q: String,
    validation: String,
    mark: &'static str,
    mark_class: &'static str,
    folds: Vec<String>,
}

pub(super) fn numbers<'a>(result: &RunResult<'a>, language: Language) -> Numbers<'a> {
    Numbers { language, kind: result.kind, unit: result.job.metric.unit.as_deref() }
}

/// The report as HTML, in a language of the caller's choice.
pub fn report(result: &RunResult, language: Language) -> String {
    let view = View { result, t: Text::of_kind(language, result.kind), n: numbers(result, language), language };
    view.page().render().expect("writing to memory does not fail")
}

/// One paragraph about a group.
pub(super) fn describe(group: &Group, result: &RunResult, language: Language) -> String {
    View { result, t: Text::of_kind(language, result.kind), n: numbers(result, language), language }.describe(group)
}

struct View<'r, 'a> {
    result: &'r RunResult<'a>,
    t: &'static Text,
    n: Numbers<'a>,
    language: Language,
}

impl View<'_, '_> {
    fn page(&self) -> Page {
        let (result, t, n) = (self.result, self.t, self.n);
        let texts = Texts::short(result.codebook, self.language);
        let validated = result.funnel.validated;
        let mut cards = vec![
            (count(result.base.uv), t.card_customers),
            (n.mean(result.base.metric_mean), t.card_mean),
            (count(result.funnel.segments), t.card_segments),
            (count(result.highlights.len() as i64), t.card_highlights),
        ];
        cards.extend(validated.map(|v| (count(v), t.card_validated)));
        cards.push((count(result.grouping.groups.len() as i64), t.card_groups));
        let metric = visible(&result.job.metric.column);
        let told = result.told_migration();
        let cells = self.of_cells();
        Page {
            t,
            title: fill(t.title, &[("metric", &metric)]),
            kind: self.kind(),
            summary: self.summary(),
            warning: (result.job.highlight.holdout == 0.0).then_some(t.not_held_out),
            notes: result.notes.iter().map(|note| visible(note)).collect(),
            cards,
            impact: n.unit.map_or(t.impact.into(), |unit| fill(t.impact_unit, &[("unit", &visible(unit))])),
            base: BaseRow {
                uv: count(result.base.uv),
                mean: n.mean(result.base.metric_mean),
                held_out: result.base_validation().map_or("–".into(), |v| n.mean(v.metric_mean)),
            },
            has_secondary: !result.secondary.is_empty(),
            groups_lead: if cells { t.groups_lead_cells } else { t.groups_lead },
            group_segments: if cells { t.group_segments_cells } else { t.group_segments },
            rule_title: if cells { t.rule_cells } else { t.rule },
            rule_note: if cells { t.rule_note_cells } else { t.rule_note },
            choices_title: match result.grouping.kept {
                Some(_) => fill(t.choices_kept, &[("n", &count(result.grouping.groups.len() as i64))]),
                None => t.choices.to_owned(),
            },
            has_nobody: !cells,
            groups: (0..result.grouping.groups.len()).map(|at| self.group(at, told.as_ref(), &texts)).collect(),
            mix: self.mix(),
            mix_heads: self.mix_heads(),
            highlights: result.highlights.iter().enumerate().map(|(i, h)| self.highlight(i + 1, h, &texts)).collect(),
            gap: self.gap(),
            ranked_by: self.ranked_by(),
            profit: self.profit(),
            change: self.change(&texts),
            migration: self.migration(),
            funnel: self.funnel(),
            stop: self.stop(),
            merges: self.merges(),
            merge_log: self.merge_log(),
            choices: self.choices(),
            alternatives: self.alternatives(),
            features: self.features(),
            influence: if result.kind == MetricKind::Rate { t.influence_rate } else { t.influence_other },
            quality: self.quality(),
            definitions: self.definitions(),
        }
    }

    /// What the metric is, in words.
    fn kind(&self) -> String {
        let metric = &self.result.job.metric;
        let column = visible(&metric.column);
        match self.result.kind {
            MetricKind::Rate => match &metric.positive {
                Some(positive) => {
                    let positive = positive_values(positive).join(self.t.or);
                    fill(self.t.kind_rate_positive, &[("metric", &column), ("positive", &positive)])
                }
                None => fill(self.t.kind_rate, &[("metric", &column)]),
            },
            MetricKind::Amount => fill(self.t.kind_amount, &[("metric", &column)]),
            MetricKind::Ratio => {
                let denominator = visible(metric.denominator.as_deref().unwrap_or_default());
                fill(self.t.kind_ratio, &[("metric", &column), ("denominator", &denominator)])
            }
        }
    }

    fn of_cells(&self) -> bool {
        self.result.job.merge.of == MergeOf::Cells
    }

    /// Sentences in a row: with spaces where the script has them.
    fn paragraph(&self, sentences: Vec<String>) -> String {
        sentences.join(self.gap())
    }

    fn gap(&self) -> &'static str {
        match self.language {
            Language::En => " ",
            Language::Zh => "",
        }
    }

    fn figures(&self, direction: Direction, m: &Measures) -> Figures {
        let (direction_text, short) = match direction {
            Direction::Over => (self.t.over, self.t.over_short),
            Direction::Under => (self.t.under, self.t.under_short),
        };
        Figures {
            over: direction == Direction::Over,
            direction: direction_text,
            short,
            uv: count(m.uv),
            share: percent(m.uv_share),
            mean: self.n.mean(m.metric_mean),
            lift: self.n.lift_or_effect(m.lift, m.effect),
            impact: Numbers { unit: None, ..self.n }.impact(m.impact),
        }
    }

    fn group(&self, at: usize, told: Option<&Told>, texts: &Texts) -> GroupView {
        let group = &self.result.grouping.groups[at];
        let typical = self.result.grouping.called.get(at).filter(|_| told.is_some());
        let [up, down] = self.strongest(group);
        let highest = up.iter().map(|p| p.index).fold(100.0, f64::max);
        let bar = |p: &ProfileItem| {
            let width = if p.index > 100.0 { (p.index - 100.0) / (highest - 100.0) } else { (100.0 - p.index) / 100.0 };
            Bar {
                item: visible(texts.item(p.item)),
                index: decimal(p.index.round()),
                shares: format!("{} / {}", percent(p.share), percent(p.base_share)),
                width: format!("{:.1}", (width * 100.0).clamp(1.0, 100.0)),
            }
        };
        GroupView {
            id: group.id,
            name: visible(&group.name),
            mark: told.and_then(|told| mark(self.t, told, at)),
            typical: typical
                .filter(|called| !group.name.starts_with(called.as_str()))
                .map(|called| fill(self.t.typical, &[("name", &visible(called))])),
            figures: self.figures(group.direction, &group.measures),
            held_out: self.result.group_validation(group).map_or("–".into(), |v| self.n.mean(v.metric_mean)),
            unconfirmed: self
                .result
                .group_validation(group)
                .and_then(|_| (!self.is_confirmed(group)).then_some(self.t.not_confirmed)),
            interval: group
                .test
                .map(|test| self.n.interval(test.lift_low.zip(test.lift_high), (test.effect_low, test.effect_high))),
            short: self.short(group),
            description: self.describe(group),
            segments: group.segments.iter().take(SEGMENTS_SHOWN).map(|s| visible(&texts.segment(*s))).collect(),
            more: (group.segments.len() > SEGMENTS_SHOWN)
                .then(|| fill(self.t.more_segments, &[("n", &count((group.segments.len() - SEGMENTS_SHOWN) as i64))])),
            up: up.into_iter().map(bar).collect(),
            down: down.into_iter().map(bar).collect(),
            secondary: self.secondary(&group.secondary),
            sql: visible_lines(&self.result.any_sql(&group.segments)),
            audience: format!("{}/", audience_folder(group.id)),
        }
    }

    fn short(&self, group: &Group) -> Option<String> {
        let rule = self.result.short_rule(group).filter(|rule| !rule.segments.is_empty())?;
        let codebook = self.result.codebook;
        let of_kind = |kind: Kind| {
            let traits: Vec<String> =
                kind.traits.iter().map(|own| visible(&own.whole(codebook, self.language))).collect();
            traits.join(" & ")
        };
        let segments: Vec<String> = joined(codebook, &rule.segments, &[]).into_iter().map(of_kind).collect();
        let values = [
            ("rule", segments.join(self.t.or)),
            ("uv", count(rule.uv)),
            ("precision", percent(rule.precision)),
            ("recall", percent(rule.recall)),
        ];
        let template = if rule.precision < PRECISE { self.t.short_rule_poor } else { self.t.short_rule_says };
        Some(fill(template, &values.each_ref().map(|(name, value)| (*name, value.as_str()))))
    }

    fn ranked_by(&self) -> String {
        let job = &self.result.job.highlight;
        let figure = match job.rank_by {
            RankBy::Impact => self.t.rank_impact,
            RankBy::Lift => self.t.rank_lift,
            RankBy::ImpactPerCustomer => self.t.rank_per_customer,
            RankBy::Profit => self.t.rank_profit,
        };
        let mut sentences = vec![fill(self.t.ranked_by, &[("figure", figure)])];
        if job.diverse > 0 {
            sentences.push(fill(self.t.ranked_diverse, &[("n", &count(job.diverse.min(job.top) as i64))]));
        }
        self.paragraph(sentences)
    }

    /// Heading of the column of expected profits.
    fn profit(&self) -> Option<&'static str> {
        self.result.job.highlight.value_per_unit.map(|_| self.t.profit)
    }

    fn secondary_of(&self, measures: &[Measures]) -> Vec<[String; 3]> {
        let rows = self.secondary(measures).into_iter();
        rows.map(|[name, mean, _, lift]| [name, mean, lift]).collect()
    }

    /// Name, mean, the base's mean, and lift or effect of each secondary metric.
    fn secondary(&self, measures: &[Measures]) -> Vec<[String; 4]> {
        let metrics = self.result.secondary.iter().zip(&self.result.job.secondary).zip(measures);
        let row = |(((name, base), spec), m): ((&(String, Measures), &crate::job::SecondarySpec), &Measures)| {
            let n = Numbers { language: self.language, kind: spec.kind, unit: None };
            [visible(name), n.mean(m.metric_mean), n.mean(base.metric_mean), n.lift_or_effect(m.lift, m.effect)]
        };
        metrics.map(row).collect()
    }

    /// The guarded metrics on their bad side, each with the side.
    fn harms(&self, h: &Highlight) -> Vec<String> {
        let side = |name: &str| {
            let guard = self.result.job.secondary.iter().find(|s| s.name == name).and_then(|s| s.guard);
            let template = if guard == Some(Guard::LowerIsBetter) { self.t.harm_high } else { self.t.harm_low };
            fill(template, &[("name", &visible(name))])
        };
        self.result.harms(h).map(side).collect()
    }

    fn highlight(&self, rank: usize, h: &Highlight, texts: &Texts) -> HighlightView {
        let (mark, mark_class) = match h.validated {
            Some(true) => (self.t.mark_yes, "good"),
            Some(false) => (self.t.mark_no, "bad"),
            None => (self.t.mark_none, "quiet"),
        };
        let lift = h.measures.lift.and(h.test.lift_low.zip(h.test.lift_high));
        let harms: Vec<String> = self.harms(h);
        HighlightView {
            rank,
            direction_rank: self.result.direction_rank(rank - 1),
            added: self
                .result
                .added(h)
                .filter(|added| added.uv < h.measures.uv)
                .map(|added| fill(self.t.added, &[("impact", &Numbers { unit: None, ..self.n }.impact(added.impact))])),
            profit: self.profit().map(|_| h.expected_profit.map_or("–".into(), |profit| decimal(profit.round()))),
            harms: (!harms.is_empty()).then(|| harms.join(self.t.list_comma)),
            secondary: self.secondary_of(&h.secondary.iter().map(|s| s.measures).collect::<Vec<_>>()),
            segment: visible(&texts.segment(h.segment)),
            figures: self.figures(h.direction, &h.measures),
            interval: self.n.interval(lift, (h.test.effect_low, h.test.effect_high)),
            shrunken: self.n.lift_or_effect(h.shrunken_lift, h.shrunken_effect),
            q: chance(h.q),
            validation: self.result.validation(h).map_or("–".into(), |v| self.n.lift_or_effect(v.lift, v.effect)),
            mark,
            mark_class,
            folds: h.folds.iter().map(|s| visible(&texts.segment(*s))).collect(),
        }
    }
}

fn positive_values(positive: &OneOrMany) -> Vec<String> {
    positive.values().iter().map(|value| visible(&value.text())).collect()
}

/// The same for text whose line ends are meant.
fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample::Sample;

    #[test]
    fn the_report_says_what_the_result_says() {
        let html = report(&Sample::new().result(), Language::En);
        for part in [
            "<html lang=\"en\">",
            "下单: niche segments and target groups",
            "Of 1,000 customers, the average is 10.0%",
            "1 of them were confirmed",
            "cover 90 customers (9.00%)",
            "12 orders more",
            "Impact (orders)",
            "+12<",
            "4.0x",
            "3.1 – 5.2",
            "audience/group=1/",
            "amount out of range",
            "information value 0.214",
            "fewer highlights than merge.groups asks for",
            "Covers at most 5% of the customers",
            "411.5",
        ] {
            assert!(html.contains(part), "{part}");
        }
    }

    #[test]
    fn the_chinese_report_speaks_chinese() {
        let html = report(&Sample::new().result(), Language::Zh);
        for part in
            ["<html lang=\"zh-CN\">", "下单：微细分洞察与目标人群", "提升度", "影响量", "4.0 倍", "目标人群", "TGI"]
        {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("How to read"), "no English headings");
    }

    #[test]
    fn text_of_the_table_stays_text() {
        for language in [Language::En, Language::Zh] {
            let html = report(&Sample::new().result(), language);
            // The page itself has none of these, so any is out of the data.
            for live in ["<script", "</script", "<img", "<b>=", "\u{202e}", "javascript:", "http://", "https://"] {
                assert!(!html.contains(live), "{live}");
            }
            assert!(html.contains("&#60;/script&#62;"), "shown as it is");
            assert!(html.contains("default-src &#39;none&#39;") || html.contains("default-src 'none'"));
        }
    }

    #[test]
    fn without_a_held_out_part_the_report_says_that_nothing_was_validated() {
        let mut sample = Sample::with("[highlight]\nholdout = 0\n");
        sample.funnel.validated = None;
        for highlight in &mut sample.highlights {
            (highlight.validated, highlight.validation, highlight.validation_log_p) = (None, None, None);
        }
        for group in &mut sample.grouping.groups {
            group.validation = None;
        }
        let html = report(&sample.result(), Language::En);
        assert!(html.contains("Nothing was validated: no customers were held out"));
        assert!(!html.contains("were confirmed on customers"));
        assert!(report(&sample.result(), Language::Zh).contains("本次结果未经验证"));
    }

    #[test]
    fn a_result_without_highlights_is_a_report_too() {
        let mut sample = Sample::new();
        sample.highlights.clear();
        sample.grouping = crate::merge::Grouping::default();
        sample.assigned.group.clear();
        let html = report(&sample.result(), Language::En);
        assert!(html.contains("No segment met all conditions"));
    }

    #[test]
    fn an_amount_without_lift_is_told_by_its_effect() {
        let mut sample = Sample::new();
        for highlight in &mut sample.highlights {
            highlight.measures.lift = None;
            highlight.shrunken_lift = None;
            highlight.shrunken_effect = 0.25;
        }
        let html = report(&sample.result(), Language::En);
        assert!(html.contains("+30 pp") && html.contains("+25 pp"), "effect of 0.4 - 0.1 and its shrunken one");
    }

    #[test]
    fn personal_values_of_rejected_rows_stay_out_of_the_report() {
        let html = report(&Sample::new().result(), Language::En);
        assert!(!html.contains("1e999") && !html.contains("客户-"), "neither values nor customer ids");
    }

    #[test]
    fn the_next_merge_is_explained_in_figures_where_the_reason_is_in_another_language() {
        let mut sample = Sample::new();
        sample.grouping.choices[0].next_distance = Some(0.73);
        sample.grouping.choices[0].jump = Some(2.5);
        assert!(report(&sample.result(), Language::Zh).contains("下一步距离为 0.73，代价是此前平均每步的 2.5 倍"));
    }
}
