//! Stored bytes of values that lie side by side, read at once: what relocation copies from.

use std::ops::Range;

use lsm_types::{IoError, IoKind, IoOp, ReadAt, Result, Slice};

use super::ValueLog;

/// A stretch of a value log in memory. Reads as the file does, as far as it goes.
#[derive(Debug)]
pub struct Frames {
    file_len: u64,
    start: u64,
    bytes: Slice,
}

impl ValueLog {
    /// Reads a stretch of the file past all caches. The handles that lead there were checked against the file, so that its
    /// length is one that they can have.
    ///
    /// # Errors
    /// What opening and reading the file finds.
    pub fn frames(&self, stretch: Range<u64>) -> Result<Frames> {
        let file_len = self.inner.layout()?.file_len();
        let (start, end) = (stretch.start.min(file_len), stretch.end.min(file_len));
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        Ok(Frames { file_len, start, bytes: self.inner.read(start, len)? })
    }
}

impl ReadAt for Frames {
    fn len(&self) -> Result<u64, IoError> {
        Ok(self.file_len)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let from = offset.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let stretch = from.and_then(|from| self.bytes.get(from..from.checked_add(out.len())?));
        let stretch = stretch.ok_or_else(|| IoError::new(IoOp::Read, IoKind::UnexpectedEof))?;
        out.copy_from_slice(stretch);
        Ok(())
    }
}
