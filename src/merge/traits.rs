//! What sets a group apart, feature by feature, as people would say it.

use crate::encode::{Codebook, Feature, ItemValue, OTHER};
use crate::job::Language;
use crate::profile::ProfileItem;
use crate::segment::{FeatureId, Item, ItemCode};

/// Features told at the most.
const MOST_FEATURES: usize = 3;
/// Items told of one feature at the most, and of all.
const MOST_ITEMS: usize = 3;
const MOST_IN_ALL: usize = 4;
/// Values a name says of one feature at the most.
const MOST_VALUES: usize = 4;
/// An item is told when its standard score is at least this share of the strongest one's.
const LEAST_SCORE: f64 = 0.5;

/// Items of one feature that set a group apart together, each for itself: its customers have one of them far more often than others, or far
/// less.
#[derive(Clone, Debug, PartialEq)]
pub struct Trait {
    pub feature: FeatureId,
    /// The items, the strongest first, but bands and whatever else has an order in theirs.
    pub codes: Vec<ItemCode>,
    /// Share of the group and of the base that have any; of tags, who may have several, of the strongest one.
    pub share: f64,
    pub base_share: f64,
}

/// The features, and up to three items of each, that set a group apart most: `items` come with the strongest first.
pub fn traits<'p>(codebook: &Codebook, items: impl Iterator<Item = &'p ProfileItem>) -> Vec<Trait> {
    let mut traits: Vec<Trait> = Vec::new();
    let mut strongest = None;
    for p in items {
        let Item { feature, code } = p.item;
        let told: usize = traits.iter().map(|t| t.codes.len()).sum();
        if told == MOST_IN_ALL || p.z.abs() < LEAST_SCORE * *strongest.get_or_insert(p.z.abs()) {
            // Sorted by score; what follows is weaker.
            break;
        }
        let features = traits.len();
        match traits.iter_mut().find(|t| t.feature == feature) {
            None if features < MOST_FEATURES => {
                traits.push(Trait { feature, codes: vec![code], share: p.share, base_share: p.base_share });
            }
            Some(own) if own.codes.len() < MOST_ITEMS => {
                own.codes.push(code);
                if codebook.feature(feature).tags.is_none() {
                    (own.share, own.base_share) = (own.share + p.share, own.base_share + p.base_share);
                }
            }
            None | Some(_) => {}
        }
    }
    traits.iter_mut().for_each(|own| own.sort(codebook));
    traits
}

impl Trait {
    /// One item, of which no shares are known.
    pub fn of(item: Item) -> Trait {
        Trait { feature: item.feature, codes: vec![item.code], share: 0.0, base_share: 0.0 }
    }

    /// Puts items in their order where they have one.
    pub(super) fn sort(&mut self, codebook: &Codebook) {
        let items = &codebook.feature(self.feature).items;
        let ordered =
            |code: &ItemCode| items.get(usize::from(*code)).is_some_and(|item| !matches!(item, ItemValue::Text(_)));
        if self.codes.iter().all(ordered) {
            self.codes.sort_unstable();
        }
    }

    /// With the shares of a group and of the base that have any of its items, as a profile has them; those of tags are of the most frequent.
    pub fn with_shares(mut self, codebook: &Codebook, profile: &[ProfileItem]) -> Trait {
        let own = profile.iter().filter(|p| p.item.feature == self.feature && self.codes.contains(&p.item.code));
        let add = |a: (f64, f64), p: &ProfileItem| (a.0 + p.share, a.1 + p.base_share);
        let most = |a: (f64, f64), p: &ProfileItem| if p.share > a.0 { (p.share, p.base_share) } else { a };
        let tags = codebook.feature(self.feature).tags.is_some();
        (self.share, self.base_share) = if tags { own.fold((0.0, 0.0), most) } else { own.fold((0.0, 0.0), add) };
        self
    }

