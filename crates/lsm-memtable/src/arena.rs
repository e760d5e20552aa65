//! Memory that is handed out piece by piece and freed as a whole.
//!
//! ```text
//!  offset  31 .. 22   21 .. 0
//!          chunk      byte          chunk: | header | entries -> ...... <- nodes |
//! ```
//!
//! Entries of any length grow from the low end of a chunk, nodes from the high end, so nodes keep whole cache lines
//! without holes between entries and lie close together. A chunk has 4 MiB, the first one 64 KiB only; addressing is
//! the same for all. Values outside chunks live in blocks of their own. Nothing is zeroed, nothing is freed early.
//!
//! Readers follow offsets through [`Space`]; one writer at a time holds the [`Bump`]. Space is reserved before it is
//! used, so an insert that has begun cannot fail.

#![expect(unsafe_code, reason = "raw memory with a lifetime of its own")]

use alloc::{
    alloc::{Layout, alloc, alloc_zeroed, dealloc},
    boxed::Box,
};
use core::{
    fmt,
    marker::PhantomData,
    num::NonZeroU32,
    ptr::{self, NonNull},
};

use crate::{
    MemtableError,
    prefetch::{LINE, prefetch},
    sync::{AtomicPtr, AtomicU64, CHUNK_BITS, Ordering},
};

const CHUNKS: usize = 1 << (u32::BITS - CHUNK_BITS);
const CHUNK_LEN: u64 = 4 << 20;
const FIRST_CHUNK_LEN: u64 = 64 << 10;
const CHUNK_ALIGN: usize = 4096;
const HEADER_LEN: usize = size_of::<Header>();

const _: () = assert!(CHUNK_LEN <= 1 << CHUNK_BITS, "a chunk fits its range of offsets");

/// Place of a `T` in one arena. Only the arena makes one, after the `T` is written.
pub(crate) struct At<T> {
    raw: NonZeroU32,
    what: PhantomData<fn() -> T>,
}

impl<T> At<T> {
    /// The number, to be stored in a node.
    #[inline]
    pub(crate) const fn raw(self) -> u32 {
        self.raw.get()
    }

    /// The place behind a number from [`At::raw`]; `None` for zero.
    ///
    /// # Safety
    /// A number other than zero came from an `At<T>` of the arena it is used with, and the write of the `T` happens
    /// before this call.
    #[inline]
    pub(crate) const unsafe fn from_raw(raw: u32) -> Option<Self> {
        match NonZeroU32::new(raw) {
            Some(raw) => Some(Self { raw, what: PhantomData }),
            None => None,
        }
    }
}

impl<T> Clone for At<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for At<T> {}

impl<T> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<T> fmt::Debug for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "At({:#x})", self.raw)
    }
}

/// Head of every block the arena owns: the list by which they are freed.
#[repr(C, align(64))]
struct Header {
    next: *mut Header,
    layout: Layout,
}

type Chunks = [AtomicPtr<u8>; CHUNKS];

/// Owner of the memory, shared by readers and the writer.
pub(crate) struct Arena {
    /// Start of each chunk; null until the first reservation.
    chunks: AtomicPtr<Chunks>,
    /// All blocks, newest first.
    blocks: AtomicPtr<Header>,
    /// Bytes obtained from the allocator.
    allocated: AtomicU64,
}

/// What readers need to follow offsets.
#[derive(Clone, Copy)]
pub(crate) struct Space<'a> {
    chunks: &'a Chunks,
}

/// Where the one writer places the next pieces.
#[derive(Debug)]
pub(crate) struct Bump {
    /// Free bytes of the chunk in use, as offsets.
    low: u64,
    high: u64,
    /// Chunks allocated, and the one in use.
    chunk_count: usize,
    chunk_idx: usize,
    /// Rest of the newest block for large values.
    outside: NonNull<u8>,
    outside_len: usize,
}

// SAFETY: the pointer leads to memory that only the holder of the `Bump` writes, whatever thread it is on.
unsafe impl Send for Bump {}

/// What an insert or a batch will place at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Bytes of all pieces inside chunks.
    pub(crate) inside: u64,
    /// The same if the arena were empty.
    pub(crate) inside_alone: u64,
    /// Bytes of the longest piece, alignment included.
    pub(crate) piece: u64,
    /// Bytes of all values outside chunks.
    pub(crate) outside: u64,
}

