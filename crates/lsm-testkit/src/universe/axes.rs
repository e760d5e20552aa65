//! What differs from life to life: the order, the operator, the keys, and how the tree is set up.

use std::sync::Arc;

use lsm_types::{Comparator, MergeOperator, SeqNo};

use crate::{
    comparators,
    dice::Dice,
    operators::{Join, SetEdit},
};

/// What stays the same throughout one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes {
    /// Shape of the keys.
    pub keys: Keys,
    /// Which of [`comparators::all`].
    pub comparator: u8,
    /// What folds operands.
    pub folding: Folding,
    /// How weak deletes are used.
    pub weak: Weak,
    /// Number of the first write.
    pub first: u64,
    /// Levels of the tree.
    pub levels: u8,
    /// Bytes of a data block.
    pub block_bytes: u32,
    /// Bytes of a table.
    pub table_bytes: u16,
    /// Bytes of the block cache.
    pub cache_bytes: u32,
    /// Bytes after which the manifest is written anew.
    pub rotate_bytes: u32,
    /// Seed of everything else that the subject may choose, such as filters.
    pub variant: u32,
}

/// Shapes of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Of different lengths with nested prefixes.
    Slashes,
    /// One byte.
    Single,
    /// Eight bytes, little-endian numbers; some are shorter.
    Numbers,
    /// Runs of `00` and `FF`.
    Edges,
    /// A long prefix that all have in common.
    Shared,
    /// Many keys.
    Wide,
}

/// What folds operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folding {
    /// Nothing: the newest operand is the value.
    Off,
    /// Joins, and composes operands without a base.
    Compose,
    /// Joins onto a base only.
    Join,
    /// Edits a set; does not compose.
    SetEdit,
}

/// How weak deletes are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weak {
    /// Within their contract.
    Legal,
    /// On keys that were put more than once.
    Misused,
    /// As misused, in a tree that takes them for ordinary ones.
    Strict,
}

impl Axes {
    /// Nothing special: where a life is made simpler, it gets as near to this as it can.
    pub const PLAIN: Self = Self {
        keys: Keys::Slashes,
        comparator: 0,
        folding: Folding::Off,
        weak: Weak::Legal,
        first: 1,
        levels: 7,
        block_bytes: 256,
        table_bytes: 2_000,
        cache_bytes: 1 << 20,
        rotate_bytes: 1 << 20,
        variant: 0,
    };

    /// Axes as the dice say. Few lives have many keys, since these cost more.
    pub fn random(dice: &mut Dice) -> Self {
        let keys = [Keys::Slashes, Keys::Single, Keys::Numbers, Keys::Edges, Keys::Shared];
        let keys = if dice.one_in(24) { Keys::Wide } else { one_of(dice, &keys) };
        Self {
            keys,
            comparator: dice.roll().to_le_bytes()[0] % 6,
            folding: one_of(dice, &[Folding::Off, Folding::Compose, Folding::Join, Folding::SetEdit]),
            weak: one_of(dice, &[Weak::Legal, Weak::Legal, Weak::Misused, Weak::Strict]),
            first: one_of(dice, &[0, 1, 1, (1 << 32) - 60, SeqNo::MAX_WRITE.get() - 100_000]),
            levels: one_of(dice, &[2, 3, 4, 7, 9]),
            block_bytes: one_of(dice, &[256, 256, 1_024, 65_536]),
            table_bytes: one_of(dice, &[1, 400, 2_000, u16::MAX]),
            cache_bytes: one_of(dice, &[0, 4_096, 1 << 20]),
            rotate_bytes: one_of(dice, &[300, 2_000, 1 << 20]),
            variant: u32::from_le_bytes([1, 2, 3, 4].map(|_| dice.roll().to_le_bytes()[0])),
        }
    }

    /// The order of keys.
    pub fn comparator(&self) -> Arc<dyn Comparator> {
        let all = comparators::all();
        let wanted = usize::from(self.comparator) % all.len();
        all.into_iter().nth(wanted).unwrap_or_else(|| Arc::new(lsm_types::Bytewise))
    }

