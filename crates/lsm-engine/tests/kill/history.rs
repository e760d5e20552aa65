//! A history of writes that follows from a seed alone, so that two processes know it without a word.

use std::collections::BTreeMap;

use lsm_types::SeqNo;

/// Different keys.
const KEYS: u64 = 700;
/// One write in so many is a delete.
const DELETE_EVERY: u64 = 5;

/// The writes of a run; the one with number `n` is always the same.
pub(crate) struct History {
    seed: u64,
}

/// One write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: Vec<u8>,
    /// `None` for a delete.
    pub(crate) value: Option<Vec<u8>>,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The write with this number.
    pub(crate) fn write(&self, seqno: SeqNo) -> Write {
        let mut dice = Dice::new(self.seed ^ seqno.get().wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let key = format!("key-{:06}", dice.below(KEYS)).into_bytes();
        let is_delete = dice.below(DELETE_EVERY) == 0;
        let len = usize::try_from(dice.below(400)).unwrap();
        let value = (!is_delete).then(|| {
            let mut value = seqno.get().to_string().into_bytes();
            value.resize(len.max(value.len()), b'.');
            value
        });
        Write { key, value }
    }

    /// What a tree holds after all writes below `cut`.
    pub(crate) fn contents(&self, cut: SeqNo) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut contents = BTreeMap::new();
        let mut seqno = SeqNo::ZERO;
        while seqno < cut {
            let Write { key, value } = self.write(seqno);
            match value {
                Some(value) => contents.insert(key, value),
                None => contents.remove(&key),
            };
            seqno = seqno.next();
        }
        contents
    }
}

/// Numbers that follow from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
