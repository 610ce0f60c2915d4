//! What is said of a group in one paragraph: who they are, what they do, whether it held, where they come from, what they are not.

use super::View;
use crate::encode::ItemValue;
use crate::job::Language;
use crate::merge::{Group, Trait, short, traits};
use crate::mix::{Column, Share, Value};
use crate::profile::ProfileItem;
use crate::score::Measures;
use crate::segment::Item;
use crate::sink::number::{Numbers, count, percent, times};
use crate::sink::privacy;
use crate::sink::terminal::visible;
use crate::sink::text::fill;
use crate::stats::MetricKind;

/// Items shown on each side of a group's profile.
const STRONGEST: usize = 5;

/// Columns and other metrics told in a paragraph.
const MOST_TOLD: usize = 2;

/// A value of a column is told where its index is at least this.
const STANDS_OUT: f64 = 120.0;

/// A lift of another metric nearer to 1 than this, or its inverse, is about that of everybody.
const ALIKE: f64 = 1.1;

impl View<'_, '_> {
    /// Of some items of a group those surely above and below the base, the strongest first.
    fn apart<'g>(items: &[&'g ProfileItem]) -> [Vec<&'g ProfileItem>; 2] {
        let sure = |p: &&&ProfileItem| p.index.is_finite() && p.z.is_finite() && p.is_sure();
        let up = items.iter().filter(sure).filter(|p| p.index > 100.0 && p.z > 0.0).copied();
        let down = items.iter().rev().filter(sure).filter(|p| p.index < 100.0 && p.z < 0.0).copied();
        [up.collect(), down.collect()]
    }

    /// The strongest of them.
    pub(super) fn strongest<'g>(&self, group: &'g Group) -> [Vec<&'g ProfileItem>; 2] {
        View::apart(&privacy::told(group, self.result)).map(|items| items.into_iter().take(STRONGEST).collect())
    }

    pub(in crate::sink) fn describe(&self, group: &Group) -> String {
        let codebook = self.result.codebook;
        // Words tell no figure, so that what is withheld only to keep other figures from being found may be said.
        let [up, down] = View::apart(&privacy::writable(group, codebook, self.result.floor()));
        let marks = traits(codebook, up.into_iter());
        let marked = |p: &&ProfileItem| marks.iter().any(|own| own.feature == p.item.feature);
        // What they are instead is said already of the features that mark them.
        let mut lacks: Vec<&ProfileItem> = Vec::new();
        for p in down.into_iter().filter(|p| !marked(p)) {
            if lacks.iter().all(|own| own.item.feature != p.item.feature) {
                lacks.push(p);
            }
        }
        let lacks = traits(codebook, lacks.into_iter());
        let mut sentences = vec![self.who(group, &marks, &lacks), self.what(group)];
        sentences.extend(self.held(group));
        sentences.extend(self.come_from(group, &marks));
        sentences.extend(self.besides(&group.secondary));
        self.paragraph(sentences)
    }

    fn who(&self, group: &Group, marks: &[Trait], lacks: &[Trait]) -> String {
        let t = self.t;
        let (uv, share) = (count(group.measures.uv), percent(group.measures.uv_share));
        let size = [("uv", uv.as_str()), ("share", &share)];
        let Some((first, others)) = marks.split_first() else {
            return self.say(t.describe_size, &size);
        };
        let items = privacy::told(group, self.result);
        let told =
            first.codes.iter().all(|&code| items.iter().any(|p| p.item == Item { feature: first.feature, code }));
        let written = |share: f64| if share > 0.9999 { t.describe_all.to_owned() } else { percent(share) };
        let values =
            [("trait", self.phrase(first)), ("share", written(first.share)), ("base", percent(first.base_share))];
        let template = if told { t.describe_first_trait } else { t.describe_trait };
        let mut traits = vec![self.say(template, &named(template, &values))];
        traits.extend(others.iter().map(|own| self.say(t.describe_trait, &[("trait", &self.phrase(own))])));
        let traits = self.join(traits, t.describe_traits_comma, t.describe_traits_and);
        let lacking = self.join(lacks.iter().map(|own| self.phrase(own)).collect(), t.describe_comma, t.describe_or);
        let lacks = match lacks {
            [] => String::new(),
            all if all.iter().all(|own| own.share == 0.0) => self.say(t.describe_never, &[("traits", &lacking)]),
            _ => self.say(t.describe_seldom, &[("traits", &lacking)]),
        };
        self.say(t.describe_who, &[&size[..], &[("traits", &traits), ("lacks", &lacks)]].concat())
    }

    /// What the metric is over them, against everybody, and how sure that is.
    fn what(&self, group: &Group) -> String {
        let (t, n, m) = (self.t, self.n, &group.measures);
        let metric = &self.result.job.metric;
        let under = m.effect < 0.0;
        let positive = match &metric.positive {
            Some(positive) => super::positive_values(positive).join(t.or),
            None => t.describe_yes.to_owned(),
        };
        let template = match self.result.kind {
            MetricKind::Rate if m.metric_sum == 0.0 => t.describe_none,
            MetricKind::Rate if under => t.describe_rate_under,
            MetricKind::Rate => t.describe_rate,
            MetricKind::Amount => t.describe_amount,
            MetricKind::Ratio => t.describe_ratio,
        };
        let denominator = visible(metric.denominator.as_deref().unwrap_or_default());
        let values = [
            ("metric", visible(&metric.column)),
            ("positive", positive),
            ("denominator", denominator.clone()),
            ("mean", n.mean(m.metric_mean)),
            ("base", n.mean(self.result.base.metric_mean)),
        ];
        let mean = self.say(template, &named(template, &values));
        let template = match (self.result.kind, under) {
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
        let values = [("impact", impact), ("denominator", denominator)];
        let impact = self.say(template, &named(template, &values));
        let values = [("mean", mean), ("factor", self.factor(group)), ("impact", impact)];
        let template = if values[1].1.is_empty() { t.describe_what_without } else { t.describe_what };
        self.say(template, &named(template, &values))
    }

    /// How many times the average, with its interval; nothing where that has no meaning.
    fn factor(&self, group: &Group) -> String {
        let (t, m) = (self.t, &group.measures);
        let Some(lift) = m.lift.filter(|lift| *lift > 0.0) else { return String::new() };
        let (template, written): (_, fn(f64) -> String) =
            if m.effect < 0.0 { (t.describe_part, percent) } else { (t.describe_times, times) };
        let ends = group.test.and_then(|test| test.lift_low.zip(test.lift_high));
        let interval = ends.filter(|(low, high)| low.is_finite() && high.is_finite()).map_or(String::new(), |ends| {
            // A lift below 0 is told as none.
            let ends = [ends.0.max(0.0), ends.1.max(0.0)];
            let [low, high] = match ends.map(written) {
                [low, high] if low == high && m.effect >= 0.0 => ends.map(|end| format!("{end:.2}")),
                both => both,
            };
            self.say(t.describe_interval, &[("low", &low), ("high", &high)])
        });
        self.say(template, &[("lift", &written(lift)), ("interval", &interval)])
    }

    /// Whether it held on customers who were kept aside.
    fn held(&self, group: &Group) -> Option<String> {
        let (t, v) = (self.t, self.result.group_validation(group)?);
        let same = (v.effect < 0.0) == (group.measures.effect < 0.0) && v.effect != 0.0;
        let sure = group.validation_test.is_some_and(|test| test.effect_low > 0.0 || test.effect_high < 0.0);
        let template = match (same, sure) {
            (true, true) => t.describe_held,
            (true, false) => t.describe_held_perhaps,
            (false, _) => t.describe_not_held,
        };
        Some(self.say(template, &[("uv", &count(v.uv)), ("mean", &self.n.mean(v.metric_mean))]))
    }

    /// By which values of the columns asked for they stand out.
    fn come_from(&self, group: &Group, marks: &[Trait]) -> Option<String> {
        let (t, place) = (self.t, group.id as usize - 1);
        let told =
            |column: &&Column| !marks.iter().any(|own| self.result.codebook.feature(own.feature).name == column.name());
        let sentence = |column: &Column| {
            let shares = column.values.iter().filter_map(|value| Some((value, value.sets[place].as_ref()?)));
            let sure: Vec<(&Value, &Share)> = shares.filter(|(_, share)| share.is_sure()).collect();
            let name = visible(column.name());
            let marks = |(value, share): &&(&Value, &Share)| {
                column.value(value).is_some() && share.index >= STANDS_OUT && share.uv > 0
            };
            match sure.iter().filter(marks).max_by(|a, b| a.1.z.total_cmp(&b.1.z)) {
                Some((value, share)) => {
                    let values = [
                        ("column", name),
                        ("value", column.value(value).map(|value| self.label(value)).unwrap_or_default()),
                        ("share", percent(share.share)),
                        ("base", percent(value.share)),
                    ];
                    Some(self.say(t.describe_from, &named(t.describe_from, &values)))
                }
                None => sure.is_empty().then(|| self.say(t.describe_from_all, &[("column", &name)])),
            }
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

    /// A trait in words: `month = oct, sep or mar`, `age from 30 to under 40`.
    fn phrase(&self, own: &Trait) -> String {
        let (t, codebook) = (self.t, self.result.codebook);
        let feature = visible(&codebook.feature_label(own.feature));
        let values = own.values(codebook);
        let feature = ("feature", feature.as_str());
        if let [value] = &values[..] {
            let number = |number: &f64| number.to_string();
            return match value {
                ItemValue::Missing => self.say(t.trait_missing, &[feature]),
                ItemValue::Range { low: Some(low), high: Some(high) } => {
                    self.say(t.trait_band, &[feature, ("low", &number(low)), ("high", &number(high))])
                }
                ItemValue::Range { low: Some(low), high: None } => {
                    self.say(t.trait_from, &[feature, ("low", &number(low))])
                }
                ItemValue::Range { low: None, high: Some(high) } => {
                    self.say(t.trait_below, &[feature, ("high", &number(high))])
                }
                value => self.has(own, feature, self.label(value)),
            };
        }
        let labels = values.iter().map(|value| self.label(value)).collect();
        self.has(own, feature, self.join(labels, t.describe_comma, t.describe_or))
    }

    fn has(&self, own: &Trait, feature: (&str, &str), values: String) -> String {
        let tags = self.result.codebook.feature(own.feature).tags.is_some();
        let band = |code: &u16| {
            matches!(self.result.codebook.feature(own.feature).items[usize::from(*code)], ItemValue::Range { .. })
        };
        let template = match tags {
            true => self.t.trait_tags,
            false if own.codes.iter().all(band) => self.t.trait_bands,
            false => self.t.trait_values,
        };
        self.say(template, &[feature, ("values", &values)])
    }

    /// A value among others.
    fn label(&self, value: &ItemValue) -> String {
        match value {
            ItemValue::Missing => self.t.missing.to_owned(),
            value => visible(&short(value)),
        }
    }

    /// A value of a column that groups are told by, as the report shows it.
    pub(super) fn value(&self, column: &Column, value: &Value) -> String {
        match column.value(value) {
            None => self.t.change_others.to_owned(),
            Some(ItemValue::Missing) => self.t.missing.to_owned(),
            Some(_) => visible(&column.label(value)),
        }
    }

    fn join(&self, mut parts: Vec<String>, comma: &str, last: &str) -> String {
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
    fn say(&self, template: &str, values: &[(&str, &str)]) -> String {
        match self.language {
            Language::En => fill(template, values),
            Language::Zh => spaced(template, values),
        }
    }
}

/// Those of the values that the template names.
fn named<'v>(template: &str, values: &'v [(&'static str, String)]) -> Vec<(&'static str, &'v str)> {
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
