//! What several tests of this module begin with.

use super::Group;
use crate::encode::{Codebook, Feature, ItemValue};
use crate::highlight::Direction;
use crate::score::measures;
use crate::segment::{Item, Segment};
use crate::stats::{MetricKind, Scale, Stats};

/// Features `f0`, `f1` and so on, of so many whole numbers each.
pub fn codebook(items: &[usize]) -> Codebook {
    let feature = |(number, &items): (usize, &usize)| Feature {
        name: format!("f{number}"),
        column: format!("f{number}"),
        items: (0..items as i64).map(ItemValue::Int).collect(),
        uv: vec![0; items],
        ..Feature::default()
    };
    Codebook { features: items.iter().enumerate().map(feature).collect() }
}

/// Of features and codes.
pub fn segment(items: &[(u16, u16)]) -> Segment {
    Segment::of_items(&items.iter().map(|&(feature, code)| Item { feature, code }).collect::<Vec<_>>())
}

/// A group of nobody.
pub fn group(id: u32) -> Group {
    Group {
        id,
        direction: Direction::Over,
        name: String::new(),
        named: Vec::new(),
        segments: Vec::new(),
        taken: Vec::new(),
        stats: Stats::default(),
        measures: measures(MetricKind::Rate, Scale::default(), &Stats::default(), &Stats::default()),
        validation: None,
        test: None,
        validation_test: None,
        short: Default::default(),
        secondary: Vec::new(),
        profile: Vec::new(),
    }
}
