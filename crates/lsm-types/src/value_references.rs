//! What tables hold of value logs: from these sums it follows, and is never counted along, what of a value log is live
//! (`docs/format/vlog.md`, section 7).
//!
//! Every table carries the sums of its own entries. Those of a version are the sums of its tables: added when a table
//! enters it, subtracted when one leaves, and the same when they are added up anew.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{ByteReader, CorruptionKind, ErrorKind, Fault, ValueHandle, VlogId, reader::ReadError, varint};

/// What of one value log is referred to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ValueUsage {
    /// Entries that refer to it.
    pub entries: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Bytes of the frames they lie in.
    pub stored_bytes: u64,
}

impl ValueUsage {
    /// What one handle refers to.
    pub const fn of(handle: &ValueHandle) -> Self {
        Self { entries: 1, value_bytes: handle.value_len as u64, stored_bytes: handle.stored_len as u64 }
    }

    /// The sum; `None` when one passes 2^64.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        let (Some(entries), Some(value_bytes), Some(stored_bytes)) = (
            self.entries.checked_add(other.entries),
            self.value_bytes.checked_add(other.value_bytes),
            self.stored_bytes.checked_add(other.stored_bytes),
        ) else {
            return None;
        };
        Some(Self { entries, value_bytes, stored_bytes })
    }

    /// What is left; `None` when there is less than `other`.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        let (Some(entries), Some(value_bytes), Some(stored_bytes)) = (
            self.entries.checked_sub(other.entries),
            self.value_bytes.checked_sub(other.value_bytes),
            self.stored_bytes.checked_sub(other.stored_bytes),
        ) else {
            return None;
        };
        Some(Self { entries, value_bytes, stored_bytes })
    }

    /// Entries have frames, and nothing has bytes without an entry.
    const fn is_sound(&self) -> bool {
        (self.entries > 0) == (self.stored_bytes > 0) && (self.entries > 0 || self.value_bytes == 0)
    }
}

/// What of all value logs is referred to. A value log without an entry is not in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ValueReferences(BTreeMap<VlogId, ValueUsage>);

/// Why references cannot be added up or read.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A sum passes 2^64.
    #[error("references to value log {0} do not fit into 64 bits")]
    Overflow(VlogId),
    /// More is taken away than there is.
    #[error("more references to value log {0} are taken away than there are")]
    Underflow(VlogId),
    /// The bytes are no list of references.
    #[error("field `{0}` of a list of references makes no sense")]
    Field(&'static str),
}

impl Fault for ReferenceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corruption(CorruptionKind::Decode)
    }
}

impl From<ReadError> for ReferenceError {
    fn from(_: ReadError) -> Self {
        Self::Field("length")
    }
}

impl ValueReferences {
    /// No references.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether nothing is referred to.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many value logs are referred to.
    pub fn files(&self) -> usize {
        self.0.len()
    }

    /// What of `file` is referred to; zeros when nothing is.
    pub fn get(&self, file: VlogId) -> ValueUsage {
        self.0.get(&file).copied().unwrap_or_default()
    }