    /// What folds operands.
    pub fn operator(&self) -> Option<Arc<dyn MergeOperator>> {
        match self.folding {
            Folding::Off => None,
            Folding::Compose => Some(Arc::new(Join::new(true))),
            Folding::Join => Some(Arc::new(Join::new(false))),
            Folding::SetEdit => Some(Arc::new(SetEdit)),
        }
    }
}

/// One of `choices`, of which there is at least one.
pub(super) fn one_of<T: Copy>(dice: &mut Dice, choices: &[T]) -> T {
    let chosen = dice.index(choices.len());
    choices.get(chosen).copied().unwrap_or_else(|| one_of(dice, choices))
}

impl Keys {
    /// Number of keys that are written.
    pub fn count(self) -> u16 {
        if self == Self::Wide { 700 } else { 16 }
    }

    /// The key of a number; numbers from [`Keys::count`] on start again.
    pub fn key(self, number: u16) -> Vec<u8> {
        let number = number % self.count();
        let [low, high] = number.to_le_bytes();
        match self {
            Self::Slashes => {
                let mut key = b"key".to_vec();
                key.extend(std::iter::repeat_n(b'/', usize::from(number % 4)));
                key.push(b'a' + low);
                key
            }
            Self::Single => vec![low.wrapping_mul(17)],
            Self::Numbers => {
                let number = u64::from(number / 2) << (8 * (number % 5));
                let bytes = number.to_le_bytes();
                if low % 8 == 5 { vec![b'n', low] } else { with_last(&bytes, low % 2) }
            }
            Self::Edges => {
                let byte = if low.is_multiple_of(2) { 0 } else { 0xFF };
                let mut key = vec![byte; 1 + usize::from(low / 4)];
                if low % 4 >= 2 {
                    key.push(0xFF - byte);
                }
                key
            }
            Self::Shared => [&[b'p'; 150], [low / 4, low % 4].as_slice()].concat(),
            Self::Wide => [b"wide/".as_slice(), &[b'a' + high, low]].concat(),
        }
    }

    /// A key that is written with any kind but weak deletes.
    pub fn plain(self, number: u16) -> Vec<u8> {
        let number = number % self.count();
        self.key(if number % 4 == 3 { number - 1 } else { number })
    }

    /// A key on which weak deletes are used.
    pub fn weak(self, number: u16) -> Vec<u8> {
        self.key((number % self.count()) / 4 * 4 + 3)
    }

    /// All keys that are written, and some that are not.
    pub fn probes(self) -> Vec<Vec<u8>> {
        let written: Vec<Vec<u8>> = (0..self.count()).map(|number| self.key(number)).collect();
        let mut absent = vec![b"l".to_vec(), vec![0x80], vec![0xFF; 9]];
        for key in written.iter().step_by(5) {
            absent.push([key.as_slice(), &[0]].concat());
            absent.extend(key.split_last().map(|(_, rest)| rest.to_vec()).filter(|rest| !rest.is_empty()));
        }
        let mut all = [written, absent].concat();
        all.sort();
        all.dedup();
        all
    }
}

fn with_last(bytes: &[u8], last: u8) -> Vec<u8> {
    let mut key = bytes.to_vec();
    key.pop();
    key.push(last);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_number_has_its_key() {
        let shapes = [Keys::Slashes, Keys::Single, Keys::Numbers, Keys::Edges, Keys::Shared, Keys::Wide];
        for keys in shapes {
            let all: BTreeSet<_> = (0..keys.count()).map(|number| keys.key(number)).collect();
            assert_eq!(all.len(), usize::from(keys.count()), "{keys:?}: {all:?}");
            assert!(!all.contains(&Vec::new()));
            let weak: BTreeSet<_> = (0..keys.count()).map(|number| keys.weak(number)).collect();
            assert!((0..keys.count()).all(|number| !weak.contains(&keys.plain(number))), "{keys:?}");
        }
    }
}
