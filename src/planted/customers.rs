//! What planted customers are like: features with skewed shares that depend on a hidden kind of customer, in two languages
//! or with as many items each as were asked for.

use super::draw::{Draws, mix};
use crate::job::Language;

/// A word in English and in Chinese.
type Word = (&'static str, &'static str);

fn word(word: Word, language: Language) -> &'static str {
    match language {
        Language::En => word.0,
        Language::Zh => word.1,
    }
}

pub const ID: Word = ("customer_id", "客户编号");
pub const CONVERTED: Word = ("converted", "是否转化");
pub const SPEND: Word = ("spend", "消费金额");
pub const VISITS: Word = ("visits", "访问次数");
const AGE: Word = ("age", "年龄");
const GENDER: Word = ("gender", "性别");

/// A column's name.
pub fn name(column: Word, language: Language) -> String {
    word(column, language).to_owned()
}

pub fn age_name(language: Language) -> String {
    name(AGE, language)
}

/// The text features before the generated ones, the most frequent value first; age is put at [`AGE_PLACE`].
const TEXTS: [(Word, &[Word]); 11] = [
    (
        ("channel", "渠道"),
        &[
            ("app", "应用"),
            ("mini program", "小程序"),
            ("website", "官网"),
            ("store", "门店"),
            ("live stream", "直播"),
            ("partner", "合作方"),
            ("phone", "电话"),
        ],
    ),
    (
        ("city_tier", "城市等级"),
        &[
            ("tier 3", "三线"),
            ("tier 2", "二线"),
            ("new tier 1", "新一线"),
            ("tier 4", "四线"),
            ("tier 1", "一线"),
            ("tier 5", "五线"),
        ],
    ),
    (
        ("membership", "会员等级"),
        &[
            ("none", "非会员"),
            ("bronze", "铜牌"),
            ("silver", "银牌"),
            ("gold", "金牌"),
            ("platinum", "白金"),
            ("diamond", "钻石"),
        ],
    ),
    (("device", "设备"), &[("android", "安卓"), ("ios", "苹果"), ("computer", "电脑"), ("tablet", "平板")]),
    (GENDER, &[("female", "女"), ("male", "男")]),
    (
        ("region", "地区"),
        &[
            ("east", "华东"),
            ("south", "华南"),
            ("north", "华北"),
            ("central", "华中"),
            ("southwest", "西南"),
            ("northeast", "东北"),
            ("northwest", "西北"),
        ],
    ),
    (
        ("last_order", "最近下单"),
        &[
            ("8 to 30 days", "8至30天"),
            ("31 to 90 days", "31至90天"),
            ("within 7 days", "7天内"),
            ("91 to 180 days", "91至180天"),
            ("over 180 days", "180天以上"),
        ],
    ),
    (
        ("orders_band", "订单数"),
        &[
            ("1 order", "1单"),
            ("2 to 3 orders", "2至3单"),
            ("no order", "无订单"),
            ("4 to 9 orders", "4至9单"),
            ("10 orders or more", "10单及以上"),
        ],
    ),
    (("coupon_use", "用券习惯"), &[("rarely", "很少"), ("never", "从不"), ("often", "经常"), ("always", "总是")]),
    (
        ("payment", "支付方式"),
        &[
            ("wallet", "电子钱包"),
            ("card", "银行卡"),
            ("instalments", "分期"),
            ("bank transfer", "转账"),
            ("cash on delivery", "货到付款"),
        ],
    ),
    (
        ("app_version", "应用版本"),
        &[
            ("v9.2", "9.2版"),
            ("v9.1", "9.1版"),
            ("v9.0", "9.0版"),
            ("v8.9", "8.9版"),
            ("v8.8", "8.8版"),
            ("v8.0", "8.0版"),
        ],
    ),
];

/// Where age stands among the features of a shop.
const AGE_PLACE: usize = 1;

/// Features with names of their own; the others are `trait_13` and so on.
const NAMED: usize = TEXTS.len() + 1;

const TRAIT_ITEMS: [Word; 10] = [
    ("a", "甲"),
    ("b", "乙"),
    ("c", "丙"),
    ("d", "丁"),
    ("e", "戊"),
    ("f", "己"),
    ("g", "庚"),
    ("h", "辛"),
    ("i", "壬"),
    ("j", "癸"),
];

