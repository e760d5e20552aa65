//! Reading records, and judging the end of a log.

use alloc::{borrow::Cow, vec::Vec};

use lsm_types::{ByteReader, CorruptionKind, reader::ReadError};

use super::{HEAD_LEN, LogFormat, LogPosition, MAX_RECORD_LEN, Piece, record_digest};
use crate::{
    BlockError, Expect, FileIdentity, FrameHeader, FrameReader, Handle, Part, Transforms, frame::MAGIC,
};

/// One whole record whose checks are good and that follows the one before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its index.
    pub index: u64,
    /// Digest of the record before.
    pub chain: u64,
    /// Highest index known durable when it was written, 0 for none.
    pub durable: u64,
    /// First byte of its first frame.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// What its writer gave; borrowed unless the record was cut.
    pub body: Cow<'a, [u8]>,
}

/// Why a log ends where its readable records end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// Nothing, or only zeros, follow.
    Clean {
        /// First byte after the last record.
        at: u64,
    },
    /// What follows was never durable and nothing good comes after it: an append that did not complete.
    Torn {
        /// First byte after the last record.
        at: u64,
        /// Index of the record that is not there.
        index: u64,
    },
    /// Good records follow a bad one, but none of them was ever known durable: writes that reached the disk out of
    /// order before they were synced.
    UnsyncedGap {
        /// First byte after the last record.
        at: u64,
        /// Index of the first bad record.
        index: u64,
    },
    /// A record that had been durable, or that follows all the rules but the chain, is damaged or missing.
    Corrupt {
        /// First byte after the last record.
        at: u64,
        /// Index of the first bad record.
        index: u64,
        /// What is wrong with it; nothing where the log simply ends too early.
        why: Option<BlockError>,
    },
}

/// Reads the records of one log file from its bytes. An iterator; once it ended, [`LogScanner::tail`] says why.
#[derive(Clone, Debug)]
pub struct LogScanner<'a> {
    reader: FrameReader,
    format: LogFormat,
    bytes: &'a [u8],
    position: LogPosition,
    /// The next record must have the position's index and chain.
    anchored: bool,
    stop: Option<BlockError>,
}

/// The head of a record.
struct Head {
    index: u64,
    chain: u64,
    durable: u64,
    body_len: usize,
}

/// A frame of the log whose checks are good.
struct Frame<'a> {
    piece: Piece,
    ordinal: u32,
    payload: Cow<'a, [u8]>,
    end: u64,
}

impl<'a> LogScanner<'a> {
    /// A scanner over `bytes`, the whole file from its first byte, that accepts any index and chain in the first
    /// record at or after `offset`.
    pub fn new(
        identity: FileIdentity,
        transforms: Transforms,
        format: LogFormat,
        bytes: &'a [u8],
        offset: u64,
    ) -> Self {
        let position = LogPosition { offset, ..LogPosition::START };
        let reader = FrameReader::new(identity, transforms);
        Self { reader, format, bytes, position, anchored: false, stop: None }
    }

    /// The same, but the first record must be the one that belongs to `position`.
    pub fn anchored(self, position: LogPosition) -> Self {
        Self { position, anchored: true, ..self }
    }

    /// Where the next record would go.
    pub const fn position(&self) -> LogPosition {
        self.position
    }

    /// Reads what is left and judges the end of the log.
    ///
    /// * `frontier`: highest index that something outside this file knows to be durable, 0 for nothing. A log that
    ///   was closed cleanly may pass `u64::MAX`.
    pub fn tail(&mut self, frontier: u64) -> Tail {
        while self.next().is_some() {}
        let (at, index, why) = (self.position.offset, self.position.index, self.stop);
        let broken_chain = matches!(
            why,
            Some(BlockError::Corrupt { what: CorruptionKind::Chain, .. } | BlockError::Unsupported { .. })
        );
        // No crash leaves a frame with a good check and a broken seal.
        let broken_chain =
            broken_chain || matches!(why, Some(BlockError::Tampered { .. } | BlockError::Sealed { .. }));
        if frontier >= index || broken_chain {
            return Tail::Corrupt { at, index, why };
        }
        if self.rest(at).iter().all(|&byte| byte == 0) {
            return Tail::Clean { at };
        }
        let mut durable = 0;
        let mut later = false;
        let mut from = self.behind(self.frame_start(at));
        while let Some((start, head, end)) = self.next_start(from) {
            debug_assert!(start >= from && end > start, "a search goes forward");
            later = true;
            durable = durable.max(head.durable);
            from = end;
        }
        match () {
            () if durable >= index || (later && self.format.synced_each) => Tail::Corrupt { at, index, why },
            () if later => Tail::UnsyncedGap { at, index },
            () => Tail::Torn { at, index },
        }
    }

