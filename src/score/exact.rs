//! Differences of products of sums, exact until they become one float.

/// `a * b - c * d`, rounded once.
///
/// The measures are made of such differences (of a segment's sum times the base's customers, for instance), and both
/// products agree in most digits when a segment is near the base: formed in floats, those digits would be lost, and
/// the impacts of a partition would not sum to zero.
///
/// Domain: every argument above `i128::MIN`.
pub(crate) fn product_difference(a: i128, b: i128, c: i128, d: i128) -> f64 {
    if let (Some(left), Some(right)) = (a.checked_mul(b), c.checked_mul(d))
        && let Some(difference) = left.checked_sub(right)
    {
        return difference as f64;
    }
    let (left_high, left_low) = wide_product(a, b);
    let (right_high, right_low) = wide_product(c, d);
    let (low, borrow) = left_low.overflowing_sub(right_low);
    // Two products below 2^254 each: their difference fits 256 signed bits.
    let high = left_high - right_high - i128::from(borrow);
    to_float(high, low)
}

/// The product in 256 bits, two's complement: high half, low half.
fn wide_product(a: i128, b: i128) -> (i128, u128) {
    const HALF: u128 = u64::MAX as u128;
    let (x, y) = (a.unsigned_abs(), b.unsigned_abs());
    let (x1, x0, y1, y0) = (x >> 64, x & HALF, y >> 64, y & HALF);
    let (low, left, right) = (x0 * y0, x1 * y0, x0 * y1);
    let middle = (low >> 64) + (left & HALF) + (right & HALF);
    let high = x1 * y1 + (left >> 64) + (right >> 64) + (middle >> 64);
    let low = middle << 64 | low & HALF;
    if (a < 0) == (b < 0) { (high as i128, low) } else { negate(high as i128, low) }
}

fn negate(high: i128, low: u128) -> (i128, u128) {
    let low = (!low).wrapping_add(1);
    (!high + i128::from(low == 0), low)
}

fn to_float(high: i128, low: u128) -> f64 {
    let negative = high < 0;
    let (high, low) = if negative { negate(high, low) } else { (high, low) };
    let magnitude = high as f64 * 2f64.powi(128) + low as f64;
    if negative { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn products_beyond_128_bits_keep_the_digits_in_which_they_differ() {
        // (10^30 + 1) * 10^30 - 10^30 * 10^30 = 10^30, of products near 10^60.
        let e30 = 10i128.pow(30);
        assert_eq!(product_difference(e30 + 1, e30, e30, e30), 1e30);
        assert_eq!(product_difference(e30, e30, e30 + 1, e30), -1e30);
        assert_eq!(product_difference(-e30, e30 + 1, e30, -e30), -1e30);
        assert_eq!(product_difference(e30, e30, 0, 7), 1e60);
        assert_eq!(product_difference(-e30, e30, 0, 7), -1e60);
    }

    proptest! {
        #[test]
        fn wide_products_agree_with_128_bits_where_those_suffice(
            a in -(1i128 << 62)..1 << 62, b in -(1i128 << 62)..1 << 62,
        ) {
            let product = a * b;
            prop_assert_eq!(wide_product(a, b), (if product < 0 { -1 } else { 0 }, product as u128));
        }

        #[test]
        fn a_common_factor_scales_the_difference(
            a in -1i128 << 60..1 << 60, b in -1i128 << 60..1 << 60, c in -1i128 << 60..1 << 60, d in -1i128 << 60..1 << 60,
        ) {
            // A power of two moves the binary point and nothing else, so the wide path must round to the same digits.
            let narrow = product_difference(a, b, c, d);
            let wide = product_difference(a << 60, b << 60, c << 60, d << 60);
            prop_assert!((wide - narrow * 2f64.powi(120)).abs() <= narrow.abs() * 2f64.powi(120) * 4e-16);
        }
    }
}