    /// Its items' values; bands that touch are one.
    pub fn values(&self, codebook: &Codebook) -> Vec<ItemValue> {
        let mut values: Vec<ItemValue> = Vec::new();
        for &code in &self.codes {
            // Cells are also of values that are no item.
            let value = codebook.feature(self.feature).items.get(usize::from(code)).cloned();
            let value = value.unwrap_or_else(|| ItemValue::Text(OTHER.into()));
            match (values.last_mut(), &value) {
                (Some(ItemValue::Range { high: Some(end), low: start }), ItemValue::Range { low: Some(low), high })
                    if *end == *low && (start.is_some() || high.is_some()) =>
                {
                    let whole = ItemValue::Range { low: *start, high: *high };
                    values.pop();
                    values.push(whole);
                }
                _ => values.push(value),
            }
        }
        let feature = codebook.feature(self.feature);
        values.into_iter().map(|value| alone(feature, &value).map_or(value, ItemValue::Int)).collect()
    }

    /// As a name has it: `month=oct/sep/mar`, `age 30–39`, `tenure <3`. Of more than four values the first three are said, and that there
    /// are more.
    pub fn name(&self, codebook: &Codebook, language: Language) -> String {
        self.written(codebook, language, MOST_VALUES)
    }

    /// The same with all values.
    pub fn whole(&self, codebook: &Codebook, language: Language) -> String {
        self.written(codebook, language, usize::MAX)
    }

    fn written(&self, codebook: &Codebook, language: Language, most: usize) -> String {
        let feature = codebook.feature_label(self.feature);
        let values = self.values(codebook);
        let label = |value: &ItemValue| match (value, language) {
            (ItemValue::Missing, Language::Zh) => "缺失".to_owned(),
            _ => short(codebook.feature(self.feature), value),
        };
        let mut labels: Vec<String> = values.iter().map(label).collect();
        if labels.len() > most {
            labels.truncate(most - 1);
            labels.push("…".to_owned());
        }
        let by = if labels.iter().any(|label| label.contains('/')) { " | " } else { "/" };
        let is_band = |value: &ItemValue| matches!(value, ItemValue::Range { .. });
        let equals = if values.iter().all(is_band) { " " } else { "=" };
        format!("{feature}{equals}{}", labels.join(by))
    }
}

/// The only number in a band of whole ones, where there is but one.
fn alone(feature: &Feature, value: &ItemValue) -> Option<i64> {
    let ItemValue::Range { low, high } = *value else { return None };
    let first =
        low.map_or(feature.lone.filter(|lone| high.is_some_and(|high| high <= *lone as f64 + 1.0)), least_within);
    first.filter(|first| feature.whole && high.and_then(least_within) == Some(first + 1))
}

/// The least whole number from this one on.
fn least_within(low: f64) -> Option<i64> {
    let least = low.ceil();
    (least.abs() < i64::MAX as f64).then_some(least as i64)
}

/// Ends of a band as they are said: of whole numbers the first and the last that are in it, of others the first and the end, with four
/// digits where these tell the ends apart.
pub fn ends(feature: &Feature, low: f64, high: f64) -> [String; 2] {
    if let (true, Some(first), Some(end)) = (feature.whole, least_within(low), least_within(high)) {
        return [first.to_string(), (end - 1).to_string()];
    }
    let [from, to] = [low, high].map(few_digits);
    if from == to { [low, high].map(|end| end.to_string()) } else { [from, to] }
}

/// A number with four digits, or with those before its point.
pub fn few_digits(value: f64) -> String {
    let before = value.abs().log10().floor();
    if !(-12.0..=12.0).contains(&before) {
        return value.to_string();
    }
    let rounded = format!("{value:.*}", (3.0 - before).max(0.0) as usize);
    rounded.parse::<f64>().map_or(rounded, |value| value.to_string())
}

