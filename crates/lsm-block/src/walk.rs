//! Listing the frames of any file, with no help but its identity, past any damage.

use alloc::vec::Vec;
use core::ops::Range;

use lsm_types::{FileKind, ReadAt};

use crate::{
    BlockError, Expect, Footer, FrameHeader, FrameMark, FrameReader, Handle, Superblock, frame::MAGIC,
};

/// Bytes looked at in one read while searching.
const WINDOW_LEN: usize = 256 << 10;

/// One step of a walk. The extents of all steps tile the range walked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Walked {
    /// A frame whose header and payload are as they were written.
    Frame {
        /// Its head.
        header: FrameHeader,
        /// Its place and digest.
        mark: FrameMark,
    },
    /// A frame whose head is good, so that the walk goes on behind it, and that is otherwise damaged or from the
    /// future.
    BadFrame {
        /// Its head.
        header: FrameHeader,
        /// Its place.
        handle: Handle,
        /// What is wrong with it.
        why: BlockError,
    },
    /// Bytes up to the next good head that are not all zero.
    Damaged {
        /// First byte and first byte after.
        extent: Range<u64>,
        /// What is wrong with the first of them.
        why: BlockError,
    },
    /// Zeros: padding, the distance between mirrors, a hole, a preallocated tail.
    Zeros {
        /// First byte and first byte after.
        extent: Range<u64>,
    },
}

/// Walks the frames of a part of a file. Ends after the first error of the source itself.
///
/// Memory: one window, and one frame when it is larger. Time: linear in the bytes walked.
#[derive(Debug)]
pub struct Walk<R> {
    source: R,
    reader: FrameReader,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<R: ReadAt> Walk<R> {
    /// Walks `extent`, which lies within the file and begins at a frame, a gap, or damage.
    pub const fn new(source: R, reader: FrameReader, extent: Range<u64>) -> Self {
        Self { source, reader, at: extent.start, end: extent.end, window: Vec::new(), window_at: 0 }
    }

    /// Walks a whole file, whose superblock may come from a copy: all between superblock and footer. Needs no key:
    /// the checks of sealed frames do not.
    pub fn file(source: R, superblock: &Superblock) -> Result<Self, BlockError> {
        Self::file_from(source, superblock, Superblock::LEN as u64)
    }

    /// As [`Walk::file`], from `start` on, where a frame, a gap, or damage begins.
    pub fn file_from(source: R, superblock: &Superblock, start: u64) -> Result<Self, BlockError> {
        let identity = superblock.identity;
        let read = |offset, len, source| BlockError::Read { at: identity.at(offset), len, source };
        let len = source.len().map_err(|source| read(0, 0, source))?;
        let mut end = len;
        if let Some(offset) = len.checked_sub(Footer::LEN as u64)
            && !matches!(identity.kind, FileKind::Manifest | FileKind::Wal)
        {
            let mut tail = [0; Footer::LEN];
            let footer_len = Footer::LEN as u64;
            source.read_exact_at(offset, &mut tail).map_err(|source| read(offset, footer_len, source))?;
            if Footer::decode(identity.at(offset), &tail).is_ok() {
                end = offset;
            }
        }
        let start = start.min(end);
        Ok(Self::new(source, FrameReader::new(identity, superblock.transforms_without_key()), start..end))
    }

    /// The source, when the walk is over.
    pub fn into_source(self) -> R {
        self.source
    }

    /// At least `need` bytes at `offset`, fewer only at the end of the walk.
    fn bytes(&mut self, offset: u64, need: usize) -> Result<&[u8], BlockError> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let need = need.min(left);
        let held = |walk: &Self| {
            let start = usize::try_from(offset.checked_sub(walk.window_at)?).ok()?;
            (walk.window.len().checked_sub(start)? >= need).then_some(start)
        };
        if held(self).is_none() {
            let len = need.max(WINDOW_LEN).min(left);
            self.window.resize(len, 0);
            self.window_at = offset;
            let at = self.reader.identity().at(offset);
            self.source.read_exact_at(offset, &mut self.window).map_err(|source| {
                self.window.clear();
                BlockError::Read { at, len: len as u64, source }
            })?;
        }
        let start = held(self).unwrap_or_default();
        Ok(self.window.get(start..).unwrap_or_default())
    }

    /// The head at `offset`, when it is good and its frame ends within the walk.
    fn head(&mut self, offset: u64) -> Result<Result<(FrameHeader, Handle), BlockError>, BlockError> {
        let identity = *self.reader.identity();
        let end = self.end;
        let bytes = self.bytes(offset, FrameHeader::LEN)?;
        let header = match FrameHeader::decode(&identity, offset, crate::BlockKind::DATA, bytes) {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        let handle = Handle { offset, len: header.frame_len().unwrap_or(u32::MAX) };
        if handle.end().is_some_and(|last| last <= end) && header.frame_len().is_some() {
            return Ok(Ok((header, handle)));
        }
        let have = end - offset;
        Ok(Err(BlockError::Truncated { at: identity.at(offset), need: handle.len.into(), have }))
    }

    fn step(&mut self) -> Result<Walked, BlockError> {
        let offset = self.at;
        let why = match self.head(offset)? {
            Ok((header, handle)) => {
                self.at += u64::from(handle.len);
                return self.frame(header, handle);
            }
            Err(why) => why,
        };
        let (next, zeros) = self.resync(offset)?;
        self.at = next;
        let extent = offset..next;
        Ok(if zeros { Walked::Zeros { extent } } else { Walked::Damaged { extent, why } })
    }

    fn frame(&mut self, header: FrameHeader, handle: Handle) -> Result<Walked, BlockError> {
        let identity = *self.reader.identity();
        // What asks for too much is not read: its extent was bounded by the file only.
        if let Err(why) = header.codec(&identity, handle.offset) {
            return Ok(Walked::BadFrame { header, handle, why });
        }
        let reader = self.reader.clone();
        let expect = Expect { kind: header.kind, ordinal: None, handle };
        let bytes = self.bytes(handle.offset, handle.len as usize)?;
        let frame = bytes.get(..handle.len as usize).unwrap_or_default();
        Ok(match reader.check(&expect, frame, u32::MAX) {
            Ok(header) => Walked::Frame { header, mark: FrameMark::new(&header, handle) },
            Err(why) => Walked::BadFrame { header, handle, why },
        })
    }

    /// The next place after `offset` with a good head, or the end, and whether only zeros lie between.
    fn resync(&mut self, offset: u64) -> Result<(u64, bool), BlockError> {
        let mut zeros = true;
        let mut at = offset;
        while at < self.end {
            let bytes = self.bytes(at, 1)?;
            // The byte at `offset` itself is known not to begin a frame, but it counts for the zeros.
            let skip = usize::from(at == offset);
            let head = bytes.iter().skip(skip).position(|&byte| byte == MAGIC[0]).map(|found| found + skip);
            let passed = bytes.get(..head.unwrap_or(bytes.len())).unwrap_or_default();
            zeros = zeros && passed.iter().all(|&byte| byte == 0);
            at += passed.len() as u64;
            if head.is_none() {
                continue;
            }
            if self.head(at)?.is_ok() {
                return Ok((at, zeros));
            }
            zeros = false;
            at += 1;
        }
        Ok((self.end, zeros))
    }
}

impl<R: ReadAt> Iterator for Walk<R> {
    type Item = Result<Walked, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.at = self.end;
        }
        Some(step)
    }
}
