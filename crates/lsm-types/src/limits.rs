//! Limits that hold at every edge of the API.

use crate::{Error, ErrorKind, Fault, Result};

/// Longest user key, in bytes. The shortest is 1.
pub const MAX_KEY_LEN: usize = 65_535;
/// Longest value or operand, in bytes: 256 MiB less 64 KiB of room for its block.
pub const MAX_VALUE_LEN: usize = (256 << 20) - (64 << 10);
/// Longest key and value together, in bytes: what fits into a data block of its own.
pub const MAX_ENTRY_LEN: usize = (256 << 20) - 128;
/// Bytes of the head of every file, which stays when what follows it is given back.
pub const FILE_HEAD_LEN: usize = 512;
/// Longest plug-in name, in bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 255;

#[derive(Debug, thiserror::Error)]
enum LimitError {
    #[error("a key must have 1 to {MAX_KEY_LEN} bytes, this one has {len}")]
    Key { len: usize },
    #[error("a value may have {max} bytes, this one has {len}; raise `max_value_bytes` or split the value")]
    Value { len: usize, max: usize },
    #[error("a key and its value may have {MAX_ENTRY_LEN} bytes together, these have {len}")]
    Entry { len: usize },
    #[error("a name must have 1 to {MAX_NAME_LEN} bytes, this one has {len}")]
    Name { len: usize },
}

impl Fault for LimitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Key { .. } => ErrorKind::InvalidKey,
            Self::Value { .. } => ErrorKind::ValueTooLarge,
            Self::Entry { .. } => ErrorKind::EntryTooLarge,
            Self::Name { .. } => ErrorKind::InvalidConfig,
        }
    }
}

/// Refuses a key that may not be written: `InvalidKey` when empty or over [`MAX_KEY_LEN`].
pub fn check_key(key: &[u8]) -> Result<()> {
    if (1..=MAX_KEY_LEN).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::from(LimitError::Key { len: key.len() }))
}

/// Refuses a value of `len` bytes when `max` (at most [`MAX_VALUE_LEN`]) is smaller: `ValueTooLarge`.
pub fn check_value_len(len: usize, max: usize) -> Result<()> {
    let max = max.min(MAX_VALUE_LEN);
    if len <= max {
        return Ok(());
    }
    Err(Error::from(LimitError::Value { len, max }))
}

/// Refuses an entry that no table could hold: a key or value out of its own limits, or `EntryTooLarge` when the two
/// together pass [`MAX_ENTRY_LEN`].
pub fn check_entry(key: &[u8], value_len: usize) -> Result<()> {
    check_key(key)?;
    check_value_len(value_len, MAX_VALUE_LEN)?;
    let len = key.len() + value_len;
    if len <= MAX_ENTRY_LEN {
        return Ok(());
    }
    Err(Error::from(LimitError::Entry { len }))
}

/// Refuses the name of a plug-in that cannot be stored: `InvalidConfig`.
pub fn check_name(name: &str) -> Result<()> {
    if (1..=MAX_NAME_LEN).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::from(LimitError::Name { len: name.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key_len: usize, value_len: usize, refused: Option<ErrorKind>) {
        let key = alloc::vec![7; key_len];
        assert_eq!(
            check_entry(&key, value_len).err().map(|error| error.kind()),
            refused,
            "{key_len} {value_len}"
        );
    }

    /// Proves E-15, F-3.
    #[test]
    fn entries_within_the_limits_fit_into_a_table() {
        check(1, 0, None);
        check(0, 0, Some(ErrorKind::InvalidKey));
        check(MAX_KEY_LEN, 100, None);
        check(MAX_KEY_LEN + 1, 0, Some(ErrorKind::InvalidKey));
        check(1000, MAX_VALUE_LEN, None);
        check(1, MAX_VALUE_LEN + 1, Some(ErrorKind::ValueTooLarge));
        check(MAX_KEY_LEN, MAX_VALUE_LEN, Some(ErrorKind::EntryTooLarge));
        check(MAX_KEY_LEN, MAX_ENTRY_LEN - MAX_KEY_LEN, None);
        check(MAX_KEY_LEN, MAX_ENTRY_LEN - MAX_KEY_LEN + 1, Some(ErrorKind::EntryTooLarge));
    }
}
