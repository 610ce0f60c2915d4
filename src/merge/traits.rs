//! What sets a group apart, feature by feature, as people would say it.

use crate::encode::{Codebook, ItemValue, OTHER};
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
        values
    }

    /// As a name has it, whatever the language: `month=oct/sep/mar`, `age 30–40`, `tenure <3`. Of more than four values the first three
    /// are said, and that there are more.
    pub fn name(&self, codebook: &Codebook) -> String {
        self.written(codebook, MOST_VALUES)
    }

    /// The same with all values.
    pub fn whole(&self, codebook: &Codebook) -> String {
        self.written(codebook, usize::MAX)
    }

    fn written(&self, codebook: &Codebook, most: usize) -> String {
        let feature = codebook.feature_label(self.feature);
        let values = self.values(codebook);
        let mut labels: Vec<String> = values.iter().map(short).collect();
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

/// A value in few signs, whatever the language: `30–40`, `<3`, `≥365`.
pub fn short(value: &ItemValue) -> String {
    match value {
        ItemValue::Range { low: Some(low), high: Some(high) } if *low >= 0.0 => format!("{low}–{high}"),
        ItemValue::Range { low: Some(low), high: None } => format!("≥{low}"),
        value => Codebook::value_label(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Feature;

    fn codebook(features: Vec<(&str, Vec<ItemValue>)>) -> Codebook {
        let feature = |(name, items): (&str, Vec<ItemValue>)| Feature {
            name: name.into(),
            column: name.into(),
            uv: vec![0; items.len()],
            items,
            rest: false,
            tags: None,
            null_values: Vec::new(),
            completed: None,
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
            traits(&book, items.iter()).iter().map(|t| t.name(&book)).collect::<Vec<_>>().join(" · ")
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
        // Bands that touch from end to end are everybody: they stay apart.
        let whole = codebook(vec![("a", vec![band(None, Some(1.0)), band(Some(1.0), None)])]);
        assert_eq!(traits(&whole, [item(0, 0, 3.0), item(0, 1, 2.0)].iter())[0].name(&whole), "a <1/≥1");
    }
}
