//! Where the niches are: conjunctions of items that are small, of several sizes, and out of each other's way in the table.

use super::customers::{Customers, Feature, THIRTIES};
use super::draw::Draws;
use crate::highlight::Direction;

/// The share of the customers that converts.
pub const BASE: f64 = 0.08;

/// uv share of a niche, least and most.
pub const SHARES: [f64; 2] = [0.003, 0.03];

/// Lift of the over-performers, from the largest to the smallest of them, so that small ones can be made out too.
const OVER: [f64; 2] = [3.2, 5.8];
/// Lift of the under-performers, from the smallest to the largest.
const UNDER: [f64; 2] = [0.22, 0.33];

/// uv shares aimed at. Far enough inside [`SHARES`] that chance cannot lead out of them: 0.004 of 20,000 customers
/// are chosen where all are counted, and of the sample of a larger table the estimate is off by 0.0001.
const OVER_SHARES: [f64; 2] = [0.004, 0.013];
/// Few conversions less can only be told from chance where many were to be expected.
const UNDER_SHARES: [f64; 2] = [0.013, 0.026];

/// Share of the conversions that over-performers have together at the most. The remaining customers are below the base
/// mean by what the niches are above it, and must not themselves look like under-performers.
const MOST_CONVERSIONS: f64 = 0.45;

/// Conjunctions tried for a niche.
const TRIES: u64 = 40_000;

/// Share of the smaller niche's customers that are also in the other.
const MOST_OVERLAP: f64 = 0.05;

/// Every segment got by dropping an item has at least this many times the niche's customers: it is far less of a niche.
const LEAST_PARENT: f64 = 2.0;

/// A niche as planted.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Places of features and codes of items, in table order.
    pub items: Vec<(usize, u16)>,
    pub direction: Direction,
    /// Probability of conversion.
    pub conversion: f64,
}

impl Plan {
    pub fn covers(&self, customers: &Customers, row: usize) -> bool {
        self.items.iter().all(|&(feature, code)| customers.codes[feature][row] == code)
    }
}

/// Niches, and the probability of conversion of everybody else.
pub struct Plans {
    pub niches: Vec<Plan>,
    pub elsewhere: f64,
}

/// One bit a customer.
type Bits = Vec<u64>;

fn common<'a>(parts: impl Iterator<Item = &'a Bits>) -> Bits {
    parts.fold(Bits::new(), |all, bits| match all.is_empty() {
        true => bits.clone(),
        false => all.iter().zip(bits).map(|(a, b)| a & b).collect(),
    })
}

fn size(bits: &Bits) -> f64 {
    bits.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() as f64
}

/// A conjunction with its customers in the sample.
struct Chosen {
    items: Vec<(usize, u16)>,
    customers: Bits,
    share: f64,
}

/// Chooses niches by trying conjunctions against customers. `Err` has the number that could be placed.
pub fn choose(features: &[Feature], sample: &Customers, niches: usize, seed: u64) -> Result<Plans, usize> {
    let rows = sample.ids.len();
    let bits: Vec<Vec<Bits>> = features
        .iter()
        .zip(&sample.codes)
        .map(|(feature, codes)| {
            let mut items = vec![vec![0u64; rows.div_ceil(64)]; feature.plantable.len()];
            for (row, &code) in codes.iter().enumerate() {
                if let Some(item) = items.get_mut(usize::from(code)) {
                    item[row / 64] |= 1 << (row % 64);
                }
            }
            items
        })
        .collect();
    let (over, under) = (niches - (niches + 1) / 4, (niches + 1) / 4);
    let mean_lift = (OVER[0] + OVER[1]) / 2.0;
    let most_over = OVER_SHARES[1].min(MOST_CONVERSIONS / (over.max(1) as f64 * mean_lift)).max(OVER_SHARES[0] * 1.4);
    let wanted = std::iter::repeat_n((Direction::Over, [OVER_SHARES[0], most_over]), over)
        .chain(std::iter::repeat_n((Direction::Under, UNDER_SHARES), under));
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut plans = Vec::new();
    let (mut covered, mut conversions) = (0.0, 0.0);
    for (number, (direction, shares)) in wanted.enumerate() {
        let draws = |attempt: u64| Draws::of(seed ^ 0x6e69_6368, number as u64 * TRIES + attempt);
        let found = (0..TRIES).find_map(|attempt| {
            // The first half of the tries keeps niches apart by items, the second only by customers.
            let apart = attempt < TRIES / 2;
            let items = conjunction(features, draws(attempt), number == 0)?;
            fits(&bits, rows as f64, items, shares, &chosen, apart)
        });
        let Some(niche) = found else { return Err(plans.len()) };
        let place = (niche.share - shares[0]) / (shares[1] - shares[0]);
        let lift = match direction {
            Direction::Over => OVER[1] - place * (OVER[1] - OVER[0]),
            Direction::Under => UNDER[0] + place * (UNDER[1] - UNDER[0]),
        };
        covered += niche.share;
        conversions += niche.share * lift;
        plans.push(Plan { items: niche.items.clone(), direction, conversion: BASE * lift });
        chosen.push(niche);
    }
    Ok(Plans { niches: plans, elsewhere: BASE * (1.0 - conversions) / (1.0 - covered) })
}

/// Two or three items over distinct features, in table order; none where an item is not fit.
fn conjunction(features: &[Feature], draws: Draws, of_age: bool) -> Option<Vec<(usize, u16)>> {
    let age = features.iter().position(|feature| of_age && feature.is_age);
    let mut items: Vec<(usize, u16)> = age.map(|place| (place, THIRTIES)).into_iter().collect();
    let level = 2 + draws.below(0, 2) as usize;
    for purpose in (1..).step_by(2).take(level - items.len()) {
        let feature = draws.below(purpose, features.len() as u64) as usize;
        let code = draws.below(purpose + 1, features[feature].plantable.len() as u64) as usize;
        if !features[feature].plantable[code] || items.iter().any(|&(other, _)| other == feature) {
            return None;
        }
        items.push((feature, code as u16));
    }
    items.sort_unstable();
    Some(items)
}

fn fits(
    bits: &[Vec<Bits>],
    rows: f64,
    items: Vec<(usize, u16)>,
    shares: [f64; 2],
    chosen: &[Chosen],
    apart: bool,
) -> Option<Chosen> {
    let shared = |other: &Chosen| items.iter().filter(|item| other.items.contains(item)).count();
    // With at most one item in common none is part of another, and no parent is of two niches.
    if chosen.iter().any(|other| shared(other) > usize::from(!apart)) {
        return None;
    }
    let of = |items: &mut dyn Iterator<Item = &(usize, u16)>| {
        common(items.map(|&(feature, code)| &bits[feature][usize::from(code)]))
    };
    let customers = of(&mut items.iter());
    let uv = size(&customers);
    let share = uv / rows;
    if !(shares[0]..=shares[1]).contains(&share) {
        return None;
    }
    let large = |left_out: usize| {
        let parent = of(&mut items.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, item)| item));
        size(&parent) >= LEAST_PARENT * uv
    };
    let free = |other: &Chosen| {
        size(&common([&customers, &other.customers].into_iter())) <= MOST_OVERLAP * uv.min(size(&other.customers))
    };
    ((0..items.len()).all(large) && chosen.iter().all(free)).then_some(Chosen { items, customers, share })
}
