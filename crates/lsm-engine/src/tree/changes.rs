//! Listing changes, and following them.

use std::{ops::RangeBounds, sync::Arc};

use lsm_types::{Result, SeqNo, Slice};

use super::{Tree, TreeInner, range_delete::span};
use crate::{
    Changes, ChangesOptions, EngineError, changes::Scope, holds::Holds, super_version::SuperVersion,
};

/// Keeps writes away from below a bound until it is dropped.
pub(crate) struct WriteBar {
    tree: Arc<TreeInner>,
    bound: SeqNo,
}

impl WriteBar {
    pub(crate) fn bound(&self) -> SeqNo {
        self.bound
    }
}

impl Drop for WriteBar {
    fn drop(&mut self) {
        self.tree.change_holds(SeqNo::ZERO, |holds| holds.unbar(self.bound));
    }
}

impl Tree {
    /// Every write to keys of `scope` numbered at or above `since` that was made so far, in order of number, uncollapsed.
    ///
    /// Deletes of ranges that reach into the scope are part of it, as they were written. A batch is wholly in the list or
    /// not at all. Until the list is dropped, writes numbered below its bound are refused.
    ///
    /// # Errors
    /// `HistoryCollected` when some of these writes may be gone or summed up: `since` is below [`Tree::changes_from`].
    /// Whoever follows changes keeps them by [`Tree::follow_changes`]. What opening a table with range tombstones finds.
    pub fn changes<K: AsRef<[u8]>>(&self, since: SeqNo, scope: impl RangeBounds<K>) -> Result<Changes> {
        self.changes_with(since, scope, &ChangesOptions::default())
    }

    /// As [`Tree::changes`], as the options say.
    ///
    /// # Errors
    /// As [`Tree::changes`].
    pub fn changes_with<K: AsRef<[u8]>>(
        &self,
        since: SeqNo,
        scope: impl RangeBounds<K>,
        options: &ChangesOptions,
    ) -> Result<Changes> {
        self.inner.changes(since, &scope, options)
    }

    /// All changes numbered at or above this are there as they were written.
    pub fn changes_from(&self) -> SeqNo {
        self.inner.current.load().version.changes_from
    }

    /// Whether a key of `range` received a write numbered at or above `since`, deletes of ranges included.
    ///
    /// Memtables answer first, then what is known about tables and their blocks; blocks that may have changed are read.
    ///
    /// # Errors
    /// `HistoryCollected` as [`Tree::changes`]; what reading finds.
    pub fn changed_since<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, since: SeqNo) -> Result<bool> {
        let scope = self.inner.scope(&range)?;
        self.inner.current.load_full().changed_since(since, &scope)
    }

    /// Keeps all changes from `since` on until the follower has read them, or is dropped.
    ///
    /// * `lag_max`: how far the follower may stay behind the newest number; a job that finds it further behind leaves it
    ///   behind rather than let the disk fill up. `None` for any distance.
    ///
    /// # Errors
    /// `HistoryCollected` when some of these changes may be gone already, or are about to be.
    pub fn follow_changes(&self, since: SeqNo, lag_max: Option<u64>) -> Result<ChangeFollower> {
        let mut id = 0;
        // Registered first: a job that asks later what it has to keep knows of it.
        self.inner.change_holds(since, |holds| id = holds.follow(since, lag_max));
        let follower = ChangeFollower { tree: self.inner.clone(), id };
        // Asked for before what is installed: a job that ends in between stands there.
        let running = self.inner.holds.floor_of_jobs();
        let running = if running > SeqNo::ZERO { running.next() } else { SeqNo::ZERO };
        let earliest_complete = self.changes_from().max(running);
        if since < earliest_complete {
            return Err(EngineError::HistoryCollected { since, earliest_complete }.into());
        }
        Ok(follower)
    }
}

impl TreeInner {
    /// The keys within `range`.
    fn scope<K: AsRef<[u8]>>(&self, range: &impl RangeBounds<K>) -> Result<Scope> {
        span(range)?; // refuses bounds that are no keys
        let owned = |bound: std::ops::Bound<&K>| bound.map(|key| Slice::from(key.as_ref()));
        Ok(Scope::new((owned(range.start_bound()), owned(range.end_bound())), &self.order))
    }