impl Need {
    /// Bytes of a chunk that can surely be used: up to a piece is lost at its end.
    fn usable(&self, chunk_len: u64) -> u64 {
        chunk_len.saturating_sub(self.piece + HEADER_LEN as u64)
    }

    /// Full chunks for `inside` bytes, and the least length of one more for the rest, 0 if there is none.
    fn chunks(&self, inside: u64) -> (u64, u64) {
        let (full_count, rest) = (inside / self.usable(CHUNK_LEN), inside % self.usable(CHUNK_LEN));
        let rest_len = (rest + self.piece + HEADER_LEN as u64).next_multiple_of(CHUNK_ALIGN as u64);
        (full_count, if rest > 0 { rest_len } else { 0 })
    }
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self {
            chunks: AtomicPtr::new(ptr::null_mut()),
            blocks: AtomicPtr::new(ptr::null_mut()),
            allocated: AtomicU64::new(0),
        }
    }

    /// Bytes obtained from the allocator.
    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    /// The readers' side; `None` before the first reservation.
    #[inline]
    pub(crate) fn space(&self) -> Option<Space<'_>> {
        let chunks = self.chunks.load(Ordering::Acquire);
        // SAFETY: the directory is built before it is stored and freed only when the arena, borrowed here, is dropped.
        unsafe { chunks.as_ref() }.map(|chunks| Space { chunks })
    }

    /// Makes sure that `need` can be placed without fail, within `max` bytes for the whole arena.
    #[inline]
    pub(crate) fn reserve(&self, bump: &mut Bump, need: Need, max: u64) -> Result<(), MemtableError> {
        if bump.high - bump.low >= need.inside && need.outside == 0 {
            return Ok(());
        }
        self.reserve_blocks(bump, need, max)
    }

    #[cold]
    fn reserve_blocks(&self, bump: &mut Bump, need: Need, max: u64) -> Result<(), MemtableError> {
        let spare = |idx: usize| self.space().map_or(0, |space| need.usable(space.chunk_len(idx)));
        let here = (bump.high - bump.low).saturating_sub(need.piece);
        let ahead: u64 = (bump.chunk_idx + 1..bump.chunk_count).map(spare).sum();
        let lacking = need.inside.saturating_sub(here + ahead);

        let directory = if bump.chunk_count == 0 { size_of::<Chunks>() as u64 } else { 0 };
        let outside_len = if need.outside == 0 { 0 } else { need.outside + HEADER_LEN as u64 };
        let (full_count, rest_len) = need.chunks(lacking);
        let least = full_count * CHUNK_LEN + rest_len + directory + outside_len;
        let used = self.allocated();
        let chunk_count = bump.chunk_count as u64 + full_count + u64::from(rest_len > 0);
        if used.saturating_add(least) > max || chunk_count > CHUNKS as u64 {
            let (full_count, rest_len) = need.chunks(need.inside_alone);
            let alone = full_count * CHUNK_LEN + rest_len + size_of::<Chunks>() as u64 + outside_len;
            return Err(if alone > max || full_count >= CHUNKS as u64 {
                MemtableError::EntryTooLarge { need: alone, max }
            } else {
                MemtableError::Full { need: least, used, max }
            });
        }

        if directory > 0 && self.chunks.load(Ordering::Relaxed).is_null() {
            let chunks: Chunks = core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()));
            self.chunks.store(Box::into_raw(Box::new(chunks)), Ordering::Release);
            self.allocated.fetch_add(directory, Ordering::Relaxed);
        }
        for _ in 0..full_count {
            self.add_chunk(bump, CHUNK_LEN)?;
        }
        if rest_len > 0 {
            // A whole chunk if the cap leaves room for one, but never less than what is needed.
            let is_first = bump.chunk_count == 0 && rest_len <= FIRST_CHUNK_LEN;
            let wish = if is_first { FIRST_CHUNK_LEN } else { CHUNK_LEN };
            let room = (max - self.allocated() - outside_len) / CHUNK_ALIGN as u64 * CHUNK_ALIGN as u64;
            self.add_chunk(bump, wish.min(room).max(rest_len))?;
        }
        if need.outside > 0 {
            let (bytes, len) = self.add_block(outside_len, align_of::<Header>(), alloc)?;
            (bump.outside, bump.outside_len) = (bytes, len);
        }
        Ok(())
    }

    fn add_chunk(&self, bump: &mut Bump, len: u64) -> Result<(), MemtableError> {
        let (bytes, _) = self.add_block(len, CHUNK_ALIGN, alloc)?;
        let Some(space) = self.space() else { return Ok(()) };
        if let Some(chunk) = space.chunks.get(bump.chunk_count) {
            // The header counts as the chunk's first bytes, so no piece has offset zero.
            chunk.store(bytes.as_ptr().wrapping_sub(HEADER_LEN), Ordering::Release);
            bump.chunk_count += 1;
        }
        if bump.chunk_count == 1 {
            bump.enter(space, 0);
        }
        Ok(())
    }

    /// Zeroed words that live as long as the arena; `None` without memory or room within `max` bytes for it.
    pub(crate) fn zeroed_words(
        &self,
        count: usize,
        max: u64,
    ) -> Option<NonNull<core::sync::atomic::AtomicU64>> {
        let len = (count * size_of::<u64>() + HEADER_LEN) as u64;
        if self.allocated().saturating_add(len) > max {
            return None;
        }
        self.add_block(len, align_of::<Header>(), alloc_zeroed).ok().map(|(bytes, _)| bytes.cast())
    }

    /// A new block owned by the arena, obtained by `alloc`: its bytes after the header, and how many there are.
    fn add_block(
        &self,
        len: u64,
        align: usize,
        alloc: unsafe fn(Layout) -> *mut u8,
    ) -> Result<(NonNull<u8>, usize), MemtableError> {
        let none = MemtableError::OutOfMemory { len };
        let size = usize::try_from(len).map_err(|_| none)?;
        let layout = Layout::from_size_align(size, align).map_err(|_| none)?;
        debug_assert!(size >= HEADER_LEN && align >= align_of::<Header>(), "a block has room for its header");
        // SAFETY: the layout is not empty, it holds at least a header.
        let block = NonNull::new(unsafe { alloc(layout) }).ok_or(none)?;
        let header = block.cast::<Header>();
        let next = self.blocks.load(Ordering::Relaxed);
        // SAFETY: the block is ours alone, aligned for a header and long enough for one.
        unsafe { header.write(Header { next, layout }) };
        self.blocks.store(header.as_ptr(), Ordering::Relaxed);
        self.allocated.fetch_add(len, Ordering::Relaxed);
        // SAFETY: the header lies within the block.
        Ok((unsafe { block.add(HEADER_LEN) }, size - HEADER_LEN))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let mut block = self.blocks.load(Ordering::Relaxed);
        while !block.is_null() {
            // SAFETY: every block on the list starts with its header, and no borrow of the arena is left.
            let Header { next, layout } = unsafe { block.read() };
            // SAFETY: the block came from `alloc` with this layout and is on the list once.
            unsafe { dealloc(block.cast(), layout) };
            block = next;
        }
        let chunks = self.chunks.load(Ordering::Relaxed);
        if !chunks.is_null() {
            // SAFETY: the directory came from `Box::into_raw` and nobody borrows it any more.
            drop(unsafe { Box::from_raw(chunks) });
        }
    }
}

