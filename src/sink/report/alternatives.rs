//! What the report says of other methods beside the groups.

use super::View;
use crate::alternatives::{Clause, Division, Explained, Method, Told};
use crate::encode::ItemValue;
use crate::merge::Trait;
use crate::segment::ItemCode;
use crate::sink::alternatives::{AlternativeEntry, EndEntry, Shown, shown};
use crate::sink::number::{Numbers, count, percent};
use crate::sink::terminal::visible;
use crate::sink::text::fill;

pub(super) struct AlternativesView {
    /// Whether there are columns of customers held out.
    pub held_out: bool,
    /// Heading of the lifts.
    pub lifts: &'static str,
    pub lead: &'static str,
    /// What explains most, and what that is good for.
    pub verdict: Option<String>,
    /// The groups first.
    pub rows: Vec<MethodRow>,
    pub lists: Vec<PartsView>,
}

pub(super) struct MethodRow {
    pub method: &'static str,
    pub figures: Vec<String>,
}

pub(super) struct PartsView {
    pub title: &'static str,
    pub heading: &'static str,
    pub parts: Vec<PartRow>,
}

pub(super) struct PartRow {
    pub name: String,
    pub figures: Vec<String>,
}

/// Items of a condition that are listed.
const ITEMS: usize = 8;
/// What explains this share of what the groups explain explains as much.
const AS_MUCH: f64 = 0.98;

impl View<'_, '_> {
    pub(super) fn alternatives(&self) -> Option<AlternativesView> {
        let (result, t) = (self.result, self.t);
        let held_out = result.base_validation.is_some();
        let entries = AlternativeEntry::all(result);
        let rows: Vec<MethodRow> = entries.iter().map(|entry| self.method(entry)).collect();
        let order = |method: Method| result.alternatives.iter().find(move |division| division.method == method);
        let lists = [Method::Tree, Method::Kmeans].into_iter().filter_map(order).map(|division| self.parts(division));
        (!rows.is_empty()).then(|| AlternativesView {
            held_out,
            lead: if self.of_cells() { t.alternatives_lead_cells } else { t.alternatives_lead },
            verdict: self.verdict(&entries),
            lifts: if held_out { t.lifts_held_out } else { t.lifts_all },
            rows,
            lists: lists.collect(),
        })
    }

    /// What explains most, on the customers kept aside if there are any, and what the groups are for if they do not.
    fn verdict(&self, entries: &[AlternativeEntry]) -> Option<String> {
        let t = self.t;
        let held_out = self.result.base_validation.is_some();
        let figure = |worth: &Explained| if held_out { worth.validation_explained } else { worth.explained };
        let groups = entries.iter().find(|entry| entry.method == Method::Groups)?;
        let own = figure(&groups.worth)?;
        // The customers of no group are one part more.
        let worth = |entry: &AlternativeEntry| match (self.of_cells(), &entry.one_more) {
            (false, Some(more)) => figure(more),
            _ => figure(&entry.worth),
        };
        let others = entries.iter().filter(|entry| entry.method != Method::Groups);
        let others: Vec<(f64, &AlternativeEntry)> =
            others.filter_map(|entry| Some((worth(entry)?, entry))).filter(|(worth, _)| worth.is_finite()).collect();
        let (most, best) = others.iter().copied().reduce(|a, b| if b.0 > a.0 { b } else { a })?;
        let place = if held_out { t.where_held_out } else { t.where_all };
        let ahead = most > own;
        let template = if ahead { t.explains_most } else { t.groups_explain_most };
        let method = if best.method == Method::Tree { t.the_tree } else { t.method_kmeans }.to_owned();
        let values =
            [("where", place.to_owned()), ("method", method), ("share", percent(most)), ("groups", percent(own))];
        let mut sentences = vec![self.say(template, &super::describe::named(template, &values))];
        let tree = others.iter().find(|(_, entry)| entry.method == Method::Tree);
        let simpler = tree.and_then(|(worth, tree)| {
            let [conditions, of_groups] = [tree.conditions?, groups.conditions?];
            (*worth >= AS_MUCH * own && conditions < of_groups)
                .then(|| [conditions, of_groups].map(|n| count(n as i64)))
        });
        match simpler.filter(|_| self.of_cells()) {
            Some([tree, groups]) => {
                sentences.push(self.say(t.explains_simpler, &[("tree", &tree), ("groups", &groups)]));
            }
            None if ahead && !self.of_cells() => sentences.push(t.explains_why.to_owned()),
            None => {}
        }
        Some(self.paragraph(sentences))
    }

