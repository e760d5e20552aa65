//! The range tombstones of a view, along a walk.

use std::sync::Arc;

use lsm_iter::Coverage;
use lsm_types::{Cut, KeyOrder, Result, SeqNo};

use crate::{deletes::Stretch, super_version::SuperVersion};

/// Answers, key by key, which range tombstone lies over a key; a walk asks about neighbours, so the stretch of keys
/// with the same answer is kept.
pub(crate) struct ViewCoverage {
    /// `None` where there is no range tombstone.
    view: Option<Arc<SuperVersion>>,
    order: KeyOrder,
    last: Option<(SeqNo, Stretch)>,
}

impl ViewCoverage {
    /// # Errors
    /// What opening a table with range tombstones finds.
    pub(crate) fn new(view: &Arc<SuperVersion>, order: &KeyOrder) -> Result<Self> {
        view.load_deletes()?;
        Ok(Self { view: view.has_deletes().then(|| view.clone()), order: order.clone(), last: None })
    }
}

impl Coverage for ViewCoverage {
    #[inline]
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        let Self { view, order, last } = self;
        let view = view.as_ref()?;
        if let Some((bound, stretch)) = last
            && *bound == before
            && !stretch.end.is_left_of(key, order)
            && stretch.start.is_left_of(key, order)
        {
            return stretch.newest;
        }
        let (_, stretch) = last.insert((before, view.stretch(key, before, order)));
        stretch.newest
    }

    fn stretch(&self) -> Option<(&Cut, &Cut)> {
        let (_, stretch) = self.last.as_ref()?;
        stretch.newest.map(|_| (&stretch.start, &stretch.end))
    }
}
