//! Our own engine.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use lsm_codec::Compression;
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    BlockCache, CompactOptions, FlushOptions, LevelFilter, Outcome as Done, Reader, RelocationOptions,
    SpaceOptions, TablePolicy, Tree, TreeOptions, VlogPolicy,
};
use lsm_types::{SeqNo, Slice};

use crate::engine::{APART_FROM_BYTES, Codec, Direction, Engine, Outcome, Settings};

/// A tree with the two counters that its users keep.
pub(crate) struct Ours {
    tree: Tree,
    /// Number of the next write.
    next: AtomicU64,
    /// Above all writes that have returned.
    visible: AtomicU64,
    leveled: Leveled,
    /// Bytes of values that compactions moved.
    copied: AtomicU64,
}

impl Ours {
    /// Tells the tree that nobody will read anything but the newest state.
    fn forget_history(&self) -> Outcome<()> {
        let visible = SeqNo::new(self.visible.load(Ordering::Acquire)).ok_or(NO_NUMBERS)?;
        self.tree.set_gc_watermark(visible);
        Ok(())
    }
}

const NO_NUMBERS: &str = "no sequence numbers are left";

pub(crate) fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd1 => Compression::Zstd { level: 1 },
    }
}

/// The defaults, but for what is equal for all engines.
fn separation(settings: &Settings) -> VlogPolicy {
    let (thresholds, compression) = (vec![APART_FROM_BYTES], compression(settings.codec));
    VlogPolicy { thresholds, compression, ..VlogPolicy::default() }
}

/// The defaults, with merges that ask for room and are done by slices where there is too little.
fn space() -> SpaceOptions {
    SpaceOptions::default().admission(true).tight(true)
}

impl Engine for Ours {
    const NAME: &'static str = "ours";
    const HAS_ZSTD: bool = true;

    type Value = Slice;

    fn open(dir: &Path, settings: &Settings) -> Outcome<Self> {
        let tables = TablePolicy { index_compression: vec![Compression::None], ..TablePolicy::default() }
            .compression(compression(settings.codec))
            .filter(match settings.filter_bits {
                0 => LevelFilter::Off,
                bits => LevelFilter::bits(bits.into())?,
            })
            .data_block_bytes(settings.block_bytes);
        let mut options = TreeOptions::new(dir)
            .store(|store| store.cache(BlockCache::new(settings.cache_bytes)))
            .table_target_bytes(settings.table_bytes)
            .tables(tables);
        if settings.near_full {
            options = options.store(|store| store.space(space()));
        }
        if settings.apart {
            options = options.separation(separation(settings));
        }
        let tree = Tree::open(options)?;
        let next = tree.persisted().highest.map_or(0, |highest| highest.next().get());
        let leveled = Leveled {
            l0_threshold: settings.l0_runs,
            table_target_bytes: settings.table_bytes,
            // The others size levels from the first one.
            dynamic_level_bytes: false,
            ..Leveled::default()
        };
        Ok(Self {
            tree,
            next: AtomicU64::new(next),
            visible: AtomicU64::new(next),
            leveled,
            copied: AtomicU64::new(0),
        })
    }

    fn separation(settings: &Settings) -> Outcome<String> {
        Ok(format!("{:?}, {:?}", separation(settings), RelocationOptions::default()))
    }

    fn near_full(_: &Settings) -> String {
        "admission, tight".to_owned()
    }

    fn is_one_run(&self) -> bool {
        self.tree.stats().read_amplification() == 1
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Outcome<()> {
        let seqno = SeqNo::new(self.next.fetch_add(1, Ordering::AcqRel)).ok_or(NO_NUMBERS)?;
        self.tree.insert(key, value, seqno)?;
        self.visible.fetch_max(seqno.next().get(), Ordering::AcqRel);
        Ok(())
    }

    fn seal(&self) -> Outcome<()> {
        self.tree.seal(None);
        Ok(())
    }

    fn flush(&self) -> Outcome<()> {
        self.forget_history()?;
        self.tree.flush(&FlushOptions::default())?;
        Ok(())
    }

    fn compact(&self) -> Outcome<bool> {
        self.forget_history()?;
        let report = self.tree.compact(&self.leveled, &CompactOptions::default())?;
        self.copied.fetch_add(report.value_bytes_relocated, Ordering::Relaxed);
        Ok(!matches!(report.outcome, Done::Idle | Done::Busy))
    }

    fn copied(&self) -> Option<u64> {
        Some(self.copied.load(Ordering::Relaxed))
    }

    fn major_compact(&self) -> Outcome<()> {
        self.forget_history()?;
        self.tree.major_compact(&CompactOptions::default())?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Outcome<Option<Slice>> {
        Ok(self.tree.get(key)?)
    }

    fn scan(
        &self,
        start: Option<&[u8]>,
        direction: Direction,
        take: usize,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Outcome<usize> {
        let range = match (start, direction) {
            (None, _) => self.tree.iter(),
            (Some(start), Direction::Forward) => self.tree.range(start..),
            (Some(start), Direction::Backward) => self.tree.range(..=start),
        };
        let mut entries = range.pairs();
        let mut count = 0;
        while count < take {
            let next = match direction {
                Direction::Forward => entries.next(),
                Direction::Backward => entries.next_back(),
            };
            let Some(entry) = next else { break };
            let (key, value) = entry?;
            each(&key, &value);
            count += 1;
        }
        Ok(count)
    }

    fn close(self) -> Outcome<()> {
        Ok(self.tree.close()?)
    }
}
