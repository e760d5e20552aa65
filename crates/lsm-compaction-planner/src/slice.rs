//! How large a slice of a merge may be when there is no room for the whole.
//!
//! A merge that is carried out slice by slice gives its inputs back as it goes. What it takes at any time is the slice
//! under way, and the one before whose inputs readers may still hold: so a slice is half of what there is.

use crate::{Shortage, Space};

/// Bounds of what one slice writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceLimits {
    /// Bytes of the smallest slice that is worth its while; no smaller one is begun.
    pub min_bytes: u64,
    /// Bytes of the largest.
    pub max_bytes: u64,
    /// What a slice takes besides entries: metadata of its table, and the edit.
    pub extra_bytes: u64,
}

/// What a slice may write before it gives anything back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceBudget {
    /// Bytes it aims at.
    pub target_bytes: u64,
    /// Bytes it must not pass, for slices that cannot end just anywhere.
    pub most_bytes: u64,
    /// What stands against more.
    pub binding: Shortage,
}

impl Space {
    /// What the next slice of a merge into tables may write, from what is there now.
    ///
    /// It is half of what the binding constraint leaves, of quota and free bytes without the reserve, within `limits`.
    ///
    /// * `reclaims`: the merge is known to leave less than it takes, so it may use the reserve.
    ///
    /// # Errors
    /// The constraint that leaves less than the smallest slice.
    pub fn slice(&self, limits: SliceLimits, reclaims: bool) -> Result<SliceBudget, Shortage> {
        let quota = self.limit_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.used_bytes));
        let free = self.tables.free_bytes.unwrap_or(u64::MAX);
        let kept = free.saturating_sub(self.reserve_bytes);
        let least = limits.min_bytes.saturating_add(limits.extra_bytes);
        if quota < least {
            return Err(Shortage::Quota);
        }
        if free < least {
            return Err(Shortage::Volume);
        }
        if kept < least && !reclaims {
            return Err(Shortage::Reserve);
        }
        let most_bytes = quota.min(kept.max(least)) - limits.extra_bytes;
        let binding = if quota <= kept { Shortage::Quota } else { Shortage::Volume };
        let max_bytes = limits.max_bytes.max(limits.min_bytes);
        let target_bytes = (most_bytes / 2).clamp(limits.min_bytes, max_bytes);
        Ok(SliceBudget { target_bytes, most_bytes, binding })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Volume;

    const LIMITS: SliceLimits = SliceLimits { min_bytes: 80, max_bytes: 1_000, extra_bytes: 20 };

    fn space(quota: Option<u64>, free: Option<u64>, reserve_bytes: u64) -> Space {
        let tables = Volume { id: None, free_bytes: free };
        // A quota of so many bytes above what is used.
        let limit_bytes = quota.map(|quota| quota + 5_000);
        Space { limit_bytes, used_bytes: 5_000, reserve_bytes, tables, values: tables }
    }

    #[track_caller]
    fn check(quota: Option<u64>, free: Option<u64>, reclaims: bool, expected: Result<u64, Shortage>) {
        let budget = space(quota, free, 50).slice(LIMITS, reclaims);
        assert_eq!(budget.map(|budget| budget.target_bytes), expected);
    }

    /// Proves C-123, D-125: half of what is free beyond the reserve, within the limits; the quota binds where it is
    /// tighter than the disk; no slice is begun that would be smaller than the smallest. Fault: compaction W-19.
    #[test]
    fn a_slice_is_half_of_what_the_tighter_bound_leaves() {
        check(None, None, false, Ok(1_000));
        check(None, Some(1_070), false, Ok(500));
        check(None, Some(10_000), false, Ok(1_000));
        check(Some(620), Some(10_000), false, Ok(300));
        check(Some(620), None, false, Ok(300));
        check(Some(10_000), Some(470), false, Ok(200));
        check(None, Some(150), false, Ok(80));
        check(None, Some(149), false, Err(Shortage::Reserve));
        check(None, Some(149), true, Ok(80));
        check(None, Some(99), true, Err(Shortage::Volume));
        check(Some(99), None, true, Err(Shortage::Quota));
        check(Some(100), None, false, Ok(80));
    }

    proptest! {
        /// Proves C-123, C-136: two slices fit into what is there, unless even two of the smallest do not.
        #[test]
        fn two_slices_fit(
            (quota, free) in any::<(Option<u32>, Option<u32>)>(),
            (reserve, min, extra) in any::<(u16, u16, u16)>(),
            max: u32,
            reclaims: bool,
        ) {
            let (quota, free) = (quota.map(u64::from), free.map(u64::from));
            let (min_bytes, max_bytes, extra_bytes) = (min.into(), max.into(), extra.into());
            let limits = SliceLimits { min_bytes, max_bytes, extra_bytes };
            let space = space(quota, free, reserve.into());
            let there = quota.unwrap_or(u64::MAX).min(free.unwrap_or(u64::MAX));
            if let Ok(budget) = space.slice(limits, reclaims) {
                prop_assert!(budget.target_bytes <= budget.most_bytes);
                prop_assert!(budget.most_bytes.saturating_add(extra_bytes) <= there);
                prop_assert!(budget.target_bytes >= limits.min_bytes);
                let two = budget.target_bytes.saturating_mul(2);
                prop_assert!(two <= budget.most_bytes || budget.target_bytes == limits.min_bytes);
                if !reclaims {
                    let kept = free.unwrap_or(u64::MAX).saturating_sub(reserve.into());
                    prop_assert!(budget.most_bytes <= kept - extra_bytes);
                }
            }
        }
    }
}
