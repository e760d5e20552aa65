//! How the filters of a table did.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Counters a table has side by side, for threads not to wait for each other.
const STRIPES: usize = 4;

/// How the filters of a table, or of several, did since the tables were opened.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilterStats {
    /// Point reads that a filter was asked for and answered.
    pub probes: u64,
    /// Of them, those the filter said "absent" to.
    pub negatives: u64,
    /// Of them, those the filter said "maybe" to and that found nothing. A read that is too old to see a key that is
    /// there counts as well.
    pub false_positives: u64,
    /// Point reads of tables whose filter could not be used, or not be read.
    pub unusable: u64,
    /// Point reads of tables without a filter that found something.
    pub unfiltered_hits: u64,
    /// Point reads of tables without a filter that found nothing.
    pub unfiltered_misses: u64,
    /// Times a filter over prefixes was asked and answered.
    pub prefix_probes: u64,
    /// Of them, those that let a scan pass over the table, or over its whole run.
    pub prefix_negatives: u64,
    /// Partitions that turned out damaged or of an unknown structure, or could not be read. They are not tried again
    /// before the table is opened anew.
    pub damaged_partitions: u64,
    /// Bytes of partitions that stay in memory as long as the table is open.
    pub pinned_bytes: u64,
}

impl FilterStats {
    /// Point reads that looked for an entry, whatever was found.
    pub fn reads(&self) -> u64 {
        self.probes + self.unfiltered_hits + self.unfiltered_misses
    }

    /// Those of them that found nothing.
    pub fn misses(&self) -> u64 {
        self.negatives + self.false_positives + self.unfiltered_misses
    }

    /// Adds the figures of other tables.
    pub fn add(&mut self, other: &Self) {
        self.probes += other.probes;
        self.negatives += other.negatives;
        self.false_positives += other.false_positives;
        self.unusable += other.unusable;
        self.unfiltered_hits += other.unfiltered_hits;
        self.unfiltered_misses += other.unfiltered_misses;
        self.prefix_probes += other.prefix_probes;
        self.prefix_negatives += other.prefix_negatives;
        self.damaged_partitions += other.damaged_partitions;
        self.pinned_bytes += other.pinned_bytes;
    }
}

/// What is counted on the way of a read: each event once, so that a read writes one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Negative,
    FalsePositive,
    Hit,
    Unusable,
    UnfilteredHit,
    UnfilteredMiss,
    PrefixNegative,
    PrefixMaybe,
}

const EVENTS: usize = 8;

/// Counters of one table.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    stripes: [Stripe; STRIPES],
}

/// Counters that lie in a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe {
    counts: [AtomicU64; EVENTS],
}

thread_local! {
    /// Which stripe the thread writes.
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

impl Counters {
    /// Counts an event. Not one atomic step: two threads that share a stripe may lose a count to each other, which a
    /// figure to steer by bears and a read need not pay for.
    #[inline]
    pub(crate) fn count(&self, event: Event) {
        let stripe = STRIPE.with(|stripe| match stripe.get() {
            usize::MAX => Self::new_thread(stripe),
            known => known,
        });
        let counter = self.stripes.get(stripe).and_then(|stripe| stripe.counts.get(event as usize));
        if let Some(counter) = counter {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    #[cold]
    fn new_thread(stripe: &Cell<usize>) -> usize {
        stripe.set(NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES);
        stripe.get()
    }

    fn of(&self, event: Event) -> u64 {
        let counters = self.stripes.iter().filter_map(|stripe| stripe.counts.get(event as usize));
        counters.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn stats(&self) -> FilterStats {
        let negatives = self.of(Event::Negative);
        let false_positives = self.of(Event::FalsePositive);
        let prefix_negatives = self.of(Event::PrefixNegative);
        FilterStats {
            probes: negatives + false_positives + self.of(Event::Hit),
            negatives,
            false_positives,
            unusable: self.of(Event::Unusable),
            unfiltered_hits: self.of(Event::UnfilteredHit),
            unfiltered_misses: self.of(Event::UnfilteredMiss),
            prefix_probes: prefix_negatives + self.of(Event::PrefixMaybe),
            prefix_negatives,
            damaged_partitions: 0,
            pinned_bytes: 0,
        }
    }
}
