//! The total order over user keys.

use alloc::{sync::Arc, vec::Vec};
use core::{cmp::Ordering, fmt, ops::Bound};

use crate::Slice;

/// Total order over user keys. Equal means byte-equal.
pub trait Comparator: Send + Sync + 'static {
    /// Stored with the tree; opening with another name fails.
    fn name(&self) -> &str;

    /// The order.
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering;

    /// Bounds that contain exactly the keys starting with `prefix`, if they are contiguous in this order.
    fn prefix_bounds(&self, prefix: &[u8]) -> Option<(Bound<Slice>, Bound<Slice>)> {
        let _ = prefix;
        None
    }

    /// True only for plain byte order; enables specialised code.
    fn is_bytewise(&self) -> bool {
        false
    }

    /// Writes the shortest `k` with `a <= k < b` to `out`; `false` means no shorter one than `a` exists.
    fn separator(&self, a: &[u8], b: &[u8], out: &mut Vec<u8>) -> bool {
        let _ = (a, b, out);
        false
    }

    /// Writes a short `k >= a` to `out`; `false` means none exists.
    fn successor(&self, a: &[u8], out: &mut Vec<u8>) -> bool {
        let _ = (a, out);
        false
    }
}

/// Plain byte order, the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytewise;

impl Comparator for Bytewise {
    fn name(&self) -> &'static str {
        "lsm.bytewise"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    fn prefix_bounds(&self, prefix: &[u8]) -> Option<(Bound<Slice>, Bound<Slice>)> {
        if prefix.is_empty() {
            return Some((Bound::Unbounded, Bound::Unbounded));
        }
        let lower = Bound::Included(Slice::from(prefix));
        // The first key past the prefix: drop trailing FF bytes, then count the last byte up. All FF has none.
        let kept = prefix.iter().rposition(|&byte| byte != 0xFF);
        let upper = kept.and_then(|at| prefix.get(..=at)).map(|stem| {
            let mut stem = stem.to_vec();
            if let Some(last) = stem.last_mut() {
                *last += 1;
            }
            stem
        });
        Some((lower, upper.map_or(Bound::Unbounded, |key| Bound::Excluded(key.into()))))
    }

    fn is_bytewise(&self) -> bool {
        true
    }

    fn separator(&self, a: &[u8], b: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let shared = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let (Some(&low), Some(&high)) = (a.get(shared), b.get(shared)) else {
            return false; // one is a prefix of the other: nothing shorter than `a` lies between
        };
        if low >= high {
            return false;
        }
        // Count up the first byte that leaves room below `b`; bytes of FF cannot count up.
        if low + 1 < high {
            out.extend(a.get(..shared).unwrap_or_default());
            out.push(low + 1);
        } else {
            let rest = a.get(shared + 1..).unwrap_or_default();
            let Some(skip) = rest.iter().position(|&byte| byte != 0xFF) else { return false };
            let Some(&byte) = rest.get(skip) else { return false };
            out.extend(a.get(..shared + 1 + skip).unwrap_or_default());
            out.push(byte + 1);
        }
        if out.len() < a.len() {
            return true;
        }
        out.clear();
        false
    }

    fn successor(&self, a: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let Some(at) = a.iter().position(|&byte| byte != 0xFF) else { return false };
        let (Some(stem), Some(&byte)) = (a.get(..at), a.get(at)) else { return false };
        out.extend(stem);
        out.push(byte + 1);
        if out.len() < a.len() {
            return true;
        }
        out.clear();
        false
    }
}

