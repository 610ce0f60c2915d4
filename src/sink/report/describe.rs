//! What is said of a group in one paragraph: who they are, what they do, whether it held, where they come from.

use super::View;
use crate::job::{Language, MergeOf};
use crate::merge::{Group, PRECISE, Trait};
use crate::mix::{Column, Share, Value};
use crate::score::{Measures, Test};
use crate::sink::number::{Numbers, count, percent, times};
use crate::sink::terminal::visible;
use crate::sink::text::fill;
use crate::stats::MetricKind;

/// Columns and other metrics told in a paragraph.
const MOST_TOLD: usize = 2;

/// A value of a column is told where its index is at least this.
const STANDS_OUT: f64 = 120.0;

/// And where at least this share of them has it.
const MANY: f64 = 0.1;

/// A lift of another metric nearer to 1 than this, or its inverse, is about that of everybody.
const ALIKE: f64 = 1.1;

impl View<'_, '_> {
    pub(in crate::sink) fn describe(&self, group: &Group) -> String {
        let (mut sentences, marks) = self.who(group);
        match (self.result.job.merge.of, self.result.group_validation(group)) {
            (MergeOf::Cells, Some(held)) => sentences.push(self.what_held(group, &held)),
            _ => {
                sentences.push(self.what(group));
                sentences.extend(self.held(group));
            }
        }
        let poor = |rule: &&crate::merge::ShortRule| !rule.segments.is_empty() && rule.precision < PRECISE;
        sentences.extend(self.result.short_rule(group).filter(poor).map(|_| self.t.describe_no_rule.to_owned()));
        sentences.extend(self.come_from(group, &marks));
        sentences.extend(self.besides(&group.secondary));
        self.paragraph(sentences)
    }

    /// What the metric is over some customers, against a base, and whether it is surely less.
    fn mean(&self, own: &Measures, base: &Measures, all: &str, under: bool) -> String {
        let (t, n, metric) = (self.t, self.n, &self.result.job.metric);
        let positive = match (&metric.positive, self.language) {
            (Some(positive), Language::Zh) => format!("“{}”", super::positive_values(positive).join("”或“")),
            (Some(positive), Language::En) => {
                let values = super::positive_values(positive);
                let plain = |value: &String| value.chars().all(char::is_alphanumeric);
                match values.iter().all(plain) {
                    true => values.join(t.or),
                    false => format!("“{}”", values.join("” or “")),
                }
            }
            (None, _) => t.describe_yes.to_owned(),
        };
        let template = match self.result.kind {
            MetricKind::Rate if own.metric_sum == 0.0 => t.describe_none,
            MetricKind::Rate if under => t.describe_rate_under,
            MetricKind::Rate => t.describe_rate,
            MetricKind::Amount => t.describe_amount,
            MetricKind::Ratio => t.describe_ratio,
        };
        let values = [
            ("metric", visible(&metric.column)),
            ("positive", positive),
            ("denominator", visible(metric.denominator.as_deref().unwrap_or_default())),
            ("mean", n.mean(own.metric_mean)),
            ("base", n.mean(base.metric_mean)),
            ("all", all.to_owned()),
        ];
        self.say(template, &named(template, &values))
    }

    /// What they add. Its own sign says whether that is more or less: of a ratio whose denominators sum up to less than nothing, a higher
    /// mean adds less.
    fn impact(&self, m: &Measures) -> String {
        let (t, n) = (self.t, self.n);
        let template = match (self.result.kind, m.impact < 0.0) {
            (MetricKind::Rate, false) => t.describe_rate_more,
            (MetricKind::Rate, true) => t.describe_rate_fewer,
            (MetricKind::Amount, false) => t.describe_more,
            (MetricKind::Amount, true) => t.describe_less,
            (MetricKind::Ratio, false) => t.describe_ratio_more,
            (MetricKind::Ratio, true) => t.describe_ratio_less,
        };
        // Customers are counted in their own word where the job names no unit.
        let impact = match (self.result.kind, n.unit) {
            (MetricKind::Rate, None) => self.say(t.describe_customers, &[("n", &n.amount(m.impact))]),
            _ => n.amount(m.impact),
        };
        let denominator = visible(self.result.job.metric.denominator.as_deref().unwrap_or_default());
        let values = [("impact", impact), ("denominator", denominator)];
        self.say(template, &named(template, &values))
    }

