//! The filters of an open table: partitions that stay, partitions in the cache, and partitions that cannot be used.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::ArcSwapWeak;
use lsm_block::FrameHeader;
use lsm_sst::{ExtractorId, FilterAnswer, FilterId, FilterPartition, TableLayout};
use lsm_types::{Error, KeyHash, Result};

use crate::{
    FilterStats, TableEnv,
    cache::CachedBlock,
    filter_stats::{Counters, Event},
    table::TableInner,
};

/// Share of the cache that a partition may take to be kept there: one in this many.
const CACHE_SHARE: u64 = 64;
/// One in this many probes goes through the cache although it is known where the partition lies.
const SHOWN_TO_CACHE: u64 = 16;

/// The filters of an open table.
#[derive(Debug)]
pub(crate) struct TableFilters {
    keys: Box<[Slot]>,
    /// Empty when the prefixes were named by another extractor than the tree's.
    prefixes: Box<[Slot]>,
    /// Whether partitions stay in memory as long as the table is open.
    pinned: bool,
    /// Whether the table was written with a filter over keys, usable or not.
    is_filtered: bool,
    pub(crate) counters: Counters,
    damaged: AtomicU64,
    pinned_bytes: AtomicU64,
    warned: AtomicBool,
}

/// What is known about a partition.
#[derive(Debug, Default)]
struct Slot {
    /// Set once, for a partition that is not looked for in the cache.
    fixed: OnceLock<Fixed>,
    /// Where the cache holds it, as long as it does: saves most reads the way through the cache.
    hint: ArcSwapWeak<FilterPartition>,
}

#[derive(Debug)]
enum Fixed {
    Pinned(Arc<FilterPartition>),
    /// Damaged, unknown or unreadable. Said once, and not read again.
    Unusable,
}

impl Slot {
    /// Remembers where the cache holds the partition.
    fn point_to(&self, partition: &Arc<FilterPartition>) {
        if !std::ptr::eq(self.hint.load().as_ptr(), Arc::as_ptr(partition)) {
            self.hint.store(Arc::downgrade(partition));
        }
    }
}

impl TableFilters {
    pub(crate) fn new(layout: &TableLayout, env: &TableEnv) -> Self {
        let slots = |id| (0..layout.filter_partitions(id)).map(|_| Slot::default()).collect();
        let recorded = &layout.properties().filters;
        let extractor = env.prefix_extractor.as_deref().map(ExtractorId::of);
        let is_ours = extractor.is_some() && extractor == recorded.extractor;
        Self {
            keys: slots(FilterId::Keys),
            prefixes: if is_ours { slots(FilterId::Prefixes) } else { Box::default() },
            pinned: env.policy.pins_filter(layout.properties().level),
            is_filtered: recorded.keys.is_some(),
            counters: Counters::default(),
            damaged: AtomicU64::new(0),
            pinned_bytes: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    #[inline]
    fn slot(&self, id: FilterId, part: usize) -> Option<&Slot> {
        match id {
            FilterId::Keys => self.keys.get(part),
            FilterId::Prefixes => self.prefixes.get(part),
        }
    }

    /// Counts a point read.
    #[inline]
    pub(crate) fn note_get(&self, answer: FilterAnswer, found: bool) {
        self.counters.count(match (answer, found) {
            (FilterAnswer::Absent, _) => Event::Negative,
            (FilterAnswer::Maybe, false) => Event::FalsePositive,
            (FilterAnswer::Maybe, true) => Event::Hit,
            (FilterAnswer::Unusable, _) if self.is_filtered => Event::Unusable,
            (FilterAnswer::Unusable, true) => Event::UnfilteredHit,
            (FilterAnswer::Unusable, false) => Event::UnfilteredMiss,
        });
    }

    pub(crate) fn stats(&self) -> FilterStats {
        FilterStats {
            damaged_partitions: self.damaged.load(Ordering::Relaxed),
            pinned_bytes: self.pinned_bytes.load(Ordering::Relaxed),
            ..self.counters.stats()
        }
    }

    /// Remembers that a partition cannot be used.
    #[cold]
    fn give_up(&self, table: &TableInner, slot: &Slot, error: &Error) -> FilterAnswer {
        if slot.fixed.set(Fixed::Unusable).is_ok() {
            self.damaged.fetch_add(1, Ordering::Relaxed);
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            let table = table.descriptor.id;
            tracing::warn!(%table, %error, "a filter cannot be used; reads of the table are slower");
        }
        FilterAnswer::Unusable
    }

    fn pin<'s>(&self, slot: &'s Slot, partition: FilterPartition) -> &'s Fixed {
        let bytes = partition.memory_len() as u64;
        slot.fixed.get_or_init(|| {
            self.pinned_bytes.fetch_add(bytes, Ordering::Relaxed);
            Fixed::Pinned(Arc::new(partition))
        })
    }
}

