//! Reading the dictionaries that values of a file are compressed with: a section of the metadata, one frame each, in two
//! copies.

use alloc::vec::Vec;

use lsm_block::{BlockError, BlockKind, Dictionaries, Expect, FrameHeader, FrameReader, Handle, Section};
use lsm_codec::{Decoder, Dictionary};
use lsm_types::Slice;

use crate::{VlogError, layout::checked_encoding};

/// A dictionary, or what is wrong with it.
type Slot = Result<Dictionary, BlockError>;

/// The dictionaries of `section`, whose bytes are `bytes`. One that is damaged takes those behind it along where its
/// length is lost.
pub(crate) fn decode(reader: &FrameReader, section: &Section, bytes: &Slice) -> Vec<Slot> {
    let count = section.frames.min(Dictionaries::SLOTS_MAX.into());
    let (mut slots, mut start) = (Vec::new(), 0_usize);
    for slot in 0..count {
        let offset = section.offset.saturating_add(start as u64);
        let ordinal = u32::try_from(section.aux).ok().and_then(|first| first.checked_add(slot));
        let len = frame_len(reader, offset, bytes.get(start..).unwrap_or_default());
        let end = len.as_ref().ok().and_then(|len| start.checked_add(*len as usize));
        match (len, end.filter(|end| *end <= bytes.len())) {
            (Ok(len), Some(end)) => {
                let handle = Handle { offset, len };
                slots.push(open(
                    reader,
                    Expect { kind: BlockKind::DICTIONARY, ordinal, handle },
                    &bytes.slice(start..end),
                ));
                start = end;
            }
            (Ok(_), None) => slots.push(Err(truncated(reader, offset, bytes.len()))),
            (Err(error), _) => slots.push(Err(error)),
        }
    }
    slots
}

/// What is good of two copies.
pub(crate) fn merge(primary: Vec<Slot>, mirror: Vec<Slot>) -> Vec<Slot> {
    let mut mirror = mirror.into_iter();
    let best = |slot: Slot| {
        let other = mirror.next();
        slot.or_else(|error| other.unwrap_or(Err(error)).map_err(|_| error))
    };
    primary.into_iter().map(best).collect()
}

fn frame_len(reader: &FrameReader, offset: u64, bytes: &[u8]) -> Result<u32, BlockError> {
    let header = FrameHeader::decode(reader.identity(), offset, BlockKind::DICTIONARY, bytes)?;
    header.frame_len().ok_or_else(|| truncated(reader, offset, bytes.len()))
}

fn truncated(reader: &FrameReader, offset: u64, have: usize) -> BlockError {
    let (at, need) = (reader.identity().at(offset), FrameHeader::LEN as u64);
    BlockError::Truncated { at, need, have: have as u64 }
}

fn open(reader: &FrameReader, expect: Expect, frame: &Slice) -> Slot {
    let at = reader.identity().at(expect.handle.offset);
    let longest = u32::try_from(Dictionaries::LEN_MAX).unwrap_or(u32::MAX);
    let opened = reader.open(&expect, frame, &mut Decoder::new(), longest)?;
    let payload = checked_encoding(reader.identity(), &expect, opened).map_err(|error| match error {
        VlogError::Framing(error) => error,
        _ => BlockError::Decode { at, kind: expect.kind, field: "encoding" },
    })?;
    Dictionaries::decode(at, &payload)
}
