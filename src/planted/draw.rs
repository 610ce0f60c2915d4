//! Numbers that look random and are a function of a seed, a row and a purpose: the same on every machine, in any order.

/// The golden ratio's fraction in 64 bits, the step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function (Steele, Lea and Flood, 2014): every input bit moves every output bit.
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The numbers of one row, or of one sequence of choices.
#[derive(Clone, Copy, Debug)]
pub struct Draws(u64);

impl Draws {
    pub fn of(seed: u64, row: u64) -> Draws {
        Draws(mix(mix(seed) ^ row.wrapping_mul(STEP)))
    }

    /// 64 even bits for a purpose.
    pub fn bits(self, purpose: u64) -> u64 {
        mix(self.0.wrapping_add(purpose.wrapping_mul(STEP)))
    }

    /// Evenly from `0..bound`, but for a bias below `bound / 2^64` (Lemire, 2019).
    pub fn below(self, purpose: u64, bound: u64) -> u64 {
        ((u128::from(self.bits(purpose)) * u128::from(bound)) >> 64) as u64
    }

    /// True with this probability, which is cut to 53 bits.
    pub fn chance(self, purpose: u64, probability: f64) -> bool {
        ((self.bits(purpose) >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_is_the_published_generator() {
        // The first outputs of SplitMix64 seeded with 1234567 (Rosetta Code, "Pseudo-random numbers/Splitmix64").
        let states = [1_234_567u64, 1_234_567u64.wrapping_add(STEP)];
        assert_eq!(states.map(mix), [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn draws_keep_to_their_bound_and_chance() {
        let draws: Vec<Draws> = (0..10_000).map(|row| Draws::of(7, row)).collect();
        assert!(draws.iter().all(|d| d.below(1, 6) < 6));
        let yes = draws.iter().filter(|d| d.chance(2, 0.25)).count();
        // Six standard deviations of a binomial of 10,000 at 0.25 are 260.
        assert!((2240..=2760).contains(&yes), "{yes}");
    }
}