    /// What the metric is over them, against everybody, and how sure that is.
    fn what(&self, group: &Group) -> String {
        let (t, m) = (self.t, &group.measures);
        let factor = self.factor(m, group.test.as_ref(), t.describe_times);
        let template = if factor.is_empty() { t.describe_what_without } else { t.describe_what };
        let mean = self.mean(m, &self.result.base, t.describe_everybody, surely_under(group.test.as_ref()));
        let values = [("mean", mean), ("factor", factor), ("impact", self.impact(m))];
        capital(self.say(template, &named(template, &values)))
    }

    /// The same of a group that was made by the metric: what those show who were kept aside comes first.
    fn what_held(&self, group: &Group, held: &Measures) -> String {
        let (t, m) = (self.t, &group.measures);
        let test = group.validation_test.as_ref();
        let base = self.result.base_validation().unwrap_or(self.result.base);
        let factor = self.factor(held, test, t.describe_times_kept);
        let factor = if factor.is_empty() { factor } else { self.say(t.describe_factor, &[("factor", &factor)]) };
        let verdict = if confirms(m, held, test) { t.describe_confirmed } else { t.describe_unconfirmed };
        let values = [
            ("uv", count(held.uv)),
            ("mean", self.mean(held, &base, t.describe_kept_aside, surely_under(test))),
            ("factor", factor),
            ("verdict", verdict.to_owned()),
            ("whole", self.n.mean(m.metric_mean)),
            ("impact", self.impact(m)),
        ];
        self.say(t.describe_cells, &named(t.describe_cells, &values))
    }

    /// How many times the average, with its interval; nothing where that has no meaning.
    fn factor(&self, m: &Measures, test: Option<&Test>, template: &str) -> String {
        let Some(lift) = m.lift.filter(|lift| *lift > 0.0) else { return String::new() };
        let interval = self.interval(self.t.describe_interval, test);
        self.say(template, &[("lift", &times(lift)), ("interval", &interval)])
    }

    /// Between which lifts the true one is, if that has a meaning.
    fn interval(&self, template: &str, test: Option<&Test>) -> String {
        let ends = test.and_then(|test| test.lift_low.zip(test.lift_high));
        ends.filter(|(low, high)| low.is_finite() && high.is_finite()).map_or(String::new(), |ends| {
            // A lift below 0 is told as none.
            let ends = [ends.0.max(0.0), ends.1.max(0.0)];
            let [low, high] = match ends.map(end) {
                [low, high] if low == high => ends.map(|end| format!("{end:.2}")),
                both => both,
            };
            self.say(template, &[("low", &low), ("high", &high)])
        })
    }

    /// Whether customers kept aside show by themselves that a group differs as it does.
    pub(super) fn is_confirmed(&self, group: &Group) -> bool {
        let held = self.result.group_validation(group);
        held.is_some_and(|held| confirms(&group.measures, &held, group.validation_test.as_ref()))
    }

