//! Who keeps files that the newest state does not need.
//!
//! A view, an iterator, a checkpoint or a job pins the super version of its beginning, and with that the files of it.
//! Of each super version that was replaced a weak pointer stays here, so that whoever asks what holds space can be told;
//! reads know nothing of it.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use lsm_manifest::TableDescriptor;
use lsm_types::{TableId, TreeId};
use parking_lot::Mutex;

use crate::super_version::SuperVersion;

/// So many pointers are kept without a look at which of them lead nowhere.
const KEPT_MIN: usize = 64;

/// The super versions of a tree that were replaced and may still be read.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<Replaced>);

#[derive(Debug, Default)]
struct Replaced {
    all: Vec<Weak<SuperVersion>>,
    /// Length from which on they are looked through.
    look_at: usize,
}

/// A state of before that somebody still reads, with the space it keeps.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceHolder {
    /// The tree.
    pub tree: TreeId,
    /// For how long the tree has been ahead of it.
    pub age: Duration,
    /// Bytes of files that it needs and the newest state does not. Two holders may need the same.
    pub bytes: u64,
    /// How many of its tables the newest state has no more.
    pub tables: usize,
    /// How many of its value logs.
    pub value_logs: usize,
}

impl Holders {
    /// Notes a super version whose place was taken. Costs next to nothing, and now and then a look at each that is left.
    pub(crate) fn note(&self, replaced: &Arc<SuperVersion>) {
        let mut known = self.0.lock();
        if known.all.is_empty() {
            known.all.reserve(KEPT_MIN);
        }
        known.all.push(Arc::downgrade(replaced));
        if known.all.len() >= known.look_at.max(KEPT_MIN) {
            known.all.retain(|one| one.strong_count() > 0);
            known.look_at = known.all.len() * 2;
        }
    }

    /// Those that keep space, beside what `newest` needs, the oldest first. Costs a look at each of their tables.
    pub(crate) fn list(&self, tree: TreeId, newest: &SuperVersion, now: u64) -> Vec<SpaceHolder> {
        let alive: Vec<Arc<SuperVersion>> = self.0.lock().all.iter().filter_map(Weak::upgrade).collect();
        if alive.is_empty() {
            return Vec::new();
        }
        let levels = &newest.version.levels;
        let tables: HashMap<TableId, &Arc<TableDescriptor>> =
            levels.tables().map(|(_, table)| (table.id, table)).collect();
        let held = alive.iter().map(|old| {
            let mut holder = SpaceHolder {
                tree,
                age: Duration::from_nanos(old.replaced_at().map_or(0, |at| now.saturating_sub(at))),
                bytes: 0,
                tables: 0,
                value_logs: 0,
            };
            for (_, table) in old.version.levels.tables() {
                // Of a table that was restricted since, what the newest state has done with.
                let kept = match tables.get(&table.id) {
                    None => table.live_bytes(),
                    Some(now) => now.consumed_bytes().saturating_sub(table.consumed_bytes()),
                };
                holder.bytes = holder.bytes.saturating_add(kept);
                holder.tables += usize::from(!tables.contains_key(&table.id));
            }
            for log in old.version.vlogs.iter() {
                let now = newest.version.vlogs.get(log.vlog.id);
                let kept = match now {
                    None => log.live_bytes(),
                    Some(now) => now.consumed_bytes().saturating_sub(log.consumed_bytes()),
                };
                holder.bytes = holder.bytes.saturating_add(kept);
                holder.value_logs += usize::from(now.is_none());
            }
            holder
        });
        held.filter(|holder| holder.bytes > 0).collect()
    }
}