/// A value in few signs, whatever the language: `30–39`, `<3`, `≥365`.
pub fn short(feature: &Feature, value: &ItemValue) -> String {
    if let Some(only) = alone(feature, value) {
        return only.to_string();
    }
    match value {
        ItemValue::Range { low: Some(low), high: Some(high) } => {
            let [from, to] = ends(feature, *low, *high);
            if *low >= 0.0 || feature.whole { format!("{from}–{to}") } else { format!("[{from},{to})") }
        }
        ItemValue::Range { low: Some(low), high: None } => format!("≥{}", few_digits(*low)),
        ItemValue::Range { low: None, high: Some(high) } => format!("<{}", few_digits(*high)),
        value => Codebook::value_label(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codebook(features: Vec<(&str, Vec<ItemValue>)>) -> Codebook {
        let feature = |(name, items): (&str, Vec<ItemValue>)| Feature {
            name: name.into(),
            column: name.into(),
            uv: vec![0; items.len()],
            items,
            ..Feature::default()
        };
        Codebook { features: features.into_iter().map(feature).collect() }
    }

    fn item(feature: u16, code: u16, z: f64) -> ProfileItem {
        let item = Item { feature, code };
        ProfileItem { item, uv: 10, share: 0.25, base_share: 0.0625, index: 400.0, z, q: 0.0 }
    }

    #[test]
    fn items_of_one_feature_are_told_together_and_bands_that_touch_are_one() {
        let band = |low, high| ItemValue::Range { low, high };
        let text = |text: &str| ItemValue::Text(text.into());
        let ages = vec![
            band(None, Some(30.0)),
            band(Some(30.0), Some(40.0)),
            band(Some(40.0), Some(50.0)),
            band(Some(50.0), None),
        ];
        let drops = vec![band(Some(-2.0), Some(0.0)), band(Some(0.0), None), ItemValue::Missing];
        let book = codebook(vec![
            ("month", ["mar", "oct", "sep", "may"].map(text).to_vec()),
            ("age", ages),
            ("channel", ["TA/TO", "direct"].map(text).to_vec()),
            ("drop", drops),
        ]);
        let names = |items: &[ProfileItem]| {
            traits(&book, items.iter()).iter().map(|t| t.name(&book, Language::En)).collect::<Vec<_>>().join(" · ")
        };
        // The fourth month is not told; 9 is less than half of 20.
        let months = [item(0, 1, 20.0), item(0, 2, 19.0), item(0, 0, 18.0), item(0, 3, 17.0), item(2, 1, 9.0)];
        assert_eq!(names(&months), "month=oct/sep/mar");
        assert_eq!(traits(&book, months.iter())[0].share, 0.75);
        assert_eq!(names(&[item(1, 2, 20.0), item(1, 1, 15.0)]), "age 30–50");
        assert_eq!(names(&[item(1, 3, 20.0), item(1, 1, 15.0)]), "age 30–40/≥50");
        assert_eq!(names(&[item(1, 1, 20.0), item(1, 0, 15.0)]), "age <40");
        assert_eq!(
            names(&[item(3, 0, 20.0), item(2, 0, 15.0), item(2, 1, 12.0)]),
            "drop [-2,0) · channel=TA/TO | direct"
        );
        assert_eq!(names(&[item(3, 2, 20.0), item(3, 1, 15.0)]), "drop=≥0/(missing)");
        assert_eq!(names(&[]), "");
        // Of whole numbers a band says what is in it, and one that holds but one number is it.
        let mut counted = codebook(vec![(
            "calls",
            vec![band(None, Some(1.0)), band(Some(1.0), Some(2.0)), band(Some(2.0), Some(4.5)), band(Some(4.5), None)],
        )]);
        (counted.features[0].whole, counted.features[0].lone) = (true, Some(0));
        let calls = |codes: &[u16]| {
            let own = Trait { feature: 0, codes: codes.to_vec(), share: 0.0, base_share: 0.0 };
            own.name(&counted, Language::En)
        };
        assert_eq!(
            [calls(&[0]), calls(&[1]), calls(&[2]), calls(&[3])],
            ["calls=0", "calls=1", "calls 2–4", "calls ≥4.5"]
        );
        assert_eq!([calls(&[0, 1]), calls(&[1, 2]), calls(&[0, 2])], ["calls <2", "calls 1–4", "calls=0/2–4"]);
        // No more digits than a reader needs, and as many as tell the ends apart.
        let said = [402.1666667, 0.0000273, 12345.678, 31.0, -0.05837037].map(few_digits);
        assert_eq!(said, ["402.2", "0.0000273", "12346", "31", "-0.05837"]);
        assert_eq!(ends(counted.feature(0), 1.0, 3.0), ["1", "2"]);
        let other = codebook(vec![("x", Vec::new())]);
        assert_eq!(ends(other.feature(0), 402.16661, 402.16662), ["402.16661", "402.16662"]);
        // Bands that touch from end to end are everybody: they stay apart.
        let whole = codebook(vec![("a", vec![band(None, Some(1.0)), band(Some(1.0), None)])]);
        assert_eq!(traits(&whole, [item(0, 0, 3.0), item(0, 1, 2.0)].iter())[0].name(&whole, Language::En), "a <1/≥1");
    }
}
