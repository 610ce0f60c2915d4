//! Who the customers of a group are, in words: the first part of its paragraph.

use super::View;
use super::describe::named;
use crate::encode::{Feature, ItemValue};
use crate::job::{Language, MergeOf};
use crate::merge::{
    Group, Kind, Kinds, Marks, NEARLY_ALL, Trait, apart, ends, few_digits, kinds, marking, short, traits,
};
use crate::profile::ProfileItem;
use crate::segment::Item;
use crate::sink::number::{count, percent};
use crate::sink::privacy;
use crate::sink::terminal::visible;

/// Items shown on each side of a group's profile.
const STRONGEST: usize = 5;

/// Kinds of customers that a paragraph tells.
const MOST_KINDS: usize = 3;

/// Items that no segment says are told as more frequent, or as rare, from this index on and up to that.
const FREQUENT: f64 = 150.0;
const RARE: f64 = 50.0;

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

    /// Sentences that say who they are, and the traits in them: first what defines the group, then what else is frequent or rare.
    pub(super) fn who(&self, group: &Group) -> (Vec<String>, Vec<Trait>) {
        let (t, codebook) = (self.t, self.result.codebook);
        // Words tell no figure, so that what is withheld only to keep other figures from being found may be said.
        let [up, down] = View::apart(&privacy::writable(group, codebook, self.result.floor()));
        let (uv, share) = (count(group.measures.uv), percent(group.measures.uv_share));
        let mut sentences = vec![self.say(t.describe_size, &[("uv", &uv), ("share", &share)])];

        let (marks, kinds) = self.defining(group);
        sentences.extend(self.list(t.describe_marks, group, &marks));
        sentences.extend(self.kinds(&kinds));
        let mut said: Vec<Trait> = marks;
        said.extend(kinds.into_iter().flat_map(|kind| kind.traits));

        let new = |said: &[Trait], p: &ProfileItem| said.iter().all(|own| own.feature != p.item.feature);
        // Items of the same customers as one that is told are not told beside it.
        let (told, others): (Vec<&ProfileItem>, Vec<&ProfileItem>) = up.into_iter().partition(|p| !new(&said, p));
        let frequent = apart(told.into_iter().chain(others)).into_iter();
        let frequent = traits(codebook, frequent.filter(|p| new(&said, p) && p.index >= FREQUENT));
        sentences.extend(self.list(t.describe_also, group, &frequent));
        said.extend(frequent);

        // What they are instead is said already of the features that are told.
        let mut lacks: Vec<&ProfileItem> = Vec::new();
        for p in down.into_iter().filter(|p| new(&said, p) && p.index <= RARE) {
            if lacks.iter().all(|own| own.item.feature != p.item.feature) {
                lacks.push(p);
            }
        }
        let lacks = traits(codebook, lacks.into_iter());
        let template = if lacks.iter().all(|own| own.share == 0.0) { t.describe_never } else { t.describe_seldom };
        let lacking = self.join(lacks.iter().map(|own| self.phrase(own)).collect(), t.describe_comma, t.describe_or);
        sentences.extend((!lacks.is_empty()).then(|| self.say(template, &[("traits", &lacking)])));
        (sentences, said)
    }

    /// What defines a group: traits that nearly all have, and kinds of which each customer is one. Of a group of many cells, what most have.
    fn defining(&self, group: &Group) -> (Vec<Trait>, Vec<Kind>) {
        let (codebook, cells) = (self.result.codebook, self.result.job.merge.of == MergeOf::Cells);
        let shared = |all: Vec<Trait>| -> Vec<Trait> {
            all.into_iter().map(|own| own.with_shares(codebook, &group.profile)).collect()
        };
        match kinds(codebook, group) {
            Some(Kinds { mut common, kinds }) if !cells || kinds.len() <= MOST_KINDS => match &kinds[..] {
                [one] => {
                    common.extend(one.traits.iter().cloned());
                    common.sort_by_key(|own| own.feature);
                    (shared(common), Vec::new())
                }
                _ => (shared(common), kinds),
            },
            _ => {
                let Marks { common, others, .. } = marking(codebook, group);
                (shared(common.into_iter().chain(others).collect()), Vec::new())
            }
        }
    }

    /// Traits with their shares, as far as these are told.
    fn list(&self, template: &str, group: &Group, all: &[Trait]) -> Option<String> {
        let t = self.t;
        let told = privacy::told(group, self.result);
        let trait_of = |own: &Trait| {
            let item = |code: &u16| Item { feature: own.feature, code: *code };
            let known = own.codes.iter().all(|code| told.iter().any(|p| p.item == item(code)));
            let template = match (known, own.share) {
                (true, 0.9999..) => t.describe_all,
                (true, _) => t.describe_share,
                // Words tell no figure.
                (false, NEARLY_ALL..) => t.describe_nearly_all,
                (false, 0.5..) => t.describe_most,
                (false, _) => return self.phrase(own),
            };
            let (share, base) = (percent(own.share), percent(own.base_share));
            let values = [("trait", self.phrase(own)), ("share", share), ("base", base)];
            self.say(template, &named(template, &values))
        };
        let list = self.join(all.iter().map(trait_of).collect(), t.describe_metrics_comma, t.describe_metrics_and);
        (!list.is_empty()).then(|| self.say(template, &[("traits", &list)]))
    }

    /// The kinds of which each customer is one.
    fn kinds(&self, kinds: &[Kind]) -> Option<String> {
        let t = self.t;
        let all = |kind: &Kind| {
            let alone = kind.traits.len() == 1;
            let phrase = |own: &Trait| match alone || own.values(self.result.codebook).len() == 1 {
                true => self.phrase(own),
                // An alternative in the midst of what all holds.
                false => self.say(t.describe_around, &[("trait", &self.phrase(own))]),
            };
            self.join(kind.traits.iter().map(phrase).collect(), t.describe_and, t.describe_and)
        };
        // One that says no more than what all have.
        let told: Vec<String> = kinds.iter().filter(|kind| !kind.traits.is_empty()).map(all).collect();
        if told.len() < 2 || told.len() < kinds.len() {
            return None;
        }
        let more = told.len().saturating_sub(MOST_KINDS);
        let values = [
            ("n", count(told.len() as i64)),
            ("more", count(more as i64)),
            (
                "list",
                self.join(told.into_iter().take(MOST_KINDS).collect(), t.describe_semicolon, t.describe_semicolon),
            ),
        ];
        let template = if more > 0 { t.describe_kinds_more } else { t.describe_kinds };
        Some(self.say(template, &named(template, &values)))
    }

    /// A trait in words: `month = oct, sep or mar`, `age from 30 to under 40`.
    fn phrase(&self, own: &Trait) -> String {
        let (t, codebook) = (self.t, self.result.codebook);
        let feature = visible(&codebook.feature_label(own.feature));
        let (values, of) = (own.values(codebook), codebook.feature(own.feature));
        let feature = ("feature", feature.as_str());
        if let [value] = &values[..] {
            return match value {
                ItemValue::Missing => self.say(t.trait_missing, &[feature]),
                ItemValue::Range { low: Some(low), high: Some(high) } => {
                    let [low, high] = ends(of, *low, *high);
                    let template = if of.whole { t.trait_whole } else { t.trait_band };
                    self.say(template, &[feature, ("low", &low), ("high", &high)])
                }
                ItemValue::Range { low: Some(low), high: None } => {
                    self.say(t.trait_from, &[feature, ("low", &few_digits(*low))])
                }
                ItemValue::Range { low: None, high: Some(high) } => {
                    self.say(t.trait_below, &[feature, ("high", &few_digits(*high))])
                }
                value => self.has(own, feature, self.label(of, value)),
            };
        }
        let labels = values.iter().map(|value| self.label(of, value)).collect();
        self.has(own, feature, self.join(labels, t.describe_comma, t.describe_or))
    }

    fn has(&self, own: &Trait, feature: (&str, &str), values: String) -> String {
        let tags = self.result.codebook.feature(own.feature).tags.is_some();
        let is_band = |value: &ItemValue| matches!(value, ItemValue::Range { .. });
        let template = match tags {
            true => self.t.trait_tags,
            false if own.values(self.result.codebook).iter().all(is_band) => self.t.trait_bands,
            false => self.t.trait_values,
        };
        self.say(template, &[feature, ("values", &values)])
    }

    /// A value among others.
    pub(super) fn label(&self, feature: &Feature, value: &ItemValue) -> String {
        let shown = self.shown(feature, value);
        match (value, self.language) {
            (ItemValue::Missing | ItemValue::Range { .. } | ItemValue::Int(_) | ItemValue::Number(_), _) => shown,
            (_, Language::En) => shown,
            (_, Language::Zh) => format!("“{shown}”"),
        }
    }

    /// A value by itself.
    pub(super) fn shown(&self, feature: &Feature, value: &ItemValue) -> String {
        match value {
            ItemValue::Missing => self.t.missing.to_owned(),
            value => visible(&short(feature, value)),
        }
    }
}
