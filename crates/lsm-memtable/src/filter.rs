//! Says of most keys that they are not here, without a walk down the tree.
//!
//! A Bloom filter in layers: each key sets four bits of one 64-bit word of the newest layer, a layer takes four keys
//! per word, and when it is full one four times as large is put before it. A read of an absent key then costs one
//! word per layer, and the loads do not wait for each other. Each full layer lets about one stranger in a hundred
//! through.
//!
//! There is one writer, so a word is loaded and stored without a locked instruction. Where a layer finds no room the
//! filter gives up and lets every key through.
//!
//! Words are the language's atomics even under the model checker: they come zeroed from the allocator by the
//! thousand, and a filter says nothing about the order of writes.

#![expect(unsafe_code, reason = "layers are raw memory owned by the arena")]

use core::{
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

use lsm_types::KeyHash;

use crate::{arena::Arena, prefetch::prefetch};

const LAYERS: usize = 8;
/// Words of the first layer as a power of two: 8 KiB.
const FIRST_BITS: usize = 10;
const KEYS_PER_WORD: usize = 4;
/// State of a filter that gave up.
const GIVEN_UP: usize = usize::MAX;

/// The readers' side. One writer may call [`Filter::add`] at a time.
pub(crate) struct Filter {
    layers: [AtomicPtr<AtomicU64>; LAYERS],
    /// Layers in use, or [`GIVEN_UP`].
    layer_count: AtomicUsize,
    /// Keys the newest layer still takes. Only the writer looks at it.
    room: AtomicUsize,
}

impl Filter {
    pub(crate) const fn new() -> Self {
        Self {
            layers: [const { AtomicPtr::new(ptr::null_mut()) }; LAYERS],
            layer_count: AtomicUsize::new(0),
            room: AtomicUsize::new(0),
        }
    }

    /// Whether a key with this hash may have been added. `arena` is the one it was added with.
    #[inline]
    pub(crate) fn may_contain(&self, arena: &Arena, hash: KeyHash) -> bool {
        let layer_count = self.layer_count.load(Ordering::Acquire);
        if layer_count > LAYERS {
            return true;
        }
        let mask = mask(hash);
        // The newest layer holds most keys.
        (0..layer_count).rev().any(|idx| {
            self.word(arena, idx, hash).is_none_or(|word| word.load(Ordering::Acquire) & mask == mask)
        })
    }

    /// Starts loading what [`Filter::add`] will need.
    #[inline]
    pub(crate) fn warm(&self, arena: &Arena, hash: KeyHash) {
        let newest = self.layer_count.load(Ordering::Relaxed).wrapping_sub(1);
        if let Some(word) = self.word(arena, newest, hash) {
            prefetch(ptr::from_ref(word).cast());
        }
    }

    /// Adds a key; a new layer must fit within `max` bytes for the whole arena.
    #[inline]
    pub(crate) fn add(&self, arena: &Arena, hash: KeyHash, max: u64) {
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 && !self.grow(arena, max) {
            return;
        }
        let newest = self.layer_count.load(Ordering::Relaxed) - 1;
        let Some(word) = self.word(arena, newest, hash) else { return };
        let (old, mask) = (word.load(Ordering::Relaxed), mask(hash));
        if old & mask != mask {
            word.store(old | mask, Ordering::Release);
            self.room.store(self.room.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }

    /// Puts a new layer before the others; false when the filter has given up.
    #[cold]
    fn grow(&self, arena: &Arena, max: u64) -> bool {
        let idx = self.layer_count.load(Ordering::Relaxed);
        let layer = self.layers.get(idx);
        let Some((layer, words)) =
            layer.and_then(|layer| Some((layer, arena.zeroed_words(1 << layer_bits(idx), max)?)))
        else {
            self.layer_count.store(GIVEN_UP, Ordering::Release);
            return false;
        };
        layer.store(words.as_ptr(), Ordering::Release);
        self.room.store(KEYS_PER_WORD << layer_bits(idx), Ordering::Relaxed);
        self.layer_count.store(idx + 1, Ordering::Release);
        true
    }

    /// The word of a hash in a layer. It lives as long as the arena.
    #[inline]
    fn word<'a>(&self, _arena: &'a Arena, idx: usize, hash: KeyHash) -> Option<&'a AtomicU64> {
        let layer = NonNull::new(self.layers.get(idx)?.load(Ordering::Acquire))?;
        // SAFETY: `grow` stored this many zeroed words, which the arena frees when it is dropped and nobody else uses.
        let words = unsafe { slice::from_raw_parts(layer.as_ptr(), 1 << layer_bits(idx)) };
        words.get(usize::try_from(hash.get() >> (64 - layer_bits(idx))).ok()?)
    }
}

/// Words of a layer, as a power of two.
const fn layer_bits(idx: usize) -> usize {
    FIRST_BITS + 2 * idx
}

/// Four bits of a word, chosen by the low end of the hash; its high end chooses the word.
#[inline]
const fn mask(hash: KeyHash) -> u64 {
    let bits = hash.get();
    1 << (bits & 63) | 1 << (bits >> 6 & 63) | 1 << (bits >> 12 & 63) | 1 << (bits >> 18 & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> KeyHash {
        KeyHash::of(&n.to_be_bytes())
    }

    #[test]
    fn no_key_is_denied_and_few_strangers_get_through() {
        let (filter, arena) = (Filter::new(), Arena::new());
        assert!(!filter.may_contain(&arena, hash(0)), "an empty filter lets nobody through");
        let count = 100_000;
        for n in 0..count {
            filter.add(&arena, hash(n), u64::MAX);
            assert!(filter.may_contain(&arena, hash(n)));
        }
        assert!((0..count).all(|n| filter.may_contain(&arena, hash(n))));
        let strangers = (count..2 * count).filter(|n| filter.may_contain(&arena, hash(*n))).count();
        assert!(strangers < 3000, "{strangers} of {count}");
    }

    #[test]
    fn without_room_everybody_gets_through() {
        let (filter, arena) = (Filter::new(), Arena::new());
        for n in 0..10_000 {
            filter.add(&arena, hash(n), 20_000);
        }
        assert!((0..20_000).all(|n| filter.may_contain(&arena, hash(n))));
        assert!(arena.allocated() <= 20_000);
    }
}