    /// Every value log referred to, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = (VlogId, ValueUsage)> + '_ {
        self.0.iter().map(|(file, usage)| (*file, *usage))
    }

    /// The sum over all value logs.
    ///
    /// # Errors
    /// [`ReferenceError::Overflow`].
    pub fn total(&self) -> Result<ValueUsage, ReferenceError> {
        self.iter().try_fold(ValueUsage::default(), |sum, (file, usage)| {
            sum.checked_add(usage).ok_or(ReferenceError::Overflow(file))
        })
    }

    /// Takes in one entry.
    ///
    /// # Errors
    /// [`ReferenceError::Overflow`].
    pub fn record(&mut self, handle: &ValueHandle) -> Result<(), ReferenceError> {
        self.add_to(handle.file, ValueUsage::of(handle))
    }

    /// Adds all of `other`.
    ///
    /// # Errors
    /// [`ReferenceError::Overflow`]; some of `other` may have been added then.
    pub fn add(&mut self, other: &Self) -> Result<(), ReferenceError> {
        other.iter().try_for_each(|(file, usage)| self.add_to(file, usage))
    }

    /// Takes all of `other` away; a value log of which nothing is left is in it no more.
    ///
    /// # Errors
    /// [`ReferenceError::Underflow`] when `other` was never added; some of it may have been taken away then.
    pub fn subtract(&mut self, other: &Self) -> Result<(), ReferenceError> {
        other.iter().try_for_each(|(file, usage)| {
            let left = self.get(file).checked_sub(usage).filter(ValueUsage::is_sound);
            self.set(file, left.ok_or(ReferenceError::Underflow(file))?);
            Ok(())
        })
    }

    fn add_to(&mut self, file: VlogId, usage: ValueUsage) -> Result<(), ReferenceError> {
        let sum = self.get(file).checked_add(usage).ok_or(ReferenceError::Overflow(file))?;
        self.set(file, sum);
        Ok(())
    }

    fn set(&mut self, file: VlogId, usage: ValueUsage) {
        if usage == ValueUsage::default() {
            self.0.remove(&file);
        } else {
            self.0.insert(file, usage);
        }
    }

    /// Appends the list to `out`: a count, then per value log, ascending, its number as the distance from the one before
    /// and its three sums, all of them varints.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::encode(self.0.len() as u64, out);
        let mut last = 0;
        for (file, usage) in self.iter() {
            varint::encode(file.get() - last, out);
            last = file.get();
            for number in [usage.entries, usage.value_bytes, usage.stored_bytes] {
                varint::encode(number, out);
            }
        }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`ReferenceError::Field`] for anything that [`ValueReferences::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReferenceError> {
        let mut fields = ByteReader::new(bytes);
        let references = Self::read(&mut fields)?;
        if fields.is_empty() { Ok(references) } else { Err(ReferenceError::Field("length")) }
    }

    /// Reads a list from the front of what `fields` holds.
    ///
    /// # Errors
    /// As [`ValueReferences::decode`].
    pub fn read(fields: &mut ByteReader<'_>) -> Result<Self, ReferenceError> {
        let count = fields.count(4)?;
        let mut references = BTreeMap::new();
        let mut last: Option<u64> = None;
        for _ in 0..count {
            let step = fields.varint()?;
            if last.is_some() && step == 0 {
                return Err(ReferenceError::Field("order"));
            }
            let file = last.unwrap_or(0).checked_add(step).ok_or(ReferenceError::Field("value log"))?;
            last = Some(file);
            let usage = ValueUsage {
                entries: fields.varint()?,
                value_bytes: fields.varint()?,
                stored_bytes: fields.varint()?,
            };
            if usage.entries == 0 || !usage.is_sound() {
                return Err(ReferenceError::Field("entries"));
            }
            references.insert(VlogId::new(file), usage);
        }
        Ok(Self(references))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn references() -> impl Strategy<Value = ValueReferences> {
        let entry = (0_u64..6, 1_u64..100, 0_u64..1000, 1_u64..1000);
        prop::collection::vec(entry, 0..8).prop_map(|entries| {
            let mut references = ValueReferences::new();
            for (file, entries, value_bytes, stored_bytes) in entries {
                let usage = ValueUsage { entries, value_bytes, stored_bytes };
                references.add_to(VlogId::new(file * file * 1000), usage).unwrap();
            }
            references
        })
    }

    fn sum(a: &ValueReferences, b: &ValueReferences) -> ValueReferences {
        let mut sum = a.clone();
        sum.add(b).unwrap();
        sum
    }

    proptest! {
        /// Sums do not depend on the order in which tables come and go, and what went leaves no trace.
        #[test]
        fn sums_obey_the_laws(a in references(), b in references(), c in references()) {
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(sum(&a, &ValueReferences::new()), a.clone());
            let mut left = sum(&a, &b);
            left.subtract(&a).unwrap();
            prop_assert_eq!(&left, &b);
            left.subtract(&b).unwrap();
            prop_assert!(left.is_empty());
            prop_assert_eq!(
                sum(&a, &b).total().unwrap(),
                a.total().unwrap().checked_add(b.total().unwrap()).unwrap()
            );
        }

        #[test]
        fn lists_round_trip(a in references()) {
            let mut bytes = Vec::new();
            a.encode(&mut bytes);
            prop_assert_eq!(ValueReferences::decode(&bytes), Ok(a));
        }

        #[test]
        fn accepted_bytes_are_canonical(bytes in prop::collection::vec(0_u8..5, 0..24)) {
            if let Ok(references) = ValueReferences::decode(&bytes) {
                let mut again = Vec::new();
                references.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn what_was_not_added_cannot_be_taken_away() {
        let file = VlogId::new(3);
        let handle = ValueHandle { file, offset: 512, stored_len: 60, value_len: 9 };
        let mut one = ValueReferences::new();
        one.record(&handle).unwrap();
        let mut two = one.clone();
        two.record(&handle).unwrap();
        assert_eq!(two.get(file), ValueUsage { entries: 2, value_bytes: 18, stored_bytes: 120 });
        assert_eq!(one.clone().subtract(&two), Err(ReferenceError::Underflow(file)));
        // The same number of entries with fewer bytes is another entry.
        let mut other = ValueReferences::new();
        other.record(&ValueHandle { stored_len: 59, ..handle }).unwrap();
        assert_eq!(one.subtract(&other), Err(ReferenceError::Underflow(file)));
        let all = ValueUsage { entries: u64::MAX, value_bytes: 0, stored_bytes: 1 };
        two.set(file, all);
        assert_eq!(two.record(&handle), Err(ReferenceError::Overflow(file)));
    }

    /// Proves F-30.
    /// Fault: formats W-27.
    #[test]
    fn hostile_lists_are_refused() {
        for bytes in
            [&[][..], &[200, 1], &[1, 7, 0, 0, 0], &[1, 7, 1, 5, 0], &[2, 7, 1, 5, 5, 0, 1, 5, 5], &[0, 0]]
        {
            assert!(ValueReferences::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
