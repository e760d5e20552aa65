//! Unsigned LEB128, at most ten bytes, one encoding per value. For metadata only: search paths use fixed widths.

use alloc::vec::Vec;

use crate::reader::ReadError;

/// Most bytes a 64-bit value takes.
pub const MAX_LEN: usize = 10;

/// Appends `value` to `out`.
pub fn encode(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7F);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends the length of `bytes` and `bytes` to `out`.
pub fn encode_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    encode(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// The value at the front of `bytes`, and how many bytes it took. Over-long forms are refused.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<(u64, usize), ReadError> {
    if let Some(&byte) = bytes.first()
        && byte < 0x80
    {
        return Ok((u64::from(byte), 1));
    }
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(MAX_LEN) {
        let bits = u64::from(byte & 0x7F);
        if at == MAX_LEN - 1 && bits > 1 {
            return Err(ReadError::Varint);
        }
        value |= bits << (7 * at);
        if byte < 0x80 {
            return if byte == 0 { Err(ReadError::Varint) } else { Ok((value, at + 1)) };
        }
    }
    if bytes.len() >= MAX_LEN {
        return Err(ReadError::Varint);
    }
    Err(ReadError::Truncated { need: bytes.len() + 1, have: bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn over_long_forms_are_refused() {
        assert_eq!(decode(&[0x80, 0x00]), Err(ReadError::Varint));
        assert_eq!(decode(&[0xFF; 11]), Err(ReadError::Varint));
        assert_eq!(
            decode(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]),
            Err(ReadError::Varint)
        );
        assert!(matches!(decode(&[0x80]), Err(ReadError::Truncated { .. })));
        assert!(decode(&[]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(value in any::<u64>()) {
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            prop_assert_eq!(decode(&bytes), Ok((value, bytes.len())));
        }

        #[test]
        fn accepted_bytes_are_canonical(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok((value, len)) = decode(&bytes) {
                let mut again = Vec::new();
                encode(value, &mut again);
                prop_assert_eq!(&again[..], &bytes[..len]);
            }
        }
    }
}