/// Ages from the first to the second, both included, and how many in a hundred are about that old.
const AGES: [(u64, u64, u64); 8] =
    [(18, 19, 4), (20, 29, 24), (30, 39, 25), (40, 49, 18), (50, 59, 13), (60, 69, 9), (70, 79, 5), (80, 90, 2)];

/// The code of the ages from 30 to 39.
pub const THIRTIES: u16 = 2;

/// Hidden kinds of customers, in percent: what makes features hang together.
const KINDS: [u64; 4] = [40, 30, 20, 10];

/// The code of a customer without a value.
pub const NULL: u16 = u16::MAX;

/// Of a hundred customers, how many have not said their gender.
const NULL_PERCENT: u64 = 3;

/// What a draw is for; smaller numbers are the features' own.
mod purpose {
    pub const KIND: u64 = 1000;
    pub const YEAR: u64 = 1001;
    pub const NULL: u64 = 1002;
    pub const ID: u64 = 1003;
    pub const CONVERTED: u64 = 1004;
    pub const SPEND: u64 = 1005;
    pub const BASKET: u64 = 1006;
    pub const REFUND: u64 = 1007;
    pub const VISITS: u64 = 1008;
}

/// One feature of the table.
#[derive(Clone, Debug)]
pub struct Feature {
    pub name: String,
    /// What the codes mean, as a table has them; age bands as a job with bands of ten years labels them.
    pub items: Vec<String>,
    /// Whether an item may be part of a niche: the outer age bands have labels that depend on the table. Items beyond the
    /// list may not, as they are too rare.
    pub plantable: Vec<bool>,
    /// Whether the table has whole years instead of the items, which are bands of ten.
    pub is_age: bool,
    nullable: bool,
    /// For each kind of customer, the running sums of the items' weights.
    running: Vec<Vec<u64>>,
}

/// The features of a shop's table of this width, in table order.
pub fn features(count: usize, language: Language) -> Vec<Feature> {
    (0..count).map(|place| feature(place, language)).collect()
}

fn feature(place: usize, language: Language) -> Feature {
    if place == AGE_PLACE {
        let items: Vec<String> =
            AGES.iter().map(|(low, _, _)| format!("[{},{})", low / 10 * 10, low / 10 * 10 + 10)).collect();
        let inner = |&(low, _, _): &(u64, u64, u64)| (20..70).contains(&low);
        return Feature {
            name: age_name(language),
            items,
            plantable: AGES.iter().map(inner).collect(),
            is_age: true,
            nullable: false,
            running: running(&AGES.map(|(_, _, weight)| weight * 100), taste(place)),
        };
    }
    let (name, words, nullable) = if place < NAMED {
        let (name, words) = TEXTS[place - usize::from(place > AGE_PLACE)];
        (word(name, language).to_owned(), words, name == GENDER)
    } else {
        let name = word(("trait", "特征"), language);
        // 3 to 10 items; 3 has no factor in common with 8, so neighbours differ.
        (format!("{name}_{}", place + 1), &TRAIT_ITEMS[..3 + place * 3 % 8], false)
    };
    // Zipf's law with exponent 1.
    let weights: Vec<u64> = (1..=words.len() as u64).map(|rank| 10_000 / rank).collect();
    Feature {
        name,
        items: words.iter().map(|&item| word(item, language).to_owned()).collect(),
        plantable: vec![true; words.len()],
        is_age: false,
        nullable,
        running: running(&weights, taste(place)),
    }
}

/// Items of a feature with a given cardinality that may be part of a niche, the most frequent ones: of a feature with
/// thousands of items nearly all are rarer than a niche.
const MOST_PLANTABLE: usize = 64;

/// Features with these numbers of items, in table order: `f00` with `v0`, `v1` and so on, in every language.
pub fn features_with(cardinalities: &[usize]) -> Vec<Feature> {
    let feature = |(place, &items): (usize, &usize)| {
        // Zipf's law with exponent 1, down to the last of 60,000 items.
        let weights: Vec<u64> = (1..=items as u64).map(|rank| 1_000_000_000_000 / rank).collect();
        let taste = |kind: usize, item: usize| 60 + mix(mix((place * KINDS.len() + kind) as u64) ^ item as u64) % 100;
        Feature {
            name: format!("f{place:02}"),
            items: (0..items).map(|item| format!("v{item}")).collect(),
            plantable: vec![true; items.min(MOST_PLANTABLE)],
            is_age: false,
            nullable: false,
            running: running(&weights, taste),
        }
    };
    cardinalities.iter().enumerate().map(feature).collect()
}