    /// What customers show who were kept aside, of a group of highlights: these were merged because they held there.
    fn held(&self, group: &Group) -> Option<String> {
        let (t, m, v) = (self.t, &group.measures, self.result.group_validation(group)?);
        let test = group.validation_test.as_ref();
        let template = match (test, same_side(m, &v)) {
            (_, false) => t.describe_not_held,
            (None, true) => t.describe_in_line,
            (Some(test), true) => {
                // In lifts where there are some, as the paragraph tells these: the base kept aside has a mean of its own.
                let (own, low, high) = match (m.lift, test.lift_low.zip(test.lift_high)) {
                    (Some(lift), Some((low, high))) => (lift, low, high),
                    _ => (m.effect, test.effect_low, test.effect_high),
                };
                // An end that is written alike is not outside.
                let apart = |end: f64| m.lift.is_none() || times(own) != times(end);
                match (own < low && apart(low), own > high && apart(high)) {
                    (false, false) => t.describe_in_line,
                    (below, _) if below == (m.effect > 0.0) => t.describe_beyond,
                    _ => t.describe_weaker,
                }
            }
        };
        let lift = v.lift.filter(|lift| *lift > 0.0 && m.lift.is_some()).map_or(String::new(), |lift| {
            let values = [("lift", times(lift)), ("interval", self.interval(t.describe_kept_interval, test))];
            self.say(t.describe_kept_lift, &named(t.describe_kept_lift, &values))
        });
        let values = [("uv", count(v.uv)), ("mean", self.n.mean(v.metric_mean)), ("lift", lift)];
        Some(self.say(template, &named(template, &values)))
    }

    /// By which values of the columns asked for they stand out.
    fn come_from(&self, group: &Group, marks: &[Trait]) -> Option<String> {
        let (t, place) = (self.t, self.result.place(group));
        let told = |column: &&Column| {
            let said = marks.iter().any(|own| self.result.codebook.feature(own.feature).name == column.name());
            !said && column.values.len() > 1
        };
        let sentence = |column: &Column| {
            let shares = column.values.iter().filter_map(|value| Some((value, value.sets[place].as_ref()?)));
            let sure: Vec<(&Value, &Share)> = shares.filter(|(_, share)| share.is_sure()).collect();
            let name = visible(column.name());
            let marks = |(value, share): &&(&Value, &Share)| {
                column.value(value).is_some() && share.index >= STANDS_OUT && share.share >= MANY
            };
            let (value, share) = sure.iter().filter(marks).max_by(|a, b| a.1.z.total_cmp(&b.1.z))?;
            let values = [
                ("column", name),
                ("value", column.value(value).map(|value| self.label(column.feature(), value)).unwrap_or_default()),
                ("share", percent(share.share)),
                ("base", percent(value.share)),
            ];
            Some(self.say(t.describe_from, &named(t.describe_from, &values)))
        };
        let told: Vec<String> =
            self.result.mix.columns.iter().filter(told).filter_map(sentence).take(MOST_TOLD).collect();
        let list = self.join(told, t.describe_from_comma, t.describe_from_comma);
        (!list.is_empty()).then(|| self.say(t.describe_split, &[("list", &list)]))
    }

    /// What they do to other metrics: those furthest from everybody's first.
    fn besides(&self, secondary: &[Measures]) -> Option<String> {
        let t = self.t;
        let mut metrics: Vec<_> = self.result.secondary.iter().zip(&self.result.job.secondary).zip(secondary).collect();
        let distance = |m: &Measures| m.lift.map_or(0.0, |lift| lift.max(1e-9).ln().abs());
        metrics.sort_by(|a, b| distance(b.1).total_cmp(&distance(a.1)));
        let item = |(((name, base), spec), m): &((&(String, Measures), &crate::job::SecondarySpec), &Measures)| {
            let n = Numbers { language: self.language, kind: spec.kind, unit: None };
            let template = match m.lift {
                Some(lift) if lift < ALIKE && lift > 1.0 / ALIKE => t.describe_alike,
                Some(lift) if lift > 1.0 => t.describe_above,
                Some(_) => t.describe_below,
                None => t.describe_beside,
            };
            let values = [("name", visible(name)), ("mean", n.mean(m.metric_mean)), ("base", n.mean(base.metric_mean))];
            self.say(template, &named(template, &values))
        };
        let items: Vec<String> = metrics.iter().take(MOST_TOLD).map(item).collect();
        let list = self.join(items, t.describe_metrics_comma, t.describe_metrics_and);
        (!list.is_empty()).then(|| self.say(t.describe_besides, &[("list", &list)]))
    }