    /// Goes on behind damage, at the next frame that begins a record; for salvage only. Returns the bytes passed
    /// over, `None` when no record begins anywhere behind. The record found may have any index and chain.
    pub fn resync(&mut self) -> Option<core::ops::Range<u64>> {
        while self.next().is_some() {}
        let at = self.position.offset;
        let (start, ..) = self.next_start(self.behind(self.frame_start(at)))?;
        self.position.offset = start;
        (self.anchored, self.stop) = (false, None);
        Some(at..start)
    }

    fn rest(&self, offset: u64) -> &'a [u8] {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// The first frame at or after `from` that begins a record: its place, the record's head, and its end.
    /// Frames without gaps, frames behind damage and frames at borders are all found: every byte may begin one.
    fn next_start(&self, from: u64) -> Option<(u64, Head, u64)> {
        let mut offset = from;
        loop {
            let rest = self.rest(offset);
            let skip = rest.windows(MAGIC.len()).position(|bytes| bytes == MAGIC)?;
            offset += skip as u64;
            match self.frame(offset) {
                Ok(frame) => {
                    if matches!(frame.piece, Piece::Whole | Piece::First)
                        && let Ok(head) = self.head(offset, &frame.payload)
                    {
                        return Some((offset, head, frame.end));
                    }
                    offset = frame.end;
                }
                Err(_) => offset = self.behind(offset),
            }
        }
    }

    fn frame_start(&self, offset: u64) -> u64 {
        self.format.frame_start(offset, self.reader.tag_len(self.format.kind(Piece::Whole)))
    }

    /// Where to look on behind a bad place: a good header vouches for its frame's length, whatever the payload is.
    /// So no byte is hashed twice.
    fn behind(&self, offset: u64) -> u64 {
        let kind = self.format.kind(Piece::Whole);
        let header = FrameHeader::decode(self.reader.identity(), offset, kind, self.rest(offset));
        let len = header.ok().and_then(|header| header.frame_len()).map(u64::from);
        offset + len.filter(|&len| len <= self.format.room(offset)).unwrap_or(1)
    }

