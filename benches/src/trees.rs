//! Trees in memory: what they cost is then processor time alone.

use std::sync::Arc;

use lsm_codec::Compression;
use lsm_compaction_planner::MoveDown;
use lsm_engine::{BlockCache, CompactOptions, FlushOptions, LevelFilter, TablePolicy, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_types::{Level, Result, SeqNo};

use crate::data::{key, permutation, value};

/// Bytes of block cache: more than any tree here has.
const CACHE_BYTES: u64 = 1 << 30;

/// In how many runs the entries of a tree lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// All in the memtable.
    Memtable,
    /// In this many overlapping runs of level 0.
    Runs(u32),
    /// In one run of the last level.
    Compacted,
}

impl Shape {
    /// The shapes reads are measured over, with their names.
    pub const READ: [(&'static str, Self); 3] =
        [("memtable", Self::Memtable), ("4_runs", Self::Runs(4)), ("1_run", Self::Compacted)];
}

/// An empty tree in memory: blocks of 4 KiB, not compressed, or as `compression` says.
///
/// # Errors
/// Whatever opening a tree can fail with.
pub fn open(compression: Compression) -> Result<Tree> {
    let tables = TablePolicy::default().compression(compression).data_block_bytes(4096);
    let options = TreeOptions::new("/bench").tables(tables);
    Tree::open(options.store(|store| store.fs(Arc::new(MemFs::new())).cache(BlockCache::new(CACHE_BYTES))))
}

/// Puts the entries with these numbers at sequence numbers from `first` on, and says which comes next.
///
/// # Errors
/// Whatever a write can fail with.
pub fn fill(tree: &Tree, numbers: &[u32], first: SeqNo) -> Result<SeqNo> {
    let mut seqno = first;
    for number in numbers.iter().map(|number| u64::from(*number)) {
        tree.insert(key(number), value(number), seqno)?;
        seqno = seqno.next();
    }
    Ok(seqno)
}

/// A tree of `count` entries in that shape.
///
/// # Errors
/// Whatever writing, flushing and compacting can fail with.
pub fn filled(count: u32, shape: Shape, compression: Compression) -> Result<Tree> {
    let tree = open(compression)?;
    let numbers = permutation(count);
    let runs = match shape {
        Shape::Memtable => {
            fill(&tree, &numbers, SeqNo::ZERO)?;
            return Ok(tree);
        }
        Shape::Runs(runs) => runs.max(1),
        Shape::Compacted => 1,
    };
    let mut seqno = SeqNo::ZERO;
    for part in numbers.chunks(numbers.len().div_ceil(runs as usize).max(1)) {
        seqno = fill(&tree, part, seqno)?;
        tree.seal(None);
        tree.flush(&FlushOptions::default())?;
    }
    if shape == Shape::Compacted {
        tree.major_compact(&CompactOptions::default())?;
    }
    Ok(tree)
}

/// How the filters of a tree are set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filters {
    /// None.
    Off,
    /// As they are by default, in the block cache.
    Cached,
    /// As they are by default, in memory as long as their tables are open.
    Pinned,
}

impl Filters {
    /// All settings, with their names.
    pub const ALL: [(&'static str, Self); 3] =
        [("no_filter", Self::Off), ("cached", Self::Cached), ("pinned", Self::Pinned)];
}

/// A tree of `count` entries whose keys lie scattered over four levels, a quarter in each.
///
/// # Errors
/// Whatever writing, flushing and compacting can fail with.
pub fn four_levels(count: u32, filters: Filters) -> Result<Tree> {
    let mut tables = TablePolicy::default().compression(Compression::None).data_block_bytes(4096);
    tables.pin_filter = vec![filters == Filters::Pinned];
    if filters == Filters::Off {
        tables = tables.filter(LevelFilter::Off);
    }
    let options = TreeOptions::new("/bench").tables(tables).level_count(4);
    let tree = Tree::open(
        options.store(|store| store.fs(Arc::new(MemFs::new())).cache(BlockCache::new(CACHE_BYTES))),
    )?;
    let numbers = permutation(count);
    let mut seqno = SeqNo::ZERO;
    for (part, level) in numbers.chunks(numbers.len().div_ceil(4).max(1)).zip([3, 2, 1, 0]) {
        seqno = fill(&tree, part, seqno)?;
        tree.seal(None);
        tree.flush(&FlushOptions::default())?;
        if level > 0 {
            let down = MoveDown { from: Level::new(0), to: Level::new(level) };
            tree.compact(&down, &CompactOptions::default())?;
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use lsm_engine::Reader;

    use super::*;

    #[test]
    fn every_shape_holds_the_same_entries() {
        for (name, shape) in Shape::READ {
            let tree = filled(500, shape, Compression::None).expect("memory does not fail");
            assert_eq!(tree.count().expect("memory does not fail"), 500, "{name}");
            let found = tree.get(key(7)).expect("memory does not fail");
            assert_eq!(found.as_deref(), Some(&value(7)[..]), "{name}");
        }
    }

    #[test]
    fn four_levels_hold_all_entries() {
        for (name, filters) in Filters::ALL {
            let tree = four_levels(500, filters).expect("memory does not fail");
            assert_eq!(tree.count().expect("memory does not fail"), 500, "{name}");
            assert!(tree.stats().levels.iter().all(|level| level.tables == 1), "{name}");
        }
    }
}