    /// A value of a column that groups are told by, as the report shows it.
    pub(super) fn value(&self, column: &Column, value: &Value) -> String {
        match column.value(value) {
            None => self.t.change_others.to_owned(),
            Some(value) => self.shown(column.feature(), value),
        }
    }

    pub(super) fn join(&self, mut parts: Vec<String>, comma: &str, last: &str) -> String {
        let Some(end) = parts.pop() else { return String::new() };
        if parts.is_empty() {
            return end;
        }
        let template = format!("{{parts}}{last}{{end}}");
        let mut all = parts.remove(0);
        for part in parts {
            all = self.say(&format!("{{all}}{comma}{{part}}"), &[("all", &all), ("part", &part)]);
        }
        self.say(&template, &[("parts", &all), ("end", &end)])
    }

    /// Fills in a sentence; a Chinese one has a space between Chinese and other script, and no other.
    pub(super) fn say(&self, template: &str, values: &[(&str, &str)]) -> String {
        match self.language {
            Language::En => fill(template, values),
            Language::Zh => spaced(template, values),
        }
    }
}

/// Whether customers kept aside are on the side of the base that the others are on.
fn same_side(m: &Measures, held: &Measures) -> bool {
    (held.effect < 0.0) == (m.effect < 0.0) && held.effect != 0.0
}

/// Whether customers kept aside show by themselves that a group differs as it does: on the same side, and no effect is ruled out.
fn confirms(m: &Measures, held: &Measures, test: Option<&Test>) -> bool {
    same_side(m, held)
        && test.is_some_and(|test| if held.effect < 0.0 { test.effect_high < 0.0 } else { test.effect_low > 0.0 })
}

/// Whether the metric is less than everybody's, and chance is ruled out.
fn surely_under(test: Option<&Test>) -> bool {
    test.is_some_and(|test| test.effect_high < 0.0)
}

/// An end of an interval of lifts: one that is not 1 is not written as 1.
fn end(lift: f64) -> String {
    let written = times(lift);
    let is_one = |text: &str| text.parse() == Ok(1.0);
    if !is_one(&written) || (lift - 1.0).abs() < 1e-6 {
        return written;
    }
    let precise = (3..=6).map(|digits| format!("{lift:.digits$}"));
    precise.into_iter().find(|text| !is_one(text)).unwrap_or(written)
}

/// A sentence begins with a capital letter, unless it begins with a name.
fn capital(sentence: String) -> String {
    match sentence.strip_prefix("their ") {
        Some(rest) => format!("Their {rest}"),
        None => sentence,
    }
}

/// Those of the values that the template names.
pub(super) fn named<'v>(template: &str, values: &'v [(&'static str, String)]) -> Vec<(&'static str, &'v str)> {
    let named = values.iter().filter(|(name, _)| template.contains(&format!("{{{name}}}")));
    named.map(|(name, value)| (*name, value.as_str())).collect()
}

/// Puts values in the places of their names, with a space where Chinese characters and others meet.
fn spaced(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    let add = |out: &mut String, text: &str| {
        let meet = out.chars().next_back().zip(text.chars().next());
        if meet.is_some_and(|(a, b)| script(a).zip(script(b)).is_some_and(|(a, b)| a != b)) {
            out.push(' ');
        }
        out.push_str(text);
    };
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a sentence closes its braces");
        let (_, value) = values.iter().find(|(key, _)| *key == name).expect("a sentence is given all its values");
        add(&mut out, before);
        add(&mut out, value);
        rest = after;
    }
    add(&mut out, rest);
    out
}