    fn method_name(&self, method: Method) -> &'static str {
        match method {
            Method::Groups => self.t.method_groups,
            Method::Kmeans => self.t.method_kmeans,
            Method::Tree => self.t.method_tree,
        }
    }

    fn method(&self, entry: &AlternativeEntry) -> MethodRow {
        let share = |value: Option<f64>| value.map_or("–".to_owned(), percent);
        let held_out = self.result.base_validation.is_some();
        let both = |more: Explained| match held_out {
            true => format!("{} / {}", share(more.explained), share(more.validation_explained)),
            false => share(more.explained),
        };
        let some = |value: Option<i64>| value.map_or("–".to_owned(), count);
        let end = |end: EndEntry| self.n.lift_or_effect(end.lift, end.effect);
        let ends = entry.lowest.zip(entry.highest).map(|(low, high)| format!("{} – {}", end(low), end(high)));
        let mut figures = vec![count(entry.worth.parts as i64), share(entry.worth.explained)];
        if held_out {
            figures.push(share(entry.worth.validation_explained));
        }
        figures.extend([
            entry.one_more.map_or("–".to_owned(), both),
            format!("{} ({})", count(entry.uv), percent(entry.uv_share)),
            some(entry.smallest),
            some(entry.largest),
            entry.conditions.map_or("–".to_owned(), |n| count(n as i64)),
            ends.unwrap_or("–".to_owned()),
        ]);
        MethodRow { method: self.method_name(entry.method), figures }
    }

    fn parts(&self, division: &Division) -> PartsView {
        let (title, heading) = match division.method {
            Method::Tree => (self.t.tree_leaves, self.t.leaf),
            Method::Kmeans | Method::Groups => (self.t.kmeans_parts, self.t.marks),
        };
        PartsView { title, heading, parts: shown(division, self.result).iter().map(|part| self.part(part)).collect() }
    }

    fn part(&self, shown: &Shown) -> PartRow {
        let (codebook, m) = (self.result.codebook, &shown.part.measures);
        let name = match &shown.part.told {
            Told::Rule(conditions) if conditions.is_empty() => self.t.all_customers.to_owned(),
            Told::Rule(conditions) => {
                conditions.iter().map(|condition| self.condition(condition)).collect::<Vec<_>>().join(" & ")
            }
            Told::Marks(items) if items.is_empty() => "–".to_owned(),
            Told::Marks(items) => items
                .iter()
                .map(|&item| visible(&Trait::of(item).name(codebook, self.language)))
                .collect::<Vec<_>>()
                .join(self.t.list_comma),
        };
        let mut figures = vec![
            count(m.uv),
            percent(m.uv_share),
            self.n.mean(m.metric_mean),
            self.n.lift_or_effect(m.lift, m.effect),
            Numbers { unit: None, ..self.n }.impact(m.impact),
        ];
        if self.result.base_validation.is_some() {
            figures.push(shown.validation.map_or("–".to_owned(), |v| self.n.mean(v.metric_mean)));
        }
        PartRow { name, figures }
    }

    /// `job=retired`, `age 30–50`, `job≠retired`, `job ∈ {retired, student}` or `age ∉ {30–50}`: bands that touch are one.
    fn condition(&self, condition: &Clause) -> String {
        let codebook = self.result.codebook;
        let name = visible(&codebook.feature(condition.feature).name);
        let feature = codebook.feature(condition.feature);
        let values_of =
            |codes| Trait { feature: condition.feature, codes, share: 0.0, base_share: 0.0 }.values(codebook);
        let codes: Vec<ItemCode> = condition.items.iter().map(|item| item.code).collect();
        let is_band = |value: &ItemValue| matches!(value, ItemValue::Range { .. });
        let (mut values, mut within) = (values_of(codes.clone()), condition.within);
        // All but some bands are the other bands, where there is nothing else.
        let others: Vec<ItemCode> = (0..feature.items.len() as ItemCode).filter(|code| !codes.contains(code)).collect();
        if !within && !feature.rest && !others.is_empty() && feature.items.iter().all(is_band) {
            let rest = values_of(others);
            if rest.len() == 1 {
                (values, within) = (rest, true);
            }
        }
        let mut items: Vec<String> = values.iter().map(|value| self.shown(feature, value)).collect();
        match (&items[..], within, is_band(&values[0])) {
            ([item], true, true) => return format!("{name} {item}"),
            ([item], true, false) => return format!("{name}={item}"),
            ([item], false, false) => return format!("{name}≠{item}"),
            _ => {}
        }
        if items.len() > ITEMS {
            let further = fill(self.t.further_items, &[("n", &count((items.len() - ITEMS) as i64))]);
            items.truncate(ITEMS);
            items.push(further);
        }
        format!("{name} {} {{{}}}", if within { "∈" } else { "∉" }, items.join(self.t.list_comma))
    }
}