/// Each kind of customer has its own taste: an item's weight is 60 to 159 percent of what it is in general.
fn taste(place: usize) -> impl Fn(usize, usize) -> u64 {
    move |kind, item| 60 + mix((place * 1000 + kind * 100 + item) as u64) % 100
}

/// For each kind of customer, the running sums of the items' weights times the kind's taste in percent.
fn running(weights: &[u64], taste: impl Fn(usize, usize) -> u64) -> Vec<Vec<u64>> {
    (0..KINDS.len())
        .map(|kind| {
            let mut sum = 0;
            let add = |(item, weight): (usize, &u64)| {
                sum += weight * taste(kind, item);
                sum
            };
            weights.iter().enumerate().map(add).collect()
        })
        .collect()
}

/// The item whose part of the running sums a draw falls into.
fn pick(running: &[u64], draws: Draws, purpose: u64) -> u16 {
    let total = *running.last().expect("every feature has items");
    let drawn = draws.below(purpose, total);
    running.partition_point(|&sum| sum <= drawn) as u16
}

/// Customers in a row, column by column, without their metrics.
pub struct Customers {
    pub draws: Vec<Draws>,
    pub ids: Vec<i64>,
    /// Nothing in a table without that feature.
    pub ages: Vec<i64>,
    /// By feature.
    pub codes: Vec<Vec<u16>>,
}

/// The customers of some rows of the table with this seed.
pub fn customers(features: &[Feature], seed: u64, rows: std::ops::Range<u64>) -> Customers {
    let draws: Vec<Draws> = rows.clone().map(|row| Draws::of(seed, row)).collect();
    // One of every seven numbers: all differ, and nobody can take them for row numbers.
    let ids = rows.zip(&draws).map(|(row, d)| (10_000_000 + row * 7 + d.below(purpose::ID, 7)) as i64).collect();
    let mut share = 0;
    let kinds_running = KINDS.map(|percent| {
        share += percent;
        share
    });
    let kinds: Vec<u16> = draws.iter().map(|&d| pick(&kinds_running, d, purpose::KIND)).collect();
    let codes: Vec<Vec<u16>> = features
        .iter()
        .enumerate()
        .map(|(place, feature)| {
            let code = |(&draws, &kind): (&Draws, &u16)| {
                if feature.nullable && draws.below(purpose::NULL, 100) < NULL_PERCENT {
                    return NULL;
                }
                pick(&feature.running[usize::from(kind)], draws, place as u64)
            };
            draws.iter().zip(&kinds).map(code).collect()
        })
        .collect();
    let age = |(&draws, &code): (&Draws, &u16)| {
        let (low, high, _) = AGES[usize::from(code)];
        (low + draws.below(purpose::YEAR, high - low + 1)) as i64
    };
    let bands = features.iter().zip(&codes).find(|(feature, _)| feature.is_age);
    let ages = bands.map_or(Vec::new(), |(_, codes)| draws.iter().zip(codes).map(age).collect());
    Customers { draws, ids, ages, codes }
}

/// What a customer did: the metric columns.
#[derive(Clone, Copy, Debug)]
pub struct Deeds {
    pub converted: bool,
    /// Hundredths.
    pub spend: i64,
    pub visits: i64,
}

/// Draws what a customer did, who converts with the given probability.
pub fn deeds(draws: Draws, conversion: f64) -> Deeds {
    let converted = draws.chance(purpose::CONVERTED, conversion);
    // The product of two even draws: many small sums, few large ones.
    let basket = 1 + draws.below(purpose::SPEND, 600) * draws.below(purpose::BASKET, 100);
    let spend = match (converted, draws.below(purpose::REFUND, 100)) {
        (_, 0..2) => -(basket as i64),
        (true, _) => basket as i64 + 2000,
        (false, 2..40) => basket as i64,
        (false, _) => 0,
    };
    // One visit more for every further coin that falls the same way: half have one visit, a quarter two, and so on.
    let visits = 1 + i64::from(draws.bits(purpose::VISITS).trailing_ones()) + i64::from(converted);
    Deeds { converted, spend, visits }
}
