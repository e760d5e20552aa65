//! The write buffer itself: one lock for writers, none for readers.

use alloc::sync::Arc;

use lock_api::{Mutex, MutexGuard, RawMutex};
use lsm_types::{EntryRef, KeyHash, KeyOrder, Kind, SeqNo};

use crate::{
    MemCursor, MemtableError, entry,
    filter::Filter,
    sync::{AtomicU64, AtomicUsize, Ordering},
    tree::{Point, Tree, View, WARM_AT_ONCE},
    writer::{Added, Writer},
};

/// Most bytes a memtable can take: its places are 32-bit numbers.
const BYTES_MAX: u64 = 4 << 30;

/// What a memtable is made with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MemtableConfig {
    /// Hard cap on the bytes it allocates, bookkeeping included; 4 GiB at most. A memtable is meant to be sealed
    /// well before: it grows by steps of 4 MiB.
    pub bytes_max: u64,
}

impl Default for MemtableConfig {
    fn default() -> Self {
        Self { bytes_max: BYTES_MAX }
    }
}

impl MemtableConfig {
    /// With a hard cap of `bytes_max` bytes.
    pub fn with_bytes_max(bytes_max: u64) -> Self {
        Self { bytes_max: bytes_max.min(BYTES_MAX) }
    }
}

/// A concurrent, ordered set of entries that only grows, and is freed as a whole.
///
/// Entries are ordered by key, then by number descending. Readers take no lock: an insert is visible to every read
/// that begins after it returned. Inserts take turns behind a lock of kind `R`.
///
/// Inserting the same key and number again changes nothing if kind and value are the same, and otherwise replaces
/// the entry: the later call wins. A read that runs meanwhile sees one or the other.
pub struct Memtable<R> {
    tree: Tree,
    filter: Filter,
    writer: Mutex<R, Writer>,
    bytes_max: u64,
    len: AtomicUsize,
    /// Bounds of all numbers; lowest above highest while there are none.
    seqno_min: AtomicU64,
    seqno_max: AtomicU64,
}

impl<R: RawMutex> Memtable<R> {
    /// An empty memtable. It allocates at the first insert.
    pub fn new(order: KeyOrder, config: MemtableConfig) -> Self {
        Self {
            tree: Tree::new(order),
            filter: Filter::new(),
            writer: Mutex::new(Writer::new()),
            bytes_max: config.bytes_max.min(BYTES_MAX),
            len: AtomicUsize::new(0),
            seqno_min: AtomicU64::new(u64::MAX),
            seqno_max: AtomicU64::new(0),
        }
    }

    /// Adds an entry; returns the bytes it takes, 0 if it was there already.
    ///
    /// # Errors
    /// Every [`MemtableError`]; nothing has changed then.
    pub fn insert(&self, key: &[u8], seqno: SeqNo, kind: Kind, value: &[u8]) -> Result<usize, MemtableError> {
        let entry = EntryRef { key, seqno, kind, value };
        let hash = KeyHash::of(key);
        self.filter.warm(&self.tree.arena, hash);
        let mut writer = self.lock(&entry);
        writer.reserve(&self.tree, &entry, self.room())?;
        self.widen(seqno, seqno);
        let added = writer.insert(&self.tree, &entry)?;
        self.filter.add(&self.tree.arena, hash, self.room());
        self.count(added);
        Ok(added.bytes)
    }

    /// Adds all entries of a batch or none; returns the bytes they take.
    ///
    /// The entries are walked twice, the first time to check them and to reserve space. They become visible one by
    /// one. Sorted batches are fastest; of entries with the same key and number the last one wins.
    ///
    /// # Errors
    /// Every [`MemtableError`]; nothing has changed then.
    pub fn insert_batch<'e, I>(&self, entries: I) -> Result<usize, MemtableError>
    where
        I: IntoIterator<Item = EntryRef<'e>>,
        I::IntoIter: Clone,
    {
        let entries = entries.into_iter();
        let mut writer = self.writer.lock();
        let (mut lowest, mut highest) = (SeqNo::LATEST, SeqNo::ZERO);
        let noted = entries.clone().inspect(|entry| {
            lowest = lowest.min(entry.seqno);
            highest = highest.max(entry.seqno);
        });
        if writer.reserve_all(&self.tree, noted, self.room())? == 0 {
            return Ok(0);
        }
        self.widen(lowest, highest);
        let mut all = Added::default();
        let mut ahead = entries.clone();
        for (n, entry) in entries.enumerate() {
            if n % WARM_AT_ONCE == 0 {
                let soon = ahead.clone().take(WARM_AT_ONCE);
                soon.clone().for_each(|entry| self.filter.warm(&self.tree.arena, KeyHash::of(entry.key)));
                writer.warm(&self.tree, soon);
                ahead.by_ref().take(WARM_AT_ONCE).for_each(drop);
            }
            let added = writer.insert(&self.tree, &entry)?;
            self.filter.add(&self.tree.arena, KeyHash::of(entry.key), self.room());
            all.entries += added.entries;
            all.bytes += added.bytes;
        }
        self.count(all);
        Ok(all.bytes)
    }