#[cfg(test)]
mod tests {
    use crate::job::Language;
    use crate::sink::report::report;
    use crate::sink::sample::Sample;

    #[test]
    fn other_methods_stand_beside_the_groups_where_they_were_asked() {
        let mut sample = Sample::new();
        let html = report(&sample.result(), Language::En);
        for part in [
            "What other methods would give",
            "Decision tree",
            "职业 ∈ {退休, 学生}",
            "职业 ∉ {退休, 学生} &#38; -x&#60;b&#62;≠",
        ] {
            assert!(html.contains(part), "{part}");
        }
        let html = report(&sample.result(), Language::Zh);
        assert!(html.contains("其他方法的结果") && html.contains("职业 ∈ {退休、学生}"));
        sample.alternatives.clear();
        assert!(!report(&sample.result(), Language::En).contains("What other methods would give"));
    }

    #[test]
    fn what_explains_most_is_said_and_what_the_groups_are_for() {
        let mut sample = Sample::new();
        let said = |sample: &Sample, language| report(&sample.result(), language);
        // Of the sample's methods with one part more 12.5 % held out, of the groups 6.25 %.
        let html = said(&sample, Language::En);
        assert!(html.contains(
            "explains most: 12.5% of the variance, against 6.25% by the groups. The groups are for something else"
        ));
        assert!(said(&sample, Language::Zh).contains("目标人群另有用途"));
        sample.alternatives[0].worth.validation_explained = Some(0.5);
        let html = said(&sample, Language::En);
        assert!(html.contains("the groups explain most: 50.0% of the variance") && !html.contains("something else"));
        // Of cells the tree has as many parts.
        let mut sample = Sample::with("[merge]\nof = \"cells\"\n");
        sample.alternatives[0].conditions = Some(900);
        let html = said(&sample, Language::En);
        assert!(html.contains("The decision tree explains as much here with fewer conditions (2 against 900)"));
        assert!(html.contains("All customers were divided into 2 target groups") && !html.contains("In no group"));
        assert!(!html.contains("Groups leave the other customers out") && !html.contains("They were merged into"));
        sample.alternatives[2].worth.validation_explained = Some(0.01);
        assert!(!said(&sample, Language::En).contains("explains as much"));
    }

    #[test]
    fn a_condition_of_many_items_is_cut_short() {
        let mut sample = Sample::new();
        let crate::alternatives::Told::Rule(rule) = &mut sample.alternatives[2].parts[0].told else {
            panic!("a leaf has a rule")
        };
        rule[0].items = rule[0].items.iter().cycle().take(20).copied().collect();
        let html = report(&sample.result(), Language::En);
        assert!(html.contains("学生, and 12 more}"), "eight of twenty are listed");
    }
}