    /// The frame at `offset`, with all its checks.
    fn frame(&self, offset: u64) -> Result<Frame<'a>, BlockError> {
        let identity = self.reader.identity();
        let rest = self.rest(offset);
        let room = usize::try_from(self.format.room(offset)).unwrap_or(usize::MAX);
        let block = rest.get(..room).unwrap_or(rest);
        let kind = self.format.kind(Piece::Whole);
        let header = FrameHeader::decode(identity, offset, kind, block)?;
        let at = identity.at(offset);
        let Some(piece) = self.format.piece(header.kind) else {
            return Err(BlockError::Decode { at, kind: header.kind, field: "kind" });
        };
        if header.encoding != 1 {
            return Err(BlockError::Unsupported { at, part: Part::Encoding(header.kind, header.encoding) });
        }
        if header.codec != 0 {
            return Err(BlockError::Unsupported { at, part: Part::Codec(header.codec) });
        }
        let len = header.frame_len().unwrap_or(u32::MAX);
        let Some(bytes) = block.get(..len as usize) else {
            let have = block.len() as u64;
            return Err(BlockError::Truncated { at, need: len.into(), have });
        };
        let expect = Expect { kind: header.kind, ordinal: None, handle: Handle { offset, len } };
        let (header, _) = self.reader.admit(&expect, bytes, u32::MAX)?;
        let mut opened = Vec::new();
        let payload = if self.reader.unseal(&expect, &header, bytes, &mut opened)? {
            Cow::Owned(opened)
        } else {
            Cow::Borrowed(bytes.get(FrameHeader::LEN..).unwrap_or_default())
        };
        Ok(Frame { piece, ordinal: header.ordinal, payload, end: offset + u64::from(len) })
    }

    /// A record's head; the part of its body behind it is [`HEAD_LEN`] bytes on.
    fn head(&self, offset: u64, payload: &[u8]) -> Result<Head, BlockError> {
        let (at, kind) = (self.reader.identity().at(offset), self.format.kind(Piece::Whole));
        let broken = |_: ReadError| BlockError::Decode { at, kind, field: "record head" };
        let mut fields = ByteReader::new(payload);
        let head = Head {
            index: fields.u64().map_err(broken)?,
            chain: fields.u64().map_err(broken)?,
            durable: fields.u64().map_err(broken)?,
            body_len: fields.u32().map_err(broken)? as usize,
        };
        debug_assert_eq!(payload.len() - fields.remaining(), HEAD_LEN);
        let body = fields.take_rest();
        if head.body_len > MAX_RECORD_LEN || body.len() > head.body_len {
            return Err(BlockError::Decode { at, kind, field: "body length" });
        }
        Ok(head)
    }

    /// The record at the position, checked against it.
    fn record(&self) -> Result<(Record<'a>, LogPosition), BlockError> {
        let start = self.frame_start(self.position.offset);
        let frame = self.frame(start)?;
        let (at, kind) = (self.reader.identity().at(start), self.format.kind(Piece::Whole));
        let decode = |field| BlockError::Decode { at, kind, field };
        if !matches!(frame.piece, Piece::Whole | Piece::First) {
            return Err(decode("first piece"));
        }
        let head = self.head(start, &frame.payload)?;
        let chain =
            |expected, found| BlockError::Corrupt { at, kind, what: CorruptionKind::Chain, expected, found };
        let LogPosition { index, chain: digest, ordinal, .. } = self.position;
        if self.anchored && head.index != index {
            return Err(chain(index, head.index));
        }
        if self.anchored && head.chain != digest {
            return Err(chain(digest, head.chain));
        }
        if frame.ordinal < ordinal {
            return Err(chain(ordinal.into(), frame.ordinal.into()));
        }
        let whole = frame.piece == Piece::Whole;
        let mut last = frame;
        let front = core::mem::take(&mut last.payload);
        let body = if whole {
            match front {
                Cow::Borrowed(front) => Cow::Borrowed(front.get(HEAD_LEN..).unwrap_or_default()),
                Cow::Owned(mut front) => {
                    front.drain(..HEAD_LEN.min(front.len()));
                    Cow::Owned(front)
                }
            }
        } else {
            let mut body = Vec::from(front.get(HEAD_LEN..).unwrap_or_default());
            while last.piece != Piece::Last {
                let next = self.frame(self.frame_start(last.end))?;
                let follows = last.ordinal.checked_add(1) == Some(next.ordinal);
                if !matches!(next.piece, Piece::Middle | Piece::Last) || !follows {
                    return Err(decode("next piece"));
                }
                body.extend_from_slice(&next.payload);
                if body.len() > head.body_len {
                    return Err(decode("body length"));
                }
                last = next;
            }
            Cow::Owned(body)
        };
        if body.len() != head.body_len {
            return Err(decode("body length"));
        }
        let next = LogPosition {
            offset: last.end,
            index: head.index.checked_add(1).ok_or(decode("index"))?,
            chain: record_digest(head.index, head.chain, &body),
            ordinal: last.ordinal.saturating_add(1),
        };
        let Head { index, chain, durable, .. } = head;
        Ok((Record { index, chain, durable, start, end: last.end, body }, next))
    }
}

impl<'a> Iterator for LogScanner<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.stop.is_some() {
            return None;
        }
        match self.record() {
            Ok((record, next)) => {
                (self.position, self.anchored) = (next, true);
                Some(record)
            }
            Err(error) => {
                self.stop = Some(error);
                None
            }
        }
    }
}
