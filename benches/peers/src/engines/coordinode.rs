//! The crate `coordinode-lsm-tree`, as its users drive it.

use std::{path::Path, sync::Arc};

use ::coordinode::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, Guard, KvSeparationOptions, SequenceNumberCounter,
    Slice,
    compaction::Leveled,
    config::{
        BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
        LocatorPolicy,
    },
};

use crate::engine::{APART_FROM_BYTES, Codec, Direction, Engine, Outcome, Settings};

/// Number under which reads see everything.
const LATEST: u64 = ::coordinode::MAX_SEQNO;

/// A tree with the two counters that its users keep.
pub(crate) struct Coordinode {
    tree: AnyTree,
    seqno: SequenceNumberCounter,
    visible: SequenceNumberCounter,
    leveled: Arc<Leveled>,
    table_bytes: u64,
}

impl Coordinode {
    /// What a compaction step changes: tables per level, and the runs of level 0.
    fn shape(&self) -> (usize, Vec<Option<usize>>, u64) {
        let tables = (0..7).map(|level| self.tree.level_table_count(level)).collect();
        (self.tree.l0_run_count(), tables, self.tree.disk_space())
    }
}

pub(crate) fn compression(codec: Codec) -> CompressionType {
    match codec {
        Codec::None => CompressionType::None,
        Codec::Lz4 => CompressionType::Lz4,
        Codec::Zstd1 => CompressionType::Zstd(1),
    }
}

/// Its own defaults, but for what is equal for all engines.
fn separation(settings: &Settings) -> KvSeparationOptions {
    let options = KvSeparationOptions::default().separation_threshold(APART_FROM_BYTES);
    options.compression(compression(settings.codec))
}

impl Engine for Coordinode {
    const NAME: &'static str = "coordinode";
    const HAS_ZSTD: bool = true;

    type Value = Slice;

    fn open(dir: &Path, settings: &Settings) -> Outcome<Self> {
        let seqno = SequenceNumberCounter::default();
        let visible = SequenceNumberCounter::default();
        let filters = match settings.filter_bits {
            0 => FilterPolicy::disabled(),
            bits => {
                FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(bits.into())))
            }
        };
        let codec = compression(settings.codec);
        let separation = settings.apart.then(|| separation(settings));
        let tree = Config::new(dir, seqno.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(settings.cache_bytes)))
            .data_block_size_policy(BlockSizePolicy::all(settings.block_bytes))
            .data_block_compression_policy(CompressionPolicy::all(codec))
            .index_block_compression_policy(CompressionPolicy::all(CompressionType::None))
            .filter_policy(filters)
            .with_kv_separation(separation)
            .locator_policy(LocatorPolicy::disabled())
            .compaction_threads(1)
            .open()?;
        if settings.near_full
            && let AnyTree::Standard(tree) = &tree
        {
            tree.update_runtime_config(|config| {
                config.storage_admission_check = true;
                config.tight_space_compaction = true;
            })?;
        }
        let next = tree.get_highest_seqno().map_or(0, |highest| highest + 1);
        seqno.fetch_max(next);
        visible.fetch_max(next);
        let leveled = Leveled::default()
            .with_l0_threshold(settings.l0_runs)
            .with_table_target_size(settings.table_bytes);
        Ok(Self { tree, seqno, visible, leveled: Arc::new(leveled), table_bytes: settings.table_bytes })
    }

    fn separation(settings: &Settings) -> Outcome<String> {
        Ok(format!("{:?}", separation(settings)))
    }

    fn near_full(_: &Settings) -> String {
        "storage_admission_check, tight_space_compaction".to_owned()
    }

    fn is_one_run(&self) -> bool {
        self.shape().1.iter().flatten().filter(|tables| **tables > 0).count() == 1
            && self.tree.l0_run_count() <= 1
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Outcome<()> {
        let seqno = self.seqno.next();
        self.tree.insert(key, value, seqno);
        self.visible.fetch_max(seqno + 1);
        Ok(())
    }

    fn seal(&self) -> Outcome<()> {
        self.tree.rotate_memtable();
        Ok(())
    }

    fn flush(&self) -> Outcome<()> {
        let lock = self.tree.get_flush_lock();
        self.tree.flush(&lock, self.visible.get())?;
        Ok(())
    }

    fn compact(&self) -> Outcome<bool> {
        let before = self.shape();
        self.tree.compact(self.leveled.clone(), self.visible.get())?;
        Ok(self.shape() != before)
    }

    fn major_compact(&self) -> Outcome<()> {
        self.tree.major_compact(self.table_bytes, self.visible.get())?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Outcome<Option<Slice>> {
        Ok(self.tree.get(key, LATEST)?)
    }

    fn scan(
        &self,
        start: Option<&[u8]>,
        direction: Direction,
        take: usize,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Outcome<usize> {
        let mut entries = match (start, direction) {
            (None, _) => self.tree.iter(LATEST, None),
            (Some(start), Direction::Forward) => self.tree.range(start.., LATEST, None),
            (Some(start), Direction::Backward) => self.tree.range(..=start, LATEST, None),
        };
        let mut count = 0;
        while count < take {
            let next = match direction {
                Direction::Forward => entries.next(),
                Direction::Backward => entries.next_back(),
            };
            let Some(entry) = next else { break };
            let (key, value) = entry.into_inner()?;
            each(&key, &value);
            count += 1;
        }
        Ok(count)
    }

    fn close(self) -> Outcome<()> {
        Ok(())
    }
}
