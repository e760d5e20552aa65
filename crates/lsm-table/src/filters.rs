//! The filters of an open table: partitions that stay, partitions in the cache, and partitions that cannot be used.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::ArcSwapWeak;
use lsm_block::FrameHeader;
use lsm_sst::{BlockRef, ExtractorId, FilterAnswer, FilterId, FilterPartition, TableLayout};
use lsm_types::{Error, KeyHash, Result};

use crate::{
    FilterStats, TableEnv,
    cache::CachedBlock,
    filter_stats::{Counters, Event},
    source::aligned,
    table::{Opened, TableInner},
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

/// A partition that may be asked.
pub(crate) enum Lent<'t> {
    Pinned(&'t FilterPartition),
    Shared(Arc<FilterPartition>),
}

impl std::ops::Deref for Lent<'_> {
    type Target = FilterPartition;

    fn deref(&self) -> &FilterPartition {
        match self {
            Self::Pinned(partition) => partition,
            Self::Shared(partition) => partition,
        }
    }
}

/// Where a partition is.
pub(crate) enum Shelf<'t> {
    Here(Lent<'t>),
    Unusable,
    /// In the file.
    Missing(BlockRef),
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

    /// Whether the partition at `at` stays in memory as long as the table is open. What the cache could not keep would
    /// be read again for every probe.
    fn stays(&self, env: &TableEnv, at: BlockRef) -> bool {
        self.pinned || u64::from(at.handle.len) > env.cache.capacity() / CACHE_SHARE
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

    /// Partition `part` of the filter over keys, if it is in memory; for asking it many times.
    pub(crate) fn lend_filter<'t>(&self, opened: &'t Opened, part: usize) -> Shelf<'t> {
        let Some(slot) = opened.filters.slot(FilterId::Keys, part) else { return Shelf::Unusable };
        match slot.fixed.get() {
            Some(Fixed::Pinned(partition)) => return Shelf::Here(Lent::Pinned(partition)),
            Some(Fixed::Unusable) => return Shelf::Unusable,
            None => {}
        }
        let Some(at) = opened.layout.filter_ref(FilterId::Keys, part) else { return Shelf::Unusable };
        // The cache has to see that the partition is in use; one look for many probes costs little.
        match self.env.cache.get(self.cache_file, at.handle.offset) {
            Some(CachedBlock::Filter(partition)) => {
                slot.point_to(&partition);
                Shelf::Here(Lent::Shared(partition))
            }
            Some(_) => Shelf::Unusable,
            None => Shelf::Missing(at),
        }
    }

    /// Takes the bytes of the frame of a partition that [`TableInner::lend_filter`] missed; the partition, unless it
    /// stays with the table.
    pub(crate) fn take_filter(
        &self,
        opened: &Opened,
        part: usize,
        frame: &[u8],
    ) -> Result<Option<CachedBlock>> {
        let at = opened.layout.filter_ref(FilterId::Keys, part);
        let at = at.ok_or_else(|| self.disagrees("partitions of a filter"))?;
        let copied = aligned(frame.len(), FrameHeader::LEN, |bytes| {
            bytes.copy_from_slice(frame);
            Ok(())
        })?;
        let decode = |decoder: &mut _| opened.layout.decode_filter(FilterId::Keys, at, &copied, decoder);
        let partition = self.env.decoders.with(decode)?;
        let Some(slot) = opened.filters.slot(FilterId::Keys, part) else { return Ok(None) };
        if opened.filters.stays(&self.env, at) {
            opened.filters.pin(slot, partition);
            return Ok(None);
        }
        let partition = Arc::new(partition);
        slot.point_to(&partition);
        Ok(Some(CachedBlock::Filter(partition)))
    }

    /// Remembers that a partition of the filter over keys cannot be used.
    pub(crate) fn give_up_filter(&self, opened: &Opened, part: usize, error: &Error) {
        if let Some(slot) = opened.filters.slot(FilterId::Keys, part) {
            opened.filters.give_up(self, slot, error);
        }
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
        if filters.stays(&self.env, at) {
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