    /// Refuses every insert from now on, with [`MemtableError::Frozen`]. Returns when none is under way any more.
    pub fn freeze(&self) {
        self.writer.lock().freeze();
    }

    /// Refuses inserts numbered below `floor` from now on, with [`MemtableError::BelowFloor`]; a lower floor
    /// takes the place of a higher one. Returns when no insert is under way that it would have refused.
    pub fn refuse_below(&self, floor: SeqNo) {
        self.writer.lock().refuse_below(floor);
    }

    /// Refuses inserts numbered at or below the highest number there is, which it returns, and those below `floor`. When
    /// it returns, what lies up to that number is complete: no insert and no batch is under way that adds to it.
    pub fn refuse_below_newest(&self, floor: SeqNo) -> Option<SeqNo> {
        let mut writer = self.writer.lock();
        let highest = self.highest_seqno();
        writer.refuse_below(highest.map_or(floor, |highest| floor.max(highest.next())));
        highest
    }

    /// The newest version of `key` numbered below `before`.
    pub fn get(&self, key: &[u8], before: SeqNo) -> Option<EntryRef<'_>> {
        self.get_hashed(key, KeyHash::of(key), before)
    }

    /// The same for a caller that has the key's hash already, as made by [`KeyHash::of`].
    pub fn get_hashed(&self, key: &[u8], hash: KeyHash, before: SeqNo) -> Option<EntryRef<'_>> {
        if !self.filter.may_contain(&self.tree.arena, hash) {
            return None;
        }
        let view = self.tree.view()?;
        let found = view.find(Point { key, before })?;
        let entry = view.space.entry(found);
        (entry.key == key).then_some(entry)
    }

    /// A cursor over all entries, standing on none. It keeps the memtable alive.
    pub fn cursor(self: &Arc<Self>) -> MemCursor<R> {
        MemCursor::new(Arc::clone(self))
    }

    /// Entries inserted; one that was replaced counts once.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether nothing was inserted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes obtained from the allocator, and the memtable itself.
    pub fn bytes(&self) -> u64 {
        self.tree.arena.allocated() + size_of::<Self>() as u64
    }

    /// Lowest and highest number inserted; never narrower than what a read can find.
    pub fn seqnos(&self) -> Option<(SeqNo, SeqNo)> {
        let lowest = self.seqno_min.load(Ordering::Acquire);
        let highest = self.seqno_max.load(Ordering::Acquire);
        if lowest > highest {
            return None;
        }
        SeqNo::new(lowest).zip(SeqNo::new(highest))
    }

    /// Highest number inserted.
    pub fn highest_seqno(&self) -> Option<SeqNo> {
        self.seqnos().map(|(_, highest)| highest)
    }

    /// The order of keys.
    pub fn order(&self) -> &KeyOrder {
        &self.tree.order
    }

    #[inline]
    pub(crate) fn view(&self) -> Option<View<'_>> {
        self.tree.view()
    }

    /// The writer. Whoever has to wait for it loads meanwhile what the insert will need.
    #[inline]
    fn lock(&self, entry: &EntryRef<'_>) -> MutexGuard<'_, R, Writer> {
        if let Some(writer) = self.writer.try_lock() {
            return writer;
        }
        if entry::check(entry).is_ok() {
            let warmed =
                self.tree.view().and_then(|view| view.find(Point { key: entry.key, before: entry.seqno }));
            core::hint::black_box(warmed);
        }
        self.writer.lock()
    }

    /// Bytes the arena may take.
    fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(size_of::<Self>() as u64)
    }

    /// Widens the bounds before the entries can be seen. Only the writer calls it.
    #[inline]
    fn widen(&self, lowest: SeqNo, highest: SeqNo) {
        if highest.get() > self.seqno_max.load(Ordering::Relaxed) {
            self.seqno_max.store(highest.get(), Ordering::Release);
        }
        if lowest.get() < self.seqno_min.load(Ordering::Relaxed) {
            self.seqno_min.store(lowest.get(), Ordering::Release);
        }
    }

    /// Counts entries after they can be seen. Only the writer calls it.
    #[inline]
    fn count(&self, added: Added) {
        let len = self.len.load(Ordering::Relaxed);
        self.len.store(len + added.entries, Ordering::Release);
    }
}

impl<R: RawMutex> core::fmt::Debug for Memtable<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Memtable")
            .field("order", &self.tree.order)
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .field("seqnos", &self.seqnos())
            .finish_non_exhaustive()
    }
}
