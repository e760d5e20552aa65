//! How one value log is to be written.

use alloc::{borrow::ToOwned, string::String};

use lsm_codec::Compression;
use lsm_types::{KeyOrder, Result, check_name};

use crate::VlogError;

/// How one value log is to be written.
#[derive(Debug)]
pub struct VlogOptions {
    /// Order of the keys whose ends are recorded.
    pub order: KeyOrder,
    /// Compression of values that are added. Those that are copied stay as they are.
    pub compression: Compression,
    /// The place of every so-manieth value is recorded; of fewer in a very long file.
    pub directory_every: u32,
    /// Finished bytes are handed over in pieces of at least this size.
    pub write_buffer_bytes: usize,
    /// Name and version of the writing program; recorded.
    pub writer: String,
}

impl VlogOptions {
    /// Defaults: LZ4, the place of every 64th value.
    pub fn new(order: KeyOrder) -> Self {
        Self {
            order,
            compression: Compression::Lz4,
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
        Ok(())
    }
}
