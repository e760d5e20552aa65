//! Finding a point among bundled keys.
//!
//! In byte order a search strips the block prefix, picks a bundle by the heads of the bundles' first keys, strips
//! the bundle prefix, and picks a row by the heads of suffixes. Whole keys are compared only where heads are equal.
//! Other orders know no prefixes: there keys are assembled, on the stack where they are short.

use alloc::vec::Vec;
use core::{cmp::Ordering, hint::select_unpredictable};

use super::{
    BundledKeys,
    keys::{Bundle, head_at},
};
use crate::{KeyOrder, head_of};

/// Keys up to this length are assembled on the stack.
const STACK_LEN: usize = 256;
/// Up to this many heads are compared one by one.
const LINEAR_MAX: usize = 16;

/// Where a search leads: a key, and which rows of that very key lie before the point.
///
/// `owner` maps a row to the row that stores its key (itself unless the key is a repetition within its bundle);
/// `is_before` says, for a row whose key equals `key`, whether it lies before the point.
#[derive(Clone, Copy, Debug)]
pub struct Point<'k, O, B> {
    /// The key.
    pub key: &'k [u8],
    /// Row to the row that stores its key.
    pub owner: O,
    /// Side of a row with the key.
    pub is_before: B,
}

impl BundledKeys {
    /// First row that does not lie before `point`, given the heads of all bundles; the number of rows if all do.
    #[inline]
    pub fn lower_bound<O, B>(
        &self,
        payload: &[u8],
        bundle_heads: &[u64],
        order: &KeyOrder,
        point: &Point<'_, O, B>,
    ) -> usize
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        if order.is_bytewise() {
            self.lower_bound_bytewise(payload, bundle_heads, point).0
        } else {
            self.lower_bound_custom(payload, order, point)
        }
    }

    /// First row that does not lie before `point`, if it has the point's key. The key is compared, not assembled.
    #[inline]
    pub fn find<O, B>(
        &self,
        payload: &[u8],
        bundle_heads: &[u64],
        order: &KeyOrder,
        point: &Point<'_, O, B>,
    ) -> Option<usize>
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        let (row, rest) = if order.is_bytewise() {
            self.lower_bound_bytewise(payload, bundle_heads, point)
        } else {
            (self.lower_bound_custom(payload, order, point), None)
        };
        if row >= self.rows() {
            return None;
        }
        let stored = (point.owner)(row);
        let is_hit = match rest {
            // The prefixes of the row's bundle were held against the key on the way.
            Some((bundle, rest)) => {
                let (start, end) = self.suffix_extent(payload, bundle, stored);
                same(payload.get(start..end).unwrap_or_default(), rest)
            }
            None => self.key_is(payload, stored, point.key),
        };
        is_hit.then_some(row)
    }

    /// The same as [`BundledKeys::lower_bound`] with the head of every row at hand, for keys that are searched more
    /// than they are stored.
    #[inline]
    pub fn lower_bound_by_heads<O, B>(
        &self,
        payload: &[u8],
        row_heads: &[u64],
        order: &KeyOrder,
        point: &Point<'_, O, B>,
    ) -> usize
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        if !order.is_bytewise() {
            return self.lower_bound_custom(payload, order, point);
        }
        let rest = match strip(self.block_prefix(payload), point.key) {
            Ok(rest) => rest,
            Err(Ordering::Less) => return self.rows(),
            Err(_) => return 0,
        };
        let head = head_of(rest);
        let low = heads_below(row_heads, head);
        if row_heads.get(low).is_none_or(|&other| other != head) {
            return low;
        }
        let tied = row_heads.get(low..).unwrap_or_default().partition_point(|&other| other == head);
        partition(low, low + tied, |row| self.is_row_before(payload, row, rest, point))
    }

    /// Whether `row` lies before `point`, with the head of every row at hand.
    #[inline]
    pub fn lies_before<O, B>(
        &self,
        payload: &[u8],
        row_heads: &[u64],
        order: &KeyOrder,
        row: usize,
        point: &Point<'_, O, B>,
    ) -> bool
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        if !order.is_bytewise() {
            let found = self.compare(payload, (point.owner)(row), order, point.key);
            return found.then_with(|| side(point, row)).is_lt();
        }
        let rest = match strip(self.block_prefix(payload), point.key) {
            Ok(rest) => rest,
            Err(order) => return order.is_lt(),
        };
        let head = head_of(rest);
        match row_heads.get(row) {
            Some(other) if *other != head => *other < head,
            _ => self.is_row_before(payload, row, rest, point),
        }
    }

    /// In byte order: the first row that does not lie before `point`; and, when that row lies in the bundle searched,
    /// that bundle and what follows its prefix in the point's key.
    #[inline]
    fn lower_bound_bytewise<'k, O, B>(
        &self,
        payload: &[u8],
        bundle_heads: &[u64],
        point: &Point<'k, O, B>,
    ) -> (usize, Option<(Bundle, &'k [u8])>)
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        let rest = match strip(self.block_prefix(payload), point.key) {
            Ok(rest) => rest,
            Err(Ordering::Less) => return (self.rows(), None),
            Err(_) => return (0, None),
        };
        let head = head_of(rest);
        let mut bundle_idx = heads_below(bundle_heads, head);
        // Bundles whose first key has the very head wanted need a closer look; there is rarely one.
        while bundle_heads.get(bundle_idx) == Some(&head)
            && self.is_row_before(payload, self.rows_of(bundle_idx).start, rest, point)
        {
            bundle_idx += 1;
        }
        // Every first key below `bundle_idx` lies before the point: the answer is in the bundle before.
        let Some(bundle_idx) = bundle_idx.checked_sub(1) else { return (0, None) };
        let rows = self.rows_of(bundle_idx);
        let bundle = self.bundle(payload, bundle_idx);
        let stem = payload.get(bundle.start..bundle.suffixes).unwrap_or_default();
        let rest = match strip(stem, rest) {
            Ok(rest) => rest,
            Err(Ordering::Less) => return (rows.end, None),
            Err(_) => return (rows.start, None),
        };
        let head = head_of(rest);
        let row = partition(rows.start + 1, rows.end, |row| {
            let (start, end) = self.suffix_extent(payload, bundle, (point.owner)(row));
            let other = head_at(payload, start, end);
            if other != head {
                return other < head;
            }
            // Whole suffixes stand in their heads as long as they are short; then the longer one is the larger.
            if end - start <= 8 && rest.len() <= 8 {
                return end - start < rest.len() || (end - start == rest.len() && (point.is_before)(row));
            }
            self.is_tied_row_before(payload, row, rest, point)
        });
        (row, (row < rows.end).then_some((bundle, rest)))
    }

    /// Whether `row`, whose suffix has the head of `rest`, lies before `point`.
    #[inline(never)]
    fn is_tied_row_before<O, B>(
        &self,
        payload: &[u8],
        row: usize,
        rest: &[u8],
        point: &Point<'_, O, B>,
    ) -> bool
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        match self.suffix(payload, (point.owner)(row)).cmp(rest) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => (point.is_before)(row),
        }
    }

    /// Whether `row` lies before `point`, in byte order; `rest` is the point's key without the block prefix.
    #[inline(never)]
    fn is_row_before<O, B>(&self, payload: &[u8], row: usize, rest: &[u8], point: &Point<'_, O, B>) -> bool
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        let stored = (point.owner)(row);
        let order = match strip(self.bundle_prefix(payload, stored), rest) {
            Ok(rest) => self.suffix(payload, stored).cmp(rest),
            Err(order) => order,
        };
        order.then_with(|| side(point, row)).is_lt()
    }

    #[cold]
    fn lower_bound_custom<O, B>(&self, payload: &[u8], order: &KeyOrder, point: &Point<'_, O, B>) -> usize
    where
        O: Fn(usize) -> usize,
        B: Fn(usize) -> bool,
    {
        partition(0, self.rows(), |row| {
            let found = self.compare(payload, (point.owner)(row), order, point.key);
            found.then_with(|| side(point, row)).is_lt()
        })
    }

    /// The order of the key stored at `row` and `key`.
    pub fn compare(&self, payload: &[u8], row: usize, order: &KeyOrder, key: &[u8]) -> Ordering {
        let parts = [self.block_prefix(payload), self.bundle_prefix(payload, row), self.suffix(payload, row)];
        if let [[], [], suffix] = parts {
            return order.compare(suffix, key);
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut stack = [0_u8; STACK_LEN];
        if len <= STACK_LEN {
            let mut at = 0;
            for part in parts {
                if let Some(target) = stack.get_mut(at..at + part.len()) {
                    target.copy_from_slice(part);
                }
                at += part.len();
            }
            return order.compare(stack.get(..len).unwrap_or_default(), key);
        }
        let whole: Vec<u8> = parts.concat();
        order.compare(&whole, key)
    }
}

fn side<O, B: Fn(usize) -> bool>(point: &Point<'_, O, B>, row: usize) -> Ordering {
    if (point.is_before)(row) { Ordering::Less } else { Ordering::Equal }
}

/// `key` without `prefix`; otherwise how keys that start with `prefix` compare to `key`.
#[inline]
fn strip<'k>(prefix: &[u8], key: &'k [u8]) -> Result<&'k [u8], Ordering> {
    match key.split_at_checked(prefix.len()) {
        Some((start, rest)) if same(prefix, start) => Ok(rest),
        // A key that is a proper start of the prefix lies below every key with the prefix.
        _ => Err(prefix.cmp(key)),
    }
}

