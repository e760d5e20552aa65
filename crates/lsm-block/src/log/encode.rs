//! Writing records.

use alloc::vec::Vec;

use super::{HEAD_LEN, LogFormat, LogPosition, MAX_RECORD_LEN, MIN_ROOM, Piece, record_digest};
use crate::{BlockError, FileIdentity, FrameHeader, Transforms, frame::SEALED};

/// Where a record went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordSpan {
    /// Index of the record.
    pub index: u64,
    /// Offset of the first byte appended, zero-filling before the record included.
    pub start: u64,
    /// First byte after the record.
    pub end: u64,
}

/// Turns records into the bytes to append to one log file. Changes nothing but its own position: the caller writes
/// and syncs.
#[derive(Clone, Debug)]
pub struct LogEncoder {
    identity: FileIdentity,
    transforms: Transforms,
    format: LogFormat,
    position: LogPosition,
}

impl LogEncoder {
    /// An encoder whose next record goes to `position`.
    pub const fn new(
        identity: FileIdentity,
        transforms: Transforms,
        format: LogFormat,
        position: LogPosition,
    ) -> Self {
        Self { identity, transforms, format, position }
    }

    /// Where the next record goes.
    pub const fn position(&self) -> LogPosition {
        self.position
    }

    /// Goes back to `to`, a position this encoder had before, after the file was cut back to it. The frame numbers
    /// used since are not used again.
    pub const fn cut_back(&mut self, to: LogPosition) {
        self.position = LogPosition { ordinal: self.position.ordinal, ..to };
    }

    /// Appends to `out` the bytes that follow the record before, and moves on.
    ///
    /// * `durable`: highest index known durable, 0 for none.
    ///
    /// # Errors
    /// [`BlockError::TooLarge`] over [`MAX_RECORD_LEN`], or when the file has no frame number left; `out` and the
    /// position are then as they were.
    pub fn encode(&mut self, durable: u64, body: &[u8], out: &mut Vec<u8>) -> Result<RecordSpan, BlockError> {
        let kind = self.format.kind(Piece::Whole);
        let cap = u32::try_from(MAX_RECORD_LEN).unwrap_or(u32::MAX);
        let too_large = BlockError::TooLarge { kind, len: body.len(), cap };
        let total = u32::try_from(body.len()).ok().filter(|&len| len <= cap).ok_or(too_large)?;
        let LogPosition { index, chain, offset: start, .. } = self.position;
        let frames_max = body.len() as u64 / (self.format.block_len() - MIN_ROOM) + 2;
        if u64::from(u32::MAX - self.position.ordinal) < frames_max {
            return Err(too_large);
        }

        let mut head = [0; HEAD_LEN];
        head[..8].copy_from_slice(&index.to_le_bytes());
        head[8..16].copy_from_slice(&chain.to_le_bytes());
        head[16..24].copy_from_slice(&durable.to_le_bytes());
        head[24..].copy_from_slice(&total.to_le_bytes());
        let tag = self.transforms.tag_len(kind);
        let mut front: &[u8] = &head;
        let mut rest = body;
        loop {
            let offset = self.format.frame_start(self.position.offset, tag);
            let fill = offset - self.position.offset;
            out.resize(out.len() + usize::try_from(fill).unwrap_or_default(), 0);
            let room = usize::try_from(self.format.room(offset)).unwrap_or_default();
            let capacity = room - FrameHeader::LEN - tag - front.len();
            let (piece, later) = rest.split_at_checked(capacity).unwrap_or((rest, &[]));
            let shape = match (front.is_empty(), later.is_empty()) {
                (false, true) => Piece::Whole,
                (false, false) => Piece::First,
                (true, false) => Piece::Middle,
                (true, true) => Piece::Last,
            };
            self.append_frame(offset, shape, front, piece, out);
            (front, rest) = (&[], later);
            if rest.is_empty() {
                break;
            }
        }
        self.position.index = index + 1;
        self.position.chain = record_digest(index, chain, body);
        Ok(RecordSpan { index, start, end: self.position.offset })
    }

    fn append_frame(&mut self, offset: u64, shape: Piece, front: &[u8], piece: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let kind = self.format.kind(shape);
        let tag = self.transforms.tag_len(kind);
        out.reserve(FrameHeader::LEN + front.len() + piece.len() + tag);
        out.extend_from_slice(&[0; FrameHeader::LEN]);
        out.extend_from_slice(front);
        out.extend_from_slice(piece);
        // Within one physical block, so both fit.
        let len = u32::try_from(front.len() + piece.len()).unwrap_or(u32::MAX);
        let mut header = FrameHeader {
            kind,
            flags: if tag > 0 { SEALED } else { 0 },
            stored_len: len + u32::try_from(tag).unwrap_or_default(),
            logical_len: len,
            codec: 0,
            encoding: 1,
            dictionary: 0,
            ordinal: self.position.ordinal,
            check: 0,
        };
        let finished = self.transforms.finish(&mut header, 0, start + FrameHeader::LEN, out);
        debug_assert!(finished, "a physical block is far below what a cipher takes");
        let header = header.encode(&self.identity, offset);
        if let Some(head) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
            *head = header;
        }
        self.position.offset = offset + (out.len() - start) as u64;
        self.position.ordinal += 1;
    }
}