impl Bump {
    pub(crate) const fn new() -> Self {
        Self { low: 0, high: 0, chunk_count: 0, chunk_idx: 0, outside: NonNull::dangling(), outside_len: 0 }
    }

    fn enter(&mut self, space: Space<'_>, idx: usize) {
        let start = (idx as u64) << CHUNK_BITS;
        self.chunk_idx = idx;
        self.low = start + HEADER_LEN as u64;
        self.high = start + space.chunk_len(idx);
    }

    /// Goes on to a chunk with room for `len` bytes; false when nothing was reserved.
    #[inline]
    fn make_room(&mut self, space: Space<'_>, len: u64) -> bool {
        while self.high - self.low < len {
            if self.chunk_idx + 1 >= self.chunk_count {
                debug_assert!(false, "space was reserved before it is used");
                return false;
            }
            self.enter(space, self.chunk_idx + 1);
        }
        true
    }

    /// Writes bytes of an entry with `write`, which gets the start of `len` bytes nobody else sees.
    pub(crate) fn place_bytes<T>(
        &mut self,
        space: Space<'_>,
        len: usize,
        write: impl FnOnce(*mut u8),
    ) -> Option<At<T>> {
        if !self.make_room(space, len as u64) {
            return None;
        }
        let raw = u32::try_from(self.low).ok().and_then(NonZeroU32::new)?;
        self.low += len as u64;
        write(space.resolve(raw).cast_mut());
        Some(At { raw, what: PhantomData })
    }

