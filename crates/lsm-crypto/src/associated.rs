//! What is authenticated along with a block (`docs/format/crypto.md`, section 3).
//!
//! | bytes  | field                                                                       |
//! |--------|-----------------------------------------------------------------------------|
//! | 0..4   | `LSMA`                                                                      |
//! | 4..6   | u16 LE major version of the format                                          |
//! | 6..8   | u16 LE file kind                                                            |
//! | 8..24  | file uuid                                                                   |
//! | 24..40 | database uuid                                                               |
//! | 40..48 | u64 LE file id                                                              |
//! | 48..52 | block kind, encoding, flags, codec                                          |
//! | 52..56 | u32 LE ordinal                                                              |
//! | 56..60 | u32 LE logical length                                                       |
//! | 60..64 | u32 LE compressed length                                                    |
//! | 64..68 | u32 LE tree                                                                 |
//! | 68..76 | u64 LE hash of the dictionary, 0 without one                                |
//! | 76..96 | zero                                                                        |

use crate::FileContext;

const FORMAT_TAG: [u8; 4] = *b"LSMA";
const MAJOR: u16 = 1;

/// 96 bytes that say which block of which file some ciphertext is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssociatedData([u8; Self::LEN]);

impl AssociatedData {
    /// Bytes of associated data.
    pub const LEN: usize = 96;

    /// What is the same for all blocks of a file.
    pub fn of_file(context: &FileContext) -> Self {
        let mut data = Self([0; Self::LEN]);
        data.put(0, FORMAT_TAG);
        data.put(4, MAJOR.to_le_bytes());
        data.put(6, context.kind.to_le_bytes());
        data.put(8, *context.file.as_bytes());
        data.put(24, *context.database.as_bytes());
        data.put(40, context.file_id.to_le_bytes());
        data.put(64, context.tree.get().to_le_bytes());
        data
    }

    /// The same file, another block: its kind, the version of its encoding, its flags with its codec (low byte flags,
    /// high byte codec), its ordinal, and its lengths before and after compression, in bytes.
    ///
    /// Kind and ordinal are those that the caller expects where it knows them, not those that the frame claims.
    #[must_use]
    pub fn for_block(mut self, kind: u8, encoding: u8, flags: u16, ordinal: u32, lengths: [u32; 2]) -> Self {
        let [flags, codec] = flags.to_le_bytes();
        let [logical, compressed] = lengths;
        self.put(48, [kind, encoding, flags, codec]);
        self.put(52, ordinal.to_le_bytes());
        self.put(56, logical.to_le_bytes());
        self.put(60, compressed.to_le_bytes());
        self
    }

    /// The same block, compressed with the dictionary whose contents have this hash.
    #[must_use]
    pub fn with_dictionary(mut self, hash: u64) -> Self {
        self.put(68, hash.to_le_bytes());
        self
    }

    /// The bytes to authenticate.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        let field = self.0.get_mut(at..at + N);
        debug_assert!(field.is_some(), "the fields lie inside");
        if let Some(field) = field {
            field.copy_from_slice(&bytes);
        }
    }
}
