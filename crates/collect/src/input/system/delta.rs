//! What two readings of a counter say about the time between them.

/// One past the largest value of a 32-bit counter.
const WRAP: u64 = 1 << 32;

/// How much a counter has grown; absent if it was set back, as when a device was taken out and put in again.
///
/// Many counters have 32 bits even on 64-bit machines (times in `/proc/diskstats`), and begin again at 0. A counter that
/// fell from the upper half of 32 bits to the lower half is taken to have done so.
pub(super) fn growth(before: u64, now: u64) -> Option<u64> {
    if now >= before {
        return Some(now - before);
    }
    let wrapped = (WRAP / 2..WRAP).contains(&before) && now < WRAP / 2;
    let grown = now + WRAP.checked_sub(before)?;
    (wrapped && grown < WRAP / 2).then_some(grown)
}

/// A share with four digits after the point, as much as the engine keeps and no noise.
pub(super) fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// The quotient, or 0 of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_counter_of_64_bits_says_how_much_it_grew(before in 0..u64::MAX / 2, more in 0..u64::MAX / 2) {
            prop_assert_eq!(growth(before, before + more), Some(more));
        }

        #[test]
        fn a_counter_of_32_bits_may_wrap(before: u32, more in 0..u32::MAX / 2) {
            let now = before.wrapping_add(more);
            prop_assert_eq!(growth(u64::from(before), u64::from(now)), Some(u64::from(more)));
        }

        #[test]
        fn nothing_ever_grows_more_than_it_could(before: u64, now: u64) {
            match growth(before, now) {
                Some(more) if now >= before => prop_assert_eq!(before + more, now),
                Some(more) => prop_assert!(more < WRAP / 2 && before < WRAP),
                None => prop_assert!(now < before),
            }
        }
    }

    #[test]
    fn a_counter_that_was_set_back_says_nothing() {
        assert_eq!(growth(1_000, 3), None);
        assert_eq!(growth(u64::MAX, 0), None);
        assert_eq!(ratio(1, 0), 0.0);
        assert_eq!(round(0.123_456), 0.1235);
    }
}
