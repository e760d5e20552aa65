//! Limits that hold at every edge of the API.

use crate::{Error, ErrorKind, Fault, Result};

/// Longest user key, in bytes. The shortest is 1.
pub const MAX_KEY_LEN: usize = 65_535;
/// Longest value or operand, in bytes: 256 MiB less 64 KiB of room for its block.
pub const MAX_VALUE_LEN: usize = (256 << 20) - (64 << 10);
/// Longest plug-in name, in bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 255;

#[derive(Debug, thiserror::Error)]
enum LimitError {
    #[error("a key must have 1 to {MAX_KEY_LEN} bytes, this one has {len}")]
    Key { len: usize },
    #[error("a value may have {max} bytes, this one has {len}; raise `max_value_bytes` or split the value")]
    Value { len: usize, max: usize },
    #[error("a name must have 1 to {MAX_NAME_LEN} bytes, this one has {len}")]
    Name { len: usize },
}

impl Fault for LimitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Key { .. } => ErrorKind::InvalidKey,
            Self::Value { .. } => ErrorKind::ValueTooLarge,
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

/// Refuses the name of a plug-in that cannot be stored: `InvalidConfig`.
pub fn check_name(name: &str) -> Result<()> {
    if (1..=MAX_NAME_LEN).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::from(LimitError::Name { len: name.len() }))
}
