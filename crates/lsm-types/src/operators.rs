//! Merge operators for common needs. All of them compose.

use alloc::vec::Vec;

use crate::{MergeError, MergeOperator, Result, Slice};

/// Adds signed integers: values and operands have eight bytes, little-endian. Nothing counts as zero, and sums wrap
/// around, so that the order in which parts are added never matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddI64;

/// Appends operands to the value, without anything in between.
#[derive(Clone, Copy, Debug, Default)]
pub struct Append;

/// Keeps the greatest of value and operands, in byte order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Max;

/// Keeps the smallest of value and operands, in byte order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Min;

/// Sets and clears flags of a value of 64 bits, little-endian. Nothing counts as no flag; [`Flags::operand`] makes
/// operands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags;

fn integer(what: &'static str, bytes: &[u8]) -> Result<[u8; 8], MergeError> {
    bytes.try_into().map_err(|_| MergeError::Length { what, len: bytes.len(), expected: 8 })
}

impl AddI64 {
    fn sum(base: Option<&[u8]>, operands: &[&[u8]]) -> Result<i64, MergeError> {
        let base = base.map_or(Ok([0; 8]), |base| integer("the value", base))?;
        operands.iter().try_fold(i64::from_le_bytes(base), |sum, operand| {
            Ok(sum.wrapping_add(i64::from_le_bytes(integer("an operand", operand)?)))
        })
    }
}

impl MergeOperator for AddI64 {
    fn name(&self) -> &'static str {
        "lsm.add-i64"
    }

    fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        Ok(Slice::from(Self::sum(base, operands)?.to_le_bytes()))
    }

    fn compose(&self, _: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        Self::sum(None, operands).ok().map(|sum| Slice::from(sum.to_le_bytes()))
    }
}

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "lsm.append"
    }

    fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        let len = base.map_or(0, <[u8]>::len) + operands.iter().map(|operand| operand.len()).sum::<usize>();
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(base.unwrap_or_default());
        for operand in operands {
            out.extend_from_slice(operand);
        }
        Ok(Slice::from(out))
    }

    fn compose(&self, key: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        self.full_merge(key, None, operands).ok()
    }
}

impl MergeOperator for Max {
    fn name(&self) -> &'static str {
        "lsm.max"
    }

    fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        Ok(base.into_iter().chain(operands.iter().copied()).max().unwrap_or_default().into())
    }

    fn compose(&self, key: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        self.full_merge(key, None, operands).ok()
    }
}

impl MergeOperator for Min {
    fn name(&self) -> &'static str {
        "lsm.min"
    }

    fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        Ok(base.into_iter().chain(operands.iter().copied()).min().unwrap_or_default().into())
    }

    fn compose(&self, key: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        self.full_merge(key, None, operands).ok()
    }
}

impl Flags {
    /// An operand that clears the flags of `clear`, then sets those of `set`.
    pub fn operand(set: u64, clear: u64) -> [u8; 16] {
        let mut out = [0; 16];
        let (first, second) = out.split_at_mut(8);
        first.copy_from_slice(&set.to_le_bytes());
        second.copy_from_slice(&clear.to_le_bytes());
        out
    }

    /// What all operands together set and clear.
    fn combine(operands: &[&[u8]]) -> Result<(u64, u64), MergeError> {
        operands.iter().try_fold((0, 0), |(set, clear), operand| {
            let malformed = MergeError::Length { what: "an operand", len: operand.len(), expected: 16 };
            let (first, second) = operand.split_at_checked(8).ok_or_else(|| malformed.clone())?;
            let sets = u64::from_le_bytes(first.try_into().map_err(|_| malformed.clone())?);
            let clears = u64::from_le_bytes(second.try_into().map_err(|_| malformed)?);
            Ok((set & !clears | sets, clear | clears))
        })
    }
}

impl MergeOperator for Flags {
    fn name(&self) -> &'static str {
        "lsm.flags"
    }

    fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        let base = base.map_or(Ok([0; 8]), |base| integer("the value", base))?;
        let (set, clear) = Self::combine(operands)?;
        Ok(Slice::from((u64::from_le_bytes(base) & !clear | set).to_le_bytes()))
    }

    fn compose(&self, _: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        let (set, clear) = Self::combine(operands).ok()?;
        Some(Slice::from(Self::operand(set, clear)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operator: &dyn MergeOperator, base: Option<&[u8]>, operands: &[&[u8]], expected: Option<&[u8]>) {
        let found = operator.full_merge(b"key", base, operands);
        assert_eq!(found.ok().as_deref(), expected, "{}", operator.name());
    }

    #[test]
    fn stock_operators() {
        let number = i64::to_le_bytes;
        check(&AddI64, Some(&number(40)), &[&number(-1), &number(3)], Some(&number(42)));
        check(&AddI64, None, &[&number(i64::MAX), &number(1)], Some(&number(i64::MIN)));
        check(&AddI64, Some(b"short"), &[&number(1)], None);
        check(&AddI64, None, &[b"", &number(1)], None);
        check(&Append, Some(b"a"), &[b"b", b"", b"cd"], Some(b"abcd"));
        check(&Append, None, &[b"b"], Some(b"b"));
        check(&Max, Some(b"b"), &[b"a", b"ba"], Some(b"ba"));
        check(&Min, Some(b"b"), &[b"c", b"ba"], Some(b"b"));
        let flags = |bits: u64| bits.to_le_bytes();
        check(&Flags, Some(&flags(0b1100)), &[&Flags::operand(1, 0b0100)], Some(&flags(0b1001)));
        check(&Flags, None, &[&Flags::operand(1, 0), &Flags::operand(0, 1)], Some(&flags(0)));
        check(&Flags, None, &[&Flags::operand(1, 1)], Some(&flags(1)));
        check(&Flags, None, &[b"short"], None);
        assert!(AddI64.compose(b"key", &[b"short", &number(1)]).is_none());
    }
}
