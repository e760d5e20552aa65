//! Buffers that are filled anew at every step of a walk.

use alloc::vec::Vec;

/// Replaces what is in `buffer` by `bytes`.
///
/// What a walk copies is mostly short and as long as what it copied before: two overlapping pieces of constant length
/// then do without a call.
#[inline]
pub(crate) fn refill(buffer: &mut Vec<u8>, bytes: &[u8]) {
    if buffer.len() == bytes.len() && (in_pieces::<8>(buffer, bytes) || in_pieces::<16>(buffer, bytes)) {
        return;
    }
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

/// Copies `from` to `to`, which is as long, as its first and its last `N` bytes; `false` when that is not all of it.
#[inline]
fn in_pieces<const N: usize>(to: &mut [u8], from: &[u8]) -> bool {
    if from.len() > 2 * N {
        return false;
    }
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else { return false };
    if let Some(start) = to.first_chunk_mut::<N>() {
        *start = *first;
    }
    if let Some(end) = to.last_chunk_mut::<N>() {
        *end = *last;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refilled_buffer_holds_the_bytes_and_no_others() {
        let bytes: Vec<u8> = (0..80).collect();
        for len in 0..=70 {
            for held in [0, len, 33] {
                let mut buffer = alloc::vec![0xFF; held];
                refill(&mut buffer, &bytes[len / 7..len / 7 + len]);
                assert_eq!(buffer, &bytes[len / 7..len / 7 + len], "{len} bytes over {held}");
            }
        }
    }
}
