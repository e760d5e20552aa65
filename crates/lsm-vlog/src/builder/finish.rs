//! The end of a value log.
//!
//! ```text
//! values | mirrors: dictionaries, properties, superblock, directory | 64 KiB of zeros
//!        | frame directory, dictionaries, properties, superblock, directory | footer
//! ```

use alloc::{borrow::ToOwned, vec::Vec};

use lsm_block::{BlockKind, Dictionaries, Handle, Output, SectionFlags, Tail, TailPart, TailPlace};
use lsm_codec::{Compression, Dictionary};
use lsm_types::{Result, VlogId};

use super::{VlogBuilder, sink::META_ORDINALS};
use crate::{VlogError, payload::ENCODING, properties::Properties};

/// What is known about a value log that was just written: all a manifest wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlogSummary {
    /// Length of the file.
    pub file_len: u64,
    /// Digest over all frames of the file.
    pub digest: u64,
    /// Where the directory's frame lies.
    pub directory: Handle,
    /// How much of the file's tail to read to open it in one go, in bytes.
    pub tail_len: u64,
    /// What the file says about itself.
    pub properties: Properties,
    /// Whether the values are known to lie in the order of their keys; the file does not say so itself.
    pub is_ordered: bool,
}

pub(super) fn finish<O: Output>(mut builder: VlogBuilder<O>) -> Result<(VlogSummary, O)> {
    let properties = complete_properties(&builder);
    let is_ordered = builder.is_ordered;
    let (mut directory, mut encoded) = (Vec::new(), Vec::new());
    builder.directory.encode(&mut directory);
    properties.encode(&mut encoded);
    let directory_len = builder.sink.frames.raw_frame_len(BlockKind::VALUE_DIRECTORY, directory.len());
    let superblock = builder.superblock.encode().to_vec();
    let dictionaries: Vec<Vec<u8>> = builder.sink.frames.dictionaries().iter().map(payload_of).collect();
    let mut parts = Vec::from([
        // First, so that a short read of the tail finds all but it: opening does not need it.
        TailPart { is_mirrored: false, ..part(BlockKind::VALUE_DIRECTORY, SectionFlags::NONE, directory) },
        TailPart { payloads: dictionaries, ..part(BlockKind::DICTIONARY, SectionFlags::NONE, Vec::new()) },
        part(BlockKind::PROPERTIES, SectionFlags::CRITICAL, encoded),
        part(BlockKind::SUPERBLOCK_COPY, SectionFlags::NONE, superblock),
    ]);
    parts.retain(|part| !part.payloads.is_empty());
    let sink = &mut builder.sink;
    let place = TailPlace {
        offset: sink.offset(),
        first_ordinal: META_ORDINALS,
        digest: sink.digest.clone(),
        data_frames: sink.digest.frames(),
        sections: sink.sections(),
    };
    let tail = Tail::build(&mut sink.frames, &builder.superblock, place, &parts).map_err(VlogError::from)?;
    sink.write(&tail.mirrors)?;
    sink.skip(tail.gap)?;
    let needed_at = sink.offset() + directory_len;
    sink.write(&tail.primaries)?;
    let (file_len, output) = builder.sink.finish()?;
    let summary = VlogSummary {
        file_len,
        digest: tail.digest,
        directory: tail.directory,
        tail_len: file_len - needed_at,
        properties,
        is_ordered,
    };
    Ok((summary, output))
}

fn payload_of(dictionary: &Dictionary) -> Vec<u8> {
    let mut payload = Vec::new();
    Dictionaries::encode(dictionary, &mut payload);
    payload
}

fn part(kind: BlockKind, flags: SectionFlags, payload: Vec<u8>) -> TailPart {
    let payloads = Vec::from([payload]);
    TailPart { kind, encoding: ENCODING, flags, compression: Compression::None, payloads, is_mirrored: true }
}

fn complete_properties<O>(builder: &VlogBuilder<O>) -> Properties {
    let superblock = &builder.superblock;
    Properties {
        writer: builder.options.writer.clone(),
        created: superblock.created,
        file: VlogId::new(superblock.identity.file_id),
        comparator: builder.options.order.comparator().name().to_owned(),
        edit_index: superblock.edit_index,
        codecs: builder.sink.codecs,
        ..builder.properties.clone()
    }
}
