//! A table of which only the upper part is left: a merge that goes on in steps has taken over what lies below a key.

use alloc::sync::Arc;

use lsm_types::{Cut, KeyOrder, KeyRange, Slice, ValueReferences};

use crate::{ManifestError, TableDescriptor};

/// What is left of a table. Its file stays as it is but for bytes in front that were given back.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Restriction {
    /// Entries and range tombstones below this key do not belong to the table any more.
    pub lower: Slice,
    /// About how many entries are left; at most as many as the file has.
    pub entries: u64,
    /// Bytes right behind the head of the file that nobody reads any more: whole blocks, all of them below `lower`.
    pub consumed_bytes: u64,
}

impl TableDescriptor {
    /// The table with nothing below the bound of `restriction`.
    ///
    /// * `references`: what of value logs the entries from the bound on refer to.
    ///
    /// # Errors
    /// `Restriction` unless the bound rises, lies within what the table covers, and leaves no more than there was.
    pub fn restricted(
        &self,
        restriction: Restriction,
        references: ValueReferences,
        order: &KeyOrder,
    ) -> Result<Arc<Self>, ManifestError> {
        let start = Cut::Before(restriction.lower.clone());
        let rule = |holds: bool, rule| {
            if holds { Ok(()) } else { Err(ManifestError::Restriction { table: self.id, rule }) }
        };
        rule(self.coverage_start.compare(&start, order).is_lt(), "the bound excludes nothing")?;
        rule(start.compare(&self.coverage_end, order).is_lt(), "the bound leaves nothing")?;
        if let Some(before) = &self.restriction {
            rule(order.compare(&before.lower, &restriction.lower).is_lt(), "the bound does not rise")?;
        }
        rule(restriction.entries <= self.stored_entries(), "entries are left that were not there")?;
        let consumed = self.consumed_bytes()..=self.file_len;
        rule(consumed.contains(&restriction.consumed_bytes), "bytes were consumed that are not there")?;
        let shrinks = self.references.clone().subtract(&references).is_ok();
        rule(shrinks, "values are referred to that were not before")?;
        let entries = self.entries.as_ref().and_then(|range| {
            let is_left = order.compare(&restriction.lower, &range.max).is_le();
            let rises = order.compare(&range.min, &restriction.lower).is_lt();
            let min = if rises { &restriction.lower } else { &range.min }.clone();
            is_left.then(|| KeyRange { min, max: range.max.clone() })
        });
        rule(entries.is_some() || restriction.entries == 0, "entries are left above the largest key")?;
        rule(entries.is_some() || references.is_empty(), "values are left above the largest key")?;
        // Without range tombstones coverage begins where entries do.
        let coverage_start = match &entries {
            Some(range) if self.counts.range_tombstones == 0 => Cut::Before(range.min.clone()),
            _ => start,
        };
        let restriction = Some(restriction);
        Ok(Arc::new(Self { entries, coverage_start, references, restriction, ..self.clone() }))
    }

    /// Whether what is said of a restricted table fits its bound.
    pub(crate) fn fits_restriction(&self, order: &KeyOrder) -> bool {
        self.restriction.as_ref().is_none_or(|restriction| {
            let start = Cut::Before(restriction.lower.clone());
            let is_within = |range: &KeyRange| order.compare(&restriction.lower, &range.min).is_le();
            self.coverage_start.compare(&start, order).is_ge() && self.entries.as_ref().is_none_or(is_within)
        })
    }
}