    fn changes<K: AsRef<[u8]>>(
        self: &Arc<Self>,
        since: SeqNo,
        scope: &impl RangeBounds<K>,
        options: &ChangesOptions,
    ) -> Result<Changes> {
        let scope = self.scope(scope)?;
        let (pinned, bar) = self.cut(options.until);
        let earliest_complete = pinned.version.changes_from;
        if since < earliest_complete {
            return Err(EngineError::HistoryCollected { since, earliest_complete }.into());
        }
        let bound = if scope.is_empty() { since } else { bar.bound() };
        let mut deletes = pinned.deletes_within(since, bound, &scope)?;
        deletes.sort_by_key(|delete| delete.seqno); // stable: by start among equal numbers
        Ok(Changes::new(bar, pinned, since, scope, deletes, options))
    }

    /// What there is now, and a bound above all of it, or above what is numbered below `until`: nothing is added below
    /// as long as the bar stands.
    ///
    /// The lock keeps deletes of ranges and sealing away. Entries go past it: the memtable itself says which bound is
    /// above all of them, and takes none below from then on, so no batch is cut in two.
    fn cut(self: &Arc<Self>, until: Option<SeqNo>) -> (Arc<SuperVersion>, WriteBar) {
        let publisher = self.publisher.lock();
        let pinned = self.current.load_full();
        let sealed = pinned.sealed.iter().map(|sealed| sealed.max_seqno.next());
        let deletes = pinned.active.deletes.seqnos().map(|(_, max)| max.next());
        let tables = pinned.version.max_seqno.map(SeqNo::next);
        let others = sealed.chain(deletes).chain(tables).max().unwrap_or_default();
        let entries = &pinned.active.entries;
        let highest = match until {
            // Nothing is under way below that bound: the caller says so, and writes above it are not kept waiting.
            Some(_) => entries.highest_seqno(),
            None => entries.refuse_below_newest(others.max(self.holds.write_floor())),
        };
        let written = highest.map_or(SeqNo::ZERO, SeqNo::next).max(others);
        // An ingestion under way will be there all at once: the bound is not above it.
        let coming = self.holds.lowest_claim();
        let bound = until.into_iter().chain(coming).fold(written, SeqNo::min);
        self.holds.bar(bound);
        entries.refuse_below(self.holds.write_floor());
        drop(publisher);
        (pinned, WriteBar { tree: self.clone(), bound })
    }

    /// Followers that jobs wait for, and by how many numbers the last of them is behind.
    pub(super) fn follower_lag(&self) -> (usize, u64) {
        let (count, last) = self.holds.followers();
        let newest = self.visible_end().get();
        (count, last.map_or(0, |last| newest.saturating_sub(last.get())))
    }
}

/// Reads all changes, at its own pace: those it has yet to read are kept.
pub struct ChangeFollower {
    tree: Arc<TreeInner>,
    id: u64,
}

impl ChangeFollower {
    /// Changes numbered below were read.
    pub fn position(&self) -> SeqNo {
        self.tree.holds.follower(self.id).0
    }

    /// How many numbers the position is behind the newest write.
    pub fn lag(&self) -> u64 {
        self.tree.visible_end().get().saturating_sub(self.position().get())
    }

    /// Whether it stayed behind further than it may: changes are not kept for it any more. It can go on as long as those
    /// it wants are there.
    pub fn is_left_behind(&self) -> bool {
        self.tree.holds.follower(self.id).1
    }

    /// The changes from its position on to keys of `scope`.
    ///
    /// # Errors
    /// As [`Tree::changes`]; `HistoryCollected` only for a follower that was left behind, or after what removes data
    /// whoever wants to read it.
    pub fn changes<K: AsRef<[u8]>>(
        &self,
        scope: impl RangeBounds<K>,
        options: &ChangesOptions,
    ) -> Result<Changes> {
        self.tree.changes(self.position(), &scope, options)
    }

    /// Changes numbered below `position` were read, and need not be kept. Never moves back. Writes below are refused
    /// from now on.
    pub fn advance(&self, position: SeqNo) {
        self.tree.change_holds(position, |holds: &Holds| holds.advance_follower(self.id, position));
    }
}

impl Drop for ChangeFollower {
    fn drop(&mut self) {
        self.tree.change_holds(SeqNo::ZERO, |holds| holds.unfollow(self.id));
    }
}

impl std::fmt::Debug for ChangeFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChangeFollower({:?})", self.position())
    }
}
