//! How one value log is to be written.

use alloc::{borrow::ToOwned, string::String};

use lsm_codec::{Compression, Dictionary};
use lsm_types::{KeyOrder, Result, check_name};

use crate::VlogError;

/// How a file learns what its values have in common. The dictionary is stored in the file, and used for the values that
/// come after those it was learnt from, if it saves 3 % of them at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DictionaryOptions {
    /// Longest dictionary, in bytes: 256 bytes to 64 KiB. Default 16 KiB.
    pub bytes: u32,
    /// Bytes of values that it is learnt from, and that do without it: up to 16 MiB. Default: a hundred times the default
    /// length.
    pub sample_bytes: u32,
}

impl Default for DictionaryOptions {
    fn default() -> Self {
        Self { bytes: 16 << 10, sample_bytes: 100 * (16 << 10) }
    }
}

impl DictionaryOptions {
    /// The first option that cannot hold, and what it has to be.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let lens = Dictionary::MIN_LEN..=Dictionary::MAX_LEN;
        if !usize::try_from(self.bytes).is_ok_and(|bytes| lens.contains(&bytes)) {
            return Some(("bytes", "must be 256 bytes to 64 KiB"));
        }
        (!(1..=16 << 20).contains(&self.sample_bytes)).then_some(("sample_bytes", "must be 1 byte to 16 MiB"))
    }
}

/// How one value log is to be written.
#[derive(Debug)]
pub struct VlogOptions {
    /// Order of the keys whose ends are recorded.
    pub order: KeyOrder,
    /// Compression of values that are added. Those that are copied stay as they are.
    pub compression: Compression,
    /// A dictionary for values that are added, where Zstandard compresses them; `None` for none.
    pub dictionary: Option<DictionaryOptions>,
    /// The place of every so-manieth value is recorded; of fewer in a very long file.
    pub directory_every: u32,
    /// Finished bytes are handed over in pieces of at least this size.
    pub write_buffer_bytes: usize,
    /// Name and version of the writing program; recorded.
    pub writer: String,
}

impl VlogOptions {
    /// Defaults: LZ4, no dictionary, the place of every 64th value.
    pub fn new(order: KeyOrder) -> Self {
        Self {
            order,
            compression: Compression::Lz4,
            dictionary: None,
            directory_every: 64,
            write_buffer_bytes: 256 << 10,
            writer: concat!("lsm ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_name(self.order.comparator().name())?;
        check_name(&self.writer)?;
        if self.directory_every == 0 {
            return Err(VlogError::Setting { setting: "directory_every" }.into());
        }
        if self.dictionary.is_some_and(|dictionary| dictionary.problem().is_some()) {
            return Err(VlogError::Setting { setting: "dictionary" }.into());
        }
        Ok(())
    }
}
