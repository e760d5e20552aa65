//! Keys, values and their order.

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;

/// Bytes of a value.
pub const VALUE_BYTES: usize = 100;

/// A well-spread number for `x`: the finisher of `SplitMix64`.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The key with this number: eight bytes that count, eight bytes of noise.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let (count, noise) = key.split_at_mut(8);
    count.copy_from_slice(&number.to_be_bytes());
    noise.copy_from_slice(&mix(number).to_be_bytes());
    key
}

/// The value of key `number`: half noise, half one repeated byte.
pub fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value.copy_from_slice(&half_random(VALUE_BYTES, number));
    value
}

/// `len` bytes that shrink to about half: pieces of 16 bytes of noise and 16 equal bytes.
pub fn half_random(len: usize, seed: u64) -> Vec<u8> {
    let words = (0..).flat_map(|at: u64| {
        let word = mix(mix(seed).wrapping_add(at)).to_be_bytes();
        if at % 4 < 2 { word } else { [word[0]; 8] }
    });
    words.take(len).collect()
}

/// The numbers below `count`, each once, in an order without a pattern.
pub fn permutation(count: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    numbers.sort_unstable_by_key(|number| mix(u64::from(*number)));
    numbers
}

/// Numbers below `count` without end and without a pattern.
pub fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |at: u64| mix(at) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_with_their_numbers() {
        assert!((0..1000).map(key).is_sorted());
    }

    #[test]
    fn a_permutation_holds_each_number_once() {
        let mut numbers = permutation(1000);
        assert!(!numbers.is_sorted());
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..1000));
    }

    #[test]
    fn values_differ_and_repeat() {
        assert_ne!(value(1), value(2));
        assert_eq!(value(1), value(1));
        assert_eq!(half_random(4096, 3).len(), 4096);
    }
}