/// First eight bytes of `key`, big-endian, padded with zeros.
///
/// In byte order `head_of(a) < head_of(b)` implies `a < b`; equal heads decide nothing.
#[inline]
pub fn head_of(key: &[u8]) -> u64 {
    if let Some(head) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    // Fewer bytes come in two pieces that may overlap: no loop, no call.
    let shift = 64 - 8 * key.len();
    if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        return u64::from(u32::from_be_bytes(*first)) << 32 | u64::from(u32::from_be_bytes(*last)) << shift;
    }
    if let (Some(first), Some(last)) = (key.first_chunk::<2>(), key.last_chunk::<2>()) {
        return u64::from(u16::from_be_bytes(*first)) << 48 | u64::from(u16::from_be_bytes(*last)) << shift;
    }
    key.first().map_or(0, |&byte| u64::from(byte) << 56)
}

/// A comparator resolved once: byte order is compared in line, any other through its trait.
#[derive(Clone)]
pub struct KeyOrder {
    custom: Option<Arc<dyn Comparator>>,
}

impl KeyOrder {
    /// Plain byte order.
    pub const fn bytewise() -> Self {
        Self { custom: None }
    }

    /// The order of `comparator`; recognises byte order by [`Comparator::is_bytewise`].
    pub fn new(comparator: Arc<dyn Comparator>) -> Self {
        Self { custom: (!comparator.is_bytewise()).then_some(comparator) }
    }

    /// The order of `a` and `b`.
    #[inline]
    pub fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        match &self.custom {
            None => a.cmp(b),
            Some(comparator) => comparator.compare(a, b),
        }
    }

    /// A number that orders like the keys where it differs: [`head_of`] in byte order, a constant otherwise.
    #[inline]
    pub fn head(&self, key: &[u8]) -> u64 {
        if self.custom.is_none() { head_of(key) } else { 0 }
    }

    /// Whether this is plain byte order.
    #[inline]
    pub fn is_bytewise(&self) -> bool {
        self.custom.is_none()
    }

    /// The comparator behind it.
    pub fn comparator(&self) -> &dyn Comparator {
        match &self.custom {
            None => &Bytewise,
            Some(comparator) => comparator.as_ref(),
        }
    }
}

impl Default for KeyOrder {
    fn default() -> Self {
        Self::bytewise()
    }
}

impl fmt::Debug for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyOrder({})", self.comparator().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_bounds(prefix: &[u8], upper: Bound<&[u8]>) {
        let (lower, found) = Bytewise.prefix_bounds(prefix).expect("byte order has prefix bounds");
        assert_eq!(lower, Bound::Included(Slice::from(prefix)));
        assert_eq!(found, upper.map(Slice::from));
    }

    /// Proves E-31.
    #[test]
    fn prefix_bounds_carry_over_ff() {
        check_bounds(b"a", Bound::Excluded(b"b"));
        check_bounds(b"a\xff", Bound::Excluded(b"b"));
        check_bounds(b"\xff", Bound::Unbounded);
        check_bounds(b"\xff\xff", Bound::Unbounded);
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xFE), Just(0xFF), any::<u8>()], 1..6)
    }

    proptest! {
        /// Proves F-78.
        /// Fault: formats W-30.
        #[test]
        fn separators_divide(a in key(), b in key()) {
            prop_assume!(a < b);
            let mut out = Vec::new();
            if Bytewise.separator(&a, &b, &mut out) {
                prop_assert!(a <= out && out < b && out.len() < a.len(), "{a:?} {out:?} {b:?}");
            } else {
                prop_assert!(out.is_empty());
            }
        }

        #[test]
        fn successors_are_at_or_above(a in key()) {
            let mut out = Vec::new();
            if Bytewise.successor(&a, &mut out) {
                prop_assert!(out >= a && out.len() < a.len());
            }
        }

        #[test]
        fn heads_are_the_first_bytes(key in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut padded = key.clone();
            padded.resize(key.len().max(8), 0);
            prop_assert_eq!(head_of(&key), u64::from_be_bytes(*padded.first_chunk().unwrap()));
        }

        #[test]
        fn heads_order_like_keys(a in key(), b in key()) {
            if head_of(&a) < head_of(&b) {
                prop_assert!(a < b);
            }
        }
    }
}
