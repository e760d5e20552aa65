//! How far a load came, as it is stored with a flush.

use lsm::{Result, tree::Token, types::KeyHash};

use crate::rows::Row;

/// Four bytes that tell our tokens from others.
const MAGIC: &[u8; 4] = b"load";

/// Records of the input read so far, bad ones included, the heading not; and a digest of them, so that a load is never
/// resumed with another file.
///
/// | bytes  | field   | encoding |
/// |--------|---------|----------|
/// | 0..4   | magic   | `load`   |
/// | 4..12  | records | u64 LE   |
/// | 12..20 | digest  | u64 LE   |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mark {
    pub(super) records: u64,
    digest: u64,
}

impl Mark {
    /// Counts a row.
    pub(super) fn add(&mut self, row: &Row) {
        let hash = KeyHash::of(&row.key).get().rotate_left(1) ^ KeyHash::of(&row.value).get();
        // An odd factor makes the order of rows count.
        self.digest = self.digest.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(hash);
        self.records += 1;
    }

    /// Counts a line that is no row.
    pub(super) fn add_bad(&mut self) {
        self.records += 1;
    }

    pub(super) fn token(&self) -> Result<Token> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        Token::new(bytes)
    }

    /// The mark in `token`, when a load put it there.
    pub(super) fn of_token(token: &Token) -> Option<Self> {
        let rest = token.as_slice().strip_prefix(MAGIC)?;
        let (records, digest) = rest.split_first_chunk::<8>()?;
        let digest = digest.try_into().ok()?;
        Some(Self { records: u64::from_le_bytes(*records), digest: u64::from_le_bytes(digest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_and_the_order_of_rows_counts() {
        let row = |key: &str| Row { key: key.into(), value: b"v".to_vec() };
        let (mut ab, mut ba) = (Mark::default(), Mark::default());
        ab.add(&row("a"));
        ab.add(&row("b"));
        ba.add(&row("b"));
        ba.add(&row("a"));
        assert_ne!(ab, ba);
        assert_eq!(Mark::of_token(&ab.token().unwrap()), Some(ab));
        assert_eq!(Mark::of_token(&Token::new(&b"else"[..]).unwrap()), None);
        assert_eq!(Mark::of_token(&Token::new(&b"load"[..]).unwrap()), None);
    }
}
