//! The operands of one key on their way to the merge operator.

use alloc::{string::ToString, vec::Vec};

use lsm_types::{EntryCursor, Kind, MergeOperator, Result, SeparatedValues, SeqNo, Slice, check_entry};

use crate::error::IterError;

/// Values up to this many bytes are copied when their cursor moves on, longer ones shared.
pub(crate) const COPY_MAX: usize = 512;

/// So many operands go to the operator without an allocation.
const FEW: usize = 8;

/// Folds `operands`, oldest first, onto `base`.
///
/// # Errors
/// `MergeFailed` with what the operator said, or because its result is too long for an entry.
pub(crate) fn fold(
    operator: &dyn MergeOperator,
    key: &[u8],
    base: Option<&[u8]>,
    operands: &[&[u8]],
) -> Result<Slice> {
    let folded = operator.full_merge(key, base, operands);
    let fits = |value: Slice| check_entry(key, value.len()).map(|()| value);
    folded.and_then(fits).map_err(|source| {
        IterError::MergeFailed { key: key.into(), operator: operator.name().to_string(), source }.into()
    })
}

/// The separated value of `key`.
///
/// # Errors
/// `SeparatedBase` where nobody fetches values; what fetching it finds.
pub(crate) fn fetch(values: Option<&dyn SeparatedValues>, key: &[u8], handle: &[u8]) -> Result<Slice> {
    match values {
        Some(values) => values.fetch(key, handle),
        None => Err(IterError::SeparatedBase { key: key.into() }.into()),
    }
}

/// Calls `read` with all items as one slice; few of them take no allocation.
pub(crate) fn as_slices<'a, T>(
    items: impl ExactSizeIterator<Item = &'a [u8]>,
    read: impl FnOnce(&[&'a [u8]]) -> T,
) -> T {
    let mut few: [&[u8]; FEW] = [&[]; FEW];
    let count = items.len();
    if let Some(slots) = few.get_mut(..count) {
        for (slot, item) in slots.iter_mut().zip(items) {
            *slot = item;
        }
        return read(slots);
    }
    read(&items.collect::<Vec<_>>())
}

/// Operands in the order in which a walk met them, and the value below them. The room is used again and again.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// What was copied, end to end.
    bytes: Vec<u8>,
    operands: Vec<(SeqNo, Piece)>,
    base: Base,
    /// Bytes of all operands.
    len: usize,
}

#[derive(Debug, Default)]
enum Base {
    /// The key certainly has no value there.
    #[default]
    Absent,
    Value(Piece),
    /// A value in another file; the piece is the way there.
    Separated(Piece),
}

#[derive(Debug)]
enum Piece {
    Copied { start: usize, len: usize },
    Shared(Slice),
}

/// In which order a walk met the operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    NewestFirst,
    OldestFirst,
}

impl Chain {
    /// Forgets everything: nothing is below the operands to come.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.operands.clear();
        self.base = Base::Absent;
        self.len = 0;
    }

    /// Takes the operand under the cursor.
    #[inline]
    pub(crate) fn push(&mut self, cursor: &impl EntryCursor) {
        let Some(entry) = cursor.entry() else { return };
        self.len += entry.value.len();
        let piece = self.piece(cursor);
        self.operands.push((entry.seqno, piece));
    }

    /// Takes an operand that stands nowhere else.
    pub(crate) fn push_made(&mut self, seqno: SeqNo, operand: Slice) {
        self.len += operand.len();
        self.operands.push((seqno, Piece::Shared(operand)));
    }

    /// Takes a value that stands nowhere else as the base.
    pub(crate) fn set_made_base(&mut self, value: Slice) {
        self.base = Base::Value(Piece::Shared(value));
    }

    /// Takes the value under the cursor as the base.
    pub(crate) fn set_base(&mut self, cursor: &impl EntryCursor) {
        let piece = self.piece(cursor);
        let is_separated = cursor.entry().is_some_and(|entry| entry.kind == Kind::Indirection);
        self.base = if is_separated { Base::Separated(piece) } else { Base::Value(piece) };
    }

    fn piece(&mut self, cursor: &impl EntryCursor) -> Piece {
        match cursor.entry() {
            Some(entry) if entry.value.len() <= COPY_MAX => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(entry.value);
                Piece::Copied { start, len: entry.value.len() }
            }
            _ => Piece::Shared(cursor.value()),
        }
    }

    fn bytes_of<'a>(&'a self, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::Copied { start, len } => {
                self.bytes.get(*start..).and_then(|rest| rest.get(..*len)).unwrap_or_default()
            }
            Piece::Shared(value) => value,
        }
    }

    /// Number of operands.
    pub(crate) fn count(&self) -> usize {
        self.operands.len()
    }

    /// Bytes this takes in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.len + self.operands.len() * size_of::<(SeqNo, Piece)>()
    }

    /// Number and bytes of the operand met at position `at`.
    pub(crate) fn operand(&self, at: usize) -> Option<(SeqNo, &[u8])> {
        self.operands.get(at).map(|(seqno, piece)| (*seqno, self.bytes_of(piece)))
    }

    /// The operand met at position `at` as a slice that outlives the chain.
    pub(crate) fn operand_value(&self, at: usize) -> Slice {
        match self.operands.get(at) {
            Some((_, Piece::Shared(value))) => value.clone(),
            Some((_, piece)) => Slice::copy_from(self.bytes_of(piece)),
            None => Slice::empty(),
        }
    }

    /// Calls `read` with the operands, oldest first.
    pub(crate) fn oldest_first<T>(&self, met: Met, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let bytes = |at| self.operand(at).map_or(&[] as &[u8], |(_, bytes)| bytes);
        let count = self.operands.len();
        match met {
            Met::OldestFirst => as_slices((0..count).map(bytes), read),
            Met::NewestFirst => as_slices((0..count).rev().map(bytes), read),
        }
    }

    /// The value of the key.
    pub(crate) fn fold(
        &self,
        operator: &dyn MergeOperator,
        values: Option<&dyn SeparatedValues>,
        key: &[u8],
        met: Met,
    ) -> Result<Slice> {
        let fetched;
        let base = match &self.base {
            Base::Absent => None,
            Base::Value(piece) => Some(self.bytes_of(piece)),
            Base::Separated(piece) => {
                fetched = fetch(values, key, self.bytes_of(piece))?;
                Some(&*fetched)
            }
        };
        self.oldest_first(met, |operands| fold(operator, key, base, operands))
    }
}