impl TableInner {
    /// What partition `part` of a filter says about `hash`.
    #[inline]
    pub(crate) fn ask_filter(
        &self,
        layout: &TableLayout,
        filters: &TableFilters,
        id: FilterId,
        part: usize,
        hash: KeyHash,
    ) -> FilterAnswer {
        let Some(slot) = filters.slot(id, part) else { return FilterAnswer::Unusable };
        match slot.fixed.get() {
            Some(Fixed::Pinned(partition)) => return partition.ask(hash),
            Some(Fixed::Unusable) => return FilterAnswer::Unusable,
            None => {}
        }
        // Now and then the cache has to see that the partition is in use.
        if !hash.get().is_multiple_of(SHOWN_TO_CACHE)
            && let Some(partition) = slot.hint.load().upgrade()
        {
            return partition.ask(hash);
        }
        self.ask_cached(layout, filters, slot, (id, part), hash)
    }

    fn ask_cached(
        &self,
        layout: &TableLayout,
        filters: &TableFilters,
        slot: &Slot,
        (id, part): (FilterId, usize),
        hash: KeyHash,
    ) -> FilterAnswer {
        let Some(at) = layout.filter_ref(id, part) else { return FilterAnswer::Unusable };
        let (cache, offset) = (&self.env.cache, at.handle.offset);
        match cache.get(self.cache_file, offset) {
            Some(CachedBlock::Filter(partition)) => {
                slot.point_to(&partition);
                return partition.ask(hash);
            }
            Some(_) => return FilterAnswer::Unusable,
            None => {}
        }
        // What the cache could not keep would be read again for every probe: it stays with the table.
        if filters.pinned || u64::from(at.handle.len) > cache.capacity() / CACHE_SHARE {
            return match self.read_filter(layout, id, part) {
                Ok(partition) => match filters.pin(slot, partition) {
                    Fixed::Pinned(partition) => partition.ask(hash),
                    Fixed::Unusable => FilterAnswer::Unusable,
                },
                Err(error) => filters.give_up(self, slot, &error),
            };
        }
        let loaded = cache.get_or_load(self.cache_file, offset, || {
            Ok(CachedBlock::Filter(Arc::new(self.read_filter(layout, id, part)?)))
        });
        match loaded {
            Ok(CachedBlock::Filter(partition)) => {
                slot.point_to(&partition);
                partition.ask(hash)
            }
            Ok(_) => FilterAnswer::Unusable,
            Err(error) => filters.give_up(self, slot, &error),
        }
    }

    /// Reads and checks a partition, past the cache, into a buffer in which its payload starts at a multiple of 64.
    pub(crate) fn read_filter(
        &self,
        layout: &TableLayout,
        id: FilterId,
        part: usize,
    ) -> Result<FilterPartition> {
        let at = layout.filter_ref(id, part).ok_or_else(|| self.disagrees("partitions of a filter"))?;
        layout.check_ref(id.partition_kind(), at)?;
        let frame = self.read_aligned(at.handle.offset, at.handle.len as usize, FrameHeader::LEN)?;
        self.env.decoders.with(|decoder| layout.decode_filter(id, at, &frame, decoder))
    }
}