/// Whether a character is Chinese; none of punctuation and spaces, which keep their distance themselves.
fn script(c: char) -> Option<bool> {
    match c {
        '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' => Some(true),
        '\u{2010}'..='\u{203a}' | '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}' => None,
        c if c.is_whitespace() => None,
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::CustomerIds;
    use crate::encode::{Codes, Feature, ItemValue, MetricColumn, Shard};
    use crate::mix::{Crossed, Dimension, Mix};
    use crate::segment::{Item, Segment};
    use crate::sink::report::describe;
    use crate::sink::sample::Sample;
    use crate::stats::Scale;

    fn both(sample: &Sample, kind: MetricKind, group: usize) -> [String; 2] {
        let mut result = sample.result();
        result.kind = kind;
        [Language::En, Language::Zh].map(|language| describe(&sample.grouping.groups[group], &result, language))
    }

    #[test]
    fn a_group_is_told_as_an_analyst_would() {
        let [en, zh] = both(&Sample::new(), MetricKind::Rate, 0);
        assert_eq!(
            en,
            "40 customers, 4.00% of all. What marks them: 职业 = 退休 (all of them; 30.0% of all customers) and 渠道 = =cmd() (all of them; \
             20.0% of all customers). Not among them: -x<b> = </script>. 下单 is yes for 40.0% of them, against 10.0% of all customers \
             (4.0 times; 95% interval 2.0 to 6.0 times): 12 orders more than in an average audience of that size. The 12 of them who were \
             kept aside during the search are in line with it (41.7%, 4.2 times the average of all kept aside; not an independent check, as only \
             highlights that held there were merged). Besides, spend is above average (411.5 against 250)."
        );
        assert_eq!(
            zh,
            "该人群共 40 位客户，占大盘 4.00%。主要特征：职业为“退休”（全部客户，大盘 30.0%），渠道为“=cmd()”（全部客户，大盘 20.0%）。\
             完全没有的是：-x<b> 为“</script>”。该人群“下单”为“是”的比率为 40.0%（大盘 10.0%），是大盘的 4.0 倍（95% 置信区间 2.0～6.0 倍）；\
             与同等规模的平均客群相比，多出 12 orders。搜索时留出的验证客户中有 12 位属于该人群，结果与此相符（41.7%，是全部验证客户的 4.2 倍；\
             并非独立检验，因为只有在验证客户上成立的高亮细分才会被合并）。其他指标方面，spend 高于大盘（411.5，大盘为 250）。"
        );
    }

    #[test]
    fn a_group_of_several_kinds_is_told_by_them() {
        let mut sample = Sample::new();
        let group = &mut sample.grouping.groups[0];
        let segment = |items: &[(u16, u16)]| {
            Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
        };
        group.segments = vec![segment(&[(1, 0), (2, 1)]), segment(&[(0, 0), (1, 0)])];
        group.taken = vec![10, 30];
        let some = |item: Item| if item.feature == 0 { 0.75 } else { 0.25 };
        group.profile.iter_mut().filter(|p| p.item.feature != 1).for_each(|p| p.share = some(p.item));
        let [en, zh] = both(&sample, MetricKind::Rate, 0);
        let kinds = "What marks them: 渠道 = =cmd() (all of them; 20.0% of all customers). They meet at least one of 2 conditions, in the \
             order of the customers that each adds: 职业 = 退休; -x<b> = \\u{202e}gnp.exe. ";
        assert!(en.contains(kinds), "{en}");
        assert!(zh.contains("满足以下 2 类条件之一（按各自新增的客户数排列）：职业为“退休”；-x<b> 为“"), "{zh}");
    }

    #[test]
    fn a_rule_that_is_wrong_too_often_is_not_left_to_be_used() {
        let mut sample = Sample::new();
        let short = &mut sample.grouping.groups[0].short;
        (short.segments, short.uv, short.precision, short.recall) =
            (sample.grouping.asked[..1].iter().map(|a| a.0).collect(), 80, 0.5, 1.0);
        let [en, zh] = both(&sample, MetricKind::Rate, 0);
        assert!(en.contains("The rule in short finds them only roughly; use the audience file."), "{en}");
        assert!(zh.contains("简要规则只能大致圈出该人群，请使用人群包。"), "{zh}");
        let html = crate::sink::report(&sample.result(), Language::En);
        assert!(html.contains("It selects 80 customers, 50.0% of whom are in the group, and finds 100% of the group."));
        sample.grouping.groups[0].short.precision = 0.8;
        assert!(!both(&sample, MetricKind::Rate, 0)[0].contains("only roughly"));
    }

    #[test]
    fn a_group_below_average_and_one_that_does_nothing_have_words_of_their_own() {
        let mut sample = Sample::new();
        let [en, zh] = both(&sample, MetricKind::Rate, 1);
        assert!(en.contains("下单 is yes for none of them, against 10.0% of all customers: 5 orders fewer"), "{en}");
        let expected = "该人群没有一位客户的“下单”为“是”（大盘比率 10.0%）；与同等规模的平均客群相比，少了 5 orders。";
        assert!(zh.contains(expected), "{zh}");
        let group = &mut sample.grouping.groups[1];
        (group.measures.metric_sum, group.measures.metric_mean) = (2.0, 0.04);
        (group.measures.lift, group.measures.effect, group.measures.impact) = (Some(0.4), -0.06, -3.0);
        let test = group.test.as_mut().expect("it was compared");
        (test.effect_low, test.effect_high) = (-0.09, -0.0001);
        (test.lift_low, test.lift_high) = (Some(0.1), Some(0.999));
        let [en, zh] = both(&sample, MetricKind::Rate, 1);
        assert!(
            en.contains(
                "下单 is yes for only 4.00% of them, against 10.0% of all customers (0.40 times; 95% interval 0.10 to 0.999 times): "
            ),
            "{en}"
        );
        assert!(en.contains("): 3 orders fewer than in"), "{en}");
        assert!(zh.contains("该人群“下单”为“是”的比率仅为 4.00%（大盘 10.0%），是大盘的 0.40 倍（"), "{zh}");
        // Nobody says "only" of what may be chance.
        sample.grouping.groups[1].test.as_mut().expect("it was compared").effect_high = 0.01;
        let [en, zh] = both(&sample, MetricKind::Rate, 1);
        assert!(en.contains("下单 is yes for 4.00% of them") && !zh.contains("仅为"), "{en}{zh}");
    }

    #[test]
    fn what_was_kept_aside_is_told_as_its_own_interval_lies_to_all() {
        let mut sample = Sample::new();
        let mut says = |held_lift: f64, low: f64, high: f64| {
            let group = &mut sample.grouping.groups[0];
            let held = group.validation.as_mut().expect("some were kept aside");
            (held.lift, held.effect) = (Some(held_lift), held_lift / 10.0 - 0.1);
            group.validation_test = group.test;
            let test = group.validation_test.as_mut().expect("it was compared");
            (test.lift_low, test.lift_high) = (Some(low), Some(high));
            (test.effect_low, test.effect_high) = (low / 10.0 - 0.1, high / 10.0 - 0.1);
            both(&sample, MetricKind::Rate, 0)
        };
        // All of them are at 4.
        for (held, expected) in [
            (
                [3.0, 2.0, 4.5],
                [
                    "are in line with it (41.7%, 3.0 times the average of all kept aside, 95% interval 2.0 to 4.5; not an independent check",
                    "结果与此相符（41.7%，是全部验证客户的 3.0 倍，95% 置信区间 2.0～4.5 倍；",
                ],
            ),
            ([3.0, 2.0, 3.96], ["are in line with it (", "结果与此相符"]),
            ([6.0, 4.5, 8.0], ["show it even more (", "表现更为突出"]),
            (
                [2.0, 1.5, 2.6],
                [
                    "show it less (41.7%, 2.0 times the average of all kept aside, 95% interval 1.50 to 2.6); expect what they show.",
                    "表现较弱",
                ],
            ),
            ([0.9, 0.5, 1.4], ["do not show it (41.7%, 0.90 times", "并未表现出这一点"]),
        ] {
            let said = says(held[0], held[1], held[2]);
            assert!(said.iter().zip(expected).all(|(said, expected)| said.contains(expected)), "{held:?}: {said:?}");
        }
    }

    #[test]
    fn of_groups_of_cells_the_customers_kept_aside_come_first_and_confirm_only_what_they_show() {
        let mut sample = Sample::with("[merge]\nof = \"cells\"\n");
        let test = sample.grouping.groups[0].test;
        sample.grouping.groups[0].validation_test = test;
        let [en, zh] = both(&sample, MetricKind::Rate, 0);
        let expected = "On the 12 of them who were kept aside, an independent check, 下单 is yes for 41.7% of them, against 10.0% of all kept aside \
                        (4.2 times; 95% interval 2.0 to 6.0 times), which confirms that they differ. Over all of them it is 40.0%, which is \
                        optimistic, as the groups were made by it: 12 orders more than";
        assert!(en.contains(expected), "{en}");
        assert!(
            zh.contains("（全部验证客户 10.0%），是全部验证客户的 4.2 倍（95% 置信区间 2.0～6.0 倍），差异得到证实。"),
            "{zh}"
        );
        let group = &mut sample.grouping.groups[0];
        group.validation_test.iter_mut().for_each(|test| test.effect_low = -0.01);
        assert!(
            both(&sample, MetricKind::Rate, 0)[0].contains("which does not confirm that they differ"),
            "no effect is in the interval"
        );
        let group = &mut sample.grouping.groups[0];
        group.validation_test.iter_mut().for_each(|test| (test.effect_low, test.effect_high) = (-0.09, -0.02));
        group.validation.iter_mut().for_each(|held| held.effect = -0.05);
        assert!(
            both(&sample, MetricKind::Rate, 0)[0].contains("which does not confirm that they differ"),
            "the other side"
        );
    }

    #[test]
    fn amounts_and_ratios_are_no_shares_of_customers() {
        let sample = Sample::with("[metric]\nkind = \"amount\"\nunit = \"元\"\n");
        let [en, zh] = both(&sample, MetricKind::Amount, 0);
        assert!(en.contains("Their mean 下单 is 0.4 元, against 0.1 元 over all customers (4.0 times;"), "{en}");
        assert!(en.contains("): 12 元 more in total than an average audience of that size."), "{en}");
        assert!(zh.contains("人均“下单”为 0.4 元（大盘 0.1 元），是大盘的 4.0 倍"), "{zh}");
        assert!(zh.contains("与同等规模的平均客群相比，合计多出 12 元。"), "{zh}");
        let mut sample = Sample::with("[metric]\nkind = \"ratio\"\ndenominator = \"visits\"\n");
        let [en, zh] = both(&sample, MetricKind::Ratio, 0);
        assert!(en.contains("Their 下单 per visits is 0.4 orders, against 0.1 orders over all customers"), "{en}");
        assert!(en.contains("12 orders more in total than average customers with as much visits"), "{en}");
        assert!(zh.contains("每单位“visits”对应的“下单”为 0.4 orders（大盘 0.1 orders）"), "{zh}");
        // Denominators below 0 in sum: less of the mean is more in total.
        (sample.grouping.groups[0].measures.effect, sample.grouping.groups[0].measures.lift) = (-0.3, None);
        let [en, zh] = both(&sample, MetricKind::Ratio, 0);
        assert!(
            en.contains("12 orders more in total than average customers") && zh.contains("多出 12 orders"),
            "{en}{zh}"
        );
        // Without a lift there is no multiple of anything.
        let mut sample = Sample::with("[metric]\nkind = \"amount\"\n");
        sample.grouping.groups[0].measures.lift = None;
        let [en, zh] = both(&sample, MetricKind::Amount, 0);
        assert!(en.contains("over all customers: 12 orders more in total"), "{en}");
        assert!(!en.contains(" times") && !zh.contains("倍"), "{en}{zh}");
    }

    /// 1,000 customers, the first 40 in one group and 50 in another: by city, and by a column that says nothing.
    fn mixed() -> Mix {
        let feature = |name: &str, items: [&str; 2], uv: [u64; 2]| Feature {
            name: name.into(),
            column: name.into(),
            items: items.map(|text| ItemValue::Text(text.into())).to_vec(),
            uv: uv.to_vec(),
            ..Feature::default()
        };
        let codes = |of: &dyn Fn(usize) -> u16| {
            let mut codes = Codes::with_capacity(2, 1000);
            (0..1000).for_each(|row| codes.push(of(row)));
            codes
        };
        let columns = vec![codes(&|row| u16::from(row >= 30)), codes(&|row| (row % 2) as u16)];
        let metric = MetricColumn::Rate((0..1000).map(|row| u8::from(row % 10 == 0)).collect());
        let mut shard = Shard::new(columns, vec![0; 1000], vec![metric], CustomerIds::Row((0..1000).collect()));
        shard.set_aside(&[0, 1], 0);
        let dimensions = [
            Dimension::of(feature("城市", ["北京", "</script>"], [30, 970])),
            Dimension::of(feature("half", ["a", "b"], [500, 500])),
        ];
        let mut crossed = Crossed::none(&dimensions, 2);
        for (start, len) in shard.runs().iter().map(|run| (run.rows.start, run.rows.len())) {
            let set = |row: usize| match shard.order()[row] {
                0..40 => 0,
                40..90 => 1,
                _ => 2,
            };
            crossed.add_rows(&dimensions, &shard, start, &(start..start + len).map(set).collect::<Vec<u32>>());
        }
        Mix::of(dimensions.to_vec(), &crossed, &[1, 2], MetricKind::Rate, Scale::default(), 10)
    }

    #[test]
    fn where_they_come_from_is_said_of_the_columns_asked_for() {
        let sample = Sample { mix: mixed(), ..Sample::new() };
        let [en, zh] = both(&sample, MetricKind::Rate, 0);
        assert!(en.contains("Split by 城市, 北京 stands out (75.0% of them, 3.00% of all customers). "), "{en}");
        assert!(zh.contains("从城市看，“北京”尤为突出（占 75.0%，大盘为 3.00%）。"), "{zh}");
        assert!(!en.contains("half") && !zh.contains("half"), "what is as everywhere is not told");
        for (language, title) in [(Language::En, "Mix by column"), (Language::Zh, "字段构成")] {
            let html = crate::sink::report(&sample.result(), language);
            assert!(html.contains(title) && html.contains("<td class=\"value\">北京</td>"), "{html}");
            assert!(html.contains("<td class=\"value\">&#60;/script&#62;</td>"), "shown as it is");
            assert!(html.contains("<td class=\"n h3\" title=") && !html.contains("<script"), "coloured by index");
        }
    }

    #[test]
    fn chinese_and_other_script_are_parted_by_a_space_and_nothing_else_is() {
        let say = |template, a, b| spaced(template, &[("a", a), ("b", b)]);
        assert_eq!(say("共{a}位，占{b}。", "12", "4%"), "共 12 位，占 4%。");
        assert_eq!(say("{a}为{b}", "城市", "北京"), "城市为北京");
        assert_eq!(say("{a}为{b}", "city", "“是”"), "city 为“是”");
        assert_eq!(say("{a}（{b}）", "新 一线", "−5 元"), "新 一线（−5 元）");
    }
}
