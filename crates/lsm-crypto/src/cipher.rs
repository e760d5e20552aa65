//! The ciphers, by AWS-LC: three to five times as fast as those written in Rust where there are wide vectors, for the
//! price of a C library. The twin without it is `cipher_portable.rs`; both make and take the same bytes.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::{Suite, Tag};

/// An expanded key. The library wipes it when it is dropped.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    /// Expands a key; `None` when the library has no memory for it.
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Option<Self> {
        let algorithm = match suite {
            Suite::Aes256Gcm => &AES_256_GCM,
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        UnboundKey::new(algorithm, key).ok().map(LessSafeKey::new).map(Self)
    }

    /// Encrypts `block` in place; `None` for more bytes than one nonce can seal.
    pub(crate) fn seal(&self, nonce: [u8; 12], data: &[u8], block: &mut [u8]) -> Option<Tag> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(data), block).ok()?;
        tag.as_ref().first_chunk().copied()
    }

    /// Decrypts `sealed` into `out`, which is as long; `None`, and no plaintext there, when the tag does not fit.
    pub(crate) fn open(
        &self,
        nonce: [u8; 12],
        data: &[u8],
        (sealed, tag): (&[u8], &Tag),
        out: &mut [u8],
    ) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_separate_gather(nonce, Aad::from(data), sealed, tag, out).ok()
    }
}

#[cfg(test)]
#[path = "cipher_portable.rs"]
mod portable;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::{Cipher, portable};
    use crate::Suite;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Lengths around those where the library goes over to its wide vectors are among them.
        #[test]
        fn both_twins_make_and_take_the_same_bytes(
            key: [u8; 32],
            nonce: [u8; 12],
            data in prop::collection::vec(any::<u8>(), 0..200),
            block in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                prop::collection::vec(any::<u8>(), 300..5000),
            ],
            flip: prop::sample::Index,
            is_chacha: bool,
        ) {
            let suite = if is_chacha { Suite::ChaCha20Poly1305 } else { Suite::Aes256Gcm };
            let (ours, theirs) = (Cipher::new(suite, &key).unwrap(), portable::Cipher::new(suite, &key).unwrap());
            let (mut sealed, mut again) = (block.clone(), block.clone());
            let tag = ours.seal(nonce, &data, &mut sealed).unwrap();
            prop_assert_eq!(theirs.seal(nonce, &data, &mut again), Some(tag));
            prop_assert_eq!(&sealed, &again);

            let mut out = [0xEE].repeat(block.len());
            prop_assert_eq!(ours.open(nonce, &data, (&sealed, &tag), &mut out), Some(()));
            prop_assert_eq!(&out, &block);
            out.fill(0xEE);
            prop_assert_eq!(theirs.open(nonce, &data, (&sealed, &tag), &mut out), Some(()));
            prop_assert_eq!(&out, &block);

            if !sealed.is_empty() {
                sealed[flip.index(block.len())] ^= 1;
                prop_assert_eq!(ours.open(nonce, &data, (&sealed, &tag), &mut out), None);
                prop_assert!(block.len() < 16 || out != block, "plaintext that nothing proved");
                out.fill(0xEE);
                prop_assert_eq!(theirs.open(nonce, &data, (&sealed, &tag), &mut out), None);
                prop_assert!(block.len() < 16 || out != block, "plaintext that nothing proved");
            }
        }
    }
}
