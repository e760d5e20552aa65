//! A value log read straight from its bytes, for tools: no cache, no threads.

use alloc::vec;
use core::{cell::RefCell, ops::Range};

use lsm_block::{ByteRange, Encryption, LocatorHints, Step};
use lsm_codec::Decoder;
use lsm_types::{FileKind, KeyOrder, Location, ReadAt, Result, Slice, ValueHandle};

use crate::{CheckDepth, OpenVlog, Verified, VlogError, VlogLayout, VlogScan};

/// An open value log over its bytes; one thread at a time.
pub struct Vlog<R> {
    layout: VlogLayout,
    file: R,
    decoder: RefCell<Decoder>,
}

impl<R: ReadAt> Vlog<R> {
    /// Opens the value log in `file`.
    ///
    /// # Errors
    /// As [`OpenVlog::feed`]; what `file` says.
    pub fn open(file: R, hints: LocatorHints, encryption: Option<Encryption>) -> Result<Self> {
        let file_len = file.len().map_err(VlogError::Length)?;
        let (mut opening, mut range) = OpenVlog::start(file_len, hints, encryption)?;
        let layout = loop {
            match opening.feed(read(&file, range)?)? {
                Step::Need(next) => range = next,
                Step::Done(layout) => break *layout,
            }
        };
        Ok(Self { layout, file, decoder: RefCell::new(Decoder::new()) })
    }

    /// What is known about it without reading its values.
    pub const fn meta(&self) -> &VlogLayout {
        &self.layout
    }

    /// Its bytes.
    pub const fn file(&self) -> &R {
        &self.file
    }

    /// The value behind `handle`, which an entry of `key` holds: [`VlogLayout::read`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, handle: &ValueHandle, key: &[u8]) -> Result<Slice> {
        self.layout.read(&self.file, handle, key, &mut self.decoder.borrow_mut())
    }

    /// A part of it: [`VlogLayout::read_range`].
    ///
    /// # Errors
    /// As there.
    pub fn get_range(&self, handle: &ValueHandle, key: &[u8], range: Range<u32>) -> Result<Slice> {
        self.layout.read_range(&self.file, handle, key, range, &mut self.decoder.borrow_mut())
    }

    /// All values in file order: [`VlogLayout::scan`].
    pub fn scan(&self) -> VlogScan<'_, R> {
        self.layout.scan(&self.file)
    }

    /// Checks everything: [`VlogLayout::verify`].
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self, order: Option<&KeyOrder>, report: &mut dyn FnMut(crate::Error)) -> Result<Verified> {
        self.layout.verify(&self.file, order, report)
    }

    /// Checks no deeper than `depth`: [`VlogLayout::verify_to`].
    ///
    /// # Errors
    /// As there.
    pub fn verify_to(
        &self,
        depth: CheckDepth,
        order: Option<&KeyOrder>,
        report: &mut dyn FnMut(CheckDepth, crate::Error),
    ) -> Result<Verified> {
        self.layout.verify_to(depth, order, &self.file, report)
    }

    /// Checks what is left behind a frontier: [`VlogLayout::verify_rest`].
    ///
    /// # Errors
    /// As there.
    pub fn verify_rest(
        &self,
        frontier: u64,
        checks: (CheckDepth, Option<&KeyOrder>),
        report: &mut dyn FnMut(CheckDepth, crate::Error),
    ) -> Result<Verified> {
        self.layout.verify_rest(frontier, checks, &self.file, report)
    }
}

impl<R> core::fmt::Debug for Vlog<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Vlog").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// A range that the machine asked for: it lies in the file.
fn read<R: ReadAt>(file: &R, range: ByteRange) -> Result<Slice> {
    let mut bytes = vec![0; usize::try_from(range.len).unwrap_or(usize::MAX)];
    file.read_exact_at(range.offset, &mut bytes).map_err(|source| {
        let at = Location { kind: FileKind::ValueLog, id: 0, offset: range.offset };
        VlogError::Read { at, len: range.len, source }
    })?;
    Ok(Slice::from(bytes))
}