/// Whether `a` and `b` are equal; short slices without a call, in overlapping pieces.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.len() > 16 {
        return a == b;
    }
    if let (Some(a0), Some(b0), Some(a1), Some(b1)) =
        (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>())
    {
        return a0 == b0 && a1 == b1;
    }
    if let (Some(a0), Some(b0), Some(a1), Some(b1)) =
        (a.first_chunk::<4>(), b.first_chunk::<4>(), a.last_chunk::<4>(), b.last_chunk::<4>())
    {
        return a0 == b0 && a1 == b1;
    }
    a.iter().zip(b).all(|(x, y)| x == y)
}

/// Number of heads below `head`; `heads` ascend.
#[inline]
fn heads_below(heads: &[u64], head: u64) -> usize {
    // Few heads are compared faster than they are bisected: the compares do not wait for each other.
    if heads.len() <= LINEAR_MAX {
        return heads.iter().map(|&other| usize::from(other < head)).sum();
    }
    heads.partition_point(|&other| other < head)
}

/// First number in `low..high` for which `is_before` is false; `high` if there is none.
#[inline]
fn partition(mut low: usize, high: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let mut len = high.saturating_sub(low);
    while len > 0 {
        let half = len / 2;
        // The outcome is a coin toss, so it must not become a branch.
        let before = is_before(low + half);
        low = select_unpredictable(before, low + half + 1, low);
        len = select_unpredictable(before, len - half - 1, half);
    }
    low
}