    /// Moves a node, aligned to cache lines, into the arena.
    pub(crate) fn place_node<T>(&mut self, space: Space<'_>, node: T) -> Option<At<T>> {
        const { assert!(align_of::<T>() <= CHUNK_ALIGN, "a chunk is aligned for every node") };
        let (len, align) = (size_of::<T>() as u64, align_of::<T>() as u64);
        if !self.make_room(space, len + align - 1) {
            return None;
        }
        self.high = (self.high - len) / align * align;
        let raw = u32::try_from(self.high).ok().and_then(NonZeroU32::new)?;
        let place = space.resolve(raw).cast_mut().cast::<T>();
        // SAFETY: the bytes were just taken off the free range of a live chunk and are aligned for `T`.
        unsafe { place.write(node) };
        Some(At { raw, what: PhantomData })
    }

    /// Copies `value` into the newest outside block; it lives as long as the arena.
    pub(crate) fn place_outside(&mut self, value: &[u8]) -> Option<NonNull<u8>> {
        if self.outside_len < value.len() {
            debug_assert!(false, "space was reserved before it is used");
            return None;
        }
        let place = self.outside;
        // SAFETY: the value fits the rest of the block, which nobody else has seen.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len()) };
        // SAFETY: the value fitted, so this is at most the end of the block.
        self.outside = unsafe { place.add(value.len()) };
        self.outside_len -= value.len();
        Some(place)
    }
}

impl<'a> Space<'a> {
    /// Bytes of a chunk that was added, header included.
    #[expect(clippy::cast_ptr_alignment, reason = "a chunk is aligned far beyond its header")]
    fn chunk_len(self, idx: usize) -> u64 {
        let chunk = self.chunks.get(idx).map_or(ptr::null_mut(), |chunk| chunk.load(Ordering::Relaxed));
        // SAFETY: a chunk starts with its header, which nobody writes after the chunk was added.
        unsafe { chunk.cast::<Header>().as_ref() }
            .map_or(HEADER_LEN as u64, |header| header.layout.size() as u64)
    }

    #[inline]
    fn resolve(self, raw: NonZeroU32) -> *const u8 {
        let chunk = self.chunks.get((raw.get() >> CHUNK_BITS) as usize);
        // The offset was published after the chunk, so seeing the one means seeing the other.
        let base = chunk.map_or(ptr::null_mut(), |chunk| chunk.load(Ordering::Relaxed));
        base.wrapping_add((raw.get() & ((1 << CHUNK_BITS) - 1)) as usize)
    }

    /// First byte of what lies at `at`.
    #[inline]
    pub(crate) fn pointer<T>(self, at: At<T>) -> *const u8 {
        self.resolve(at.raw)
    }

    /// The node at `at`.
    #[inline]
    pub(crate) fn node<T: Node>(self, at: At<T>) -> &'a T {
        let place = self.resolve(at.raw).cast::<T>();
        // SAFETY: an `At` of a node comes from `place_node`, which wrote one there, aligned; it lives as long as the
        // arena and changes through its atomics only.
        unsafe { &*place }
    }
}

impl Space<'_> {
    /// Starts loading all lines of the node at `at`.
    #[inline]
    pub(crate) fn prefetch_node<T: Node>(self, at: At<T>) {
        let start = self.resolve(at.raw);
        for line in 0..size_of::<T>() / LINE {
            prefetch(start.wrapping_add(line * LINE));
        }
    }
}

/// Marks what is placed by [`Bump::place_node`] and nothing else, so that an [`At`] of it leads to one.
///
/// # Safety
/// The type is never placed by [`Bump::place_bytes`], and all of it that changes after it was placed is atomic.
pub(crate) unsafe trait Node: Send + Sync {}
