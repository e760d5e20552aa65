//! Somebody who can change every byte, knows the format by heart, and has no key.

use lsm_block::{
    BlockKind, Checksum, Directory, FileIdentity, Footer, FrameHeader, Handle, Superblock, Walk, Walked,
};
use lsm_types::{FileKind, Location};

const AT: Location = Location { kind: FileKind::Table, id: 0, offset: 0 };
const TAG_LEN: usize = 16;

/// The head of a file.
pub(crate) fn head(file: &[u8]) -> Superblock {
    Superblock::decode(AT, file).unwrap()
}

/// The frames of a file: needs no key.
pub(crate) fn frames(file: &[u8]) -> Vec<(FrameHeader, Handle)> {
    let steps = Walk::file(file, &head(file)).unwrap();
    let frames = steps.filter_map(|step| match step.unwrap() {
        Walked::Frame { header, mark } => Some((header, mark.handle)),
        _ => None,
    });
    frames.collect()
}

/// The frames of one kind.
pub(crate) fn of_kind(file: &[u8], kind: BlockKind) -> Vec<(FrameHeader, Handle)> {
    let mut frames = frames(file);
    frames.retain(|(header, _)| header.kind == kind);
    frames
}

/// What stands behind the head of a frame.
pub(crate) fn stored(file: &[u8], handle: Handle) -> Vec<u8> {
    let start = handle.offset as usize;
    file[start + FrameHeader::LEN..start + handle.len as usize].to_vec()
}

/// Writes a frame of the same length in the place of another, with checks as good as those of its owner.
pub(crate) fn put(file: &mut [u8], handle: Handle, header: FrameHeader, stored: &[u8]) {
    let identity = head(file).identity;
    put_as(file, &identity, handle, header, stored);
}

fn put_as(file: &mut [u8], identity: &FileIdentity, handle: Handle, header: FrameHeader, stored: &[u8]) {
    assert_eq!(handle.len as usize, FrameHeader::LEN + stored.len());
    let header = FrameHeader {
        stored_len: u32::try_from(stored.len()).unwrap(),
        check: Checksum::Xxh3.of(stored),
        ..header
    };
    let frame = [&header.encode(identity, handle.offset)[..], stored].concat();
    let start = handle.offset as usize;
    file[start..start + frame.len()].copy_from_slice(&frame);
}

/// Lets a file say something else about itself, everywhere it says so.
pub(crate) fn rewrite_head(file: &mut [u8], change: impl Fn(&mut Superblock)) {
    let frames = frames(file);
    let mut head = head(file);
    change(&mut head);
    let raw = head.encode();
    let digest = Superblock::digest_of(&raw);
    for (header, handle) in frames {
        let mut stored = stored(file, handle);
        if header.kind == BlockKind::SUPERBLOCK_COPY {
            stored.copy_from_slice(&raw);
        }
        if header.kind == BlockKind::DIRECTORY {
            change_directory(&mut stored, file.len() as u64, |directory| {
                directory.superblock_digest = digest;
            });
        }
        put_as(file, &head.identity, handle, header, &stored);
    }
    let footer_at = file.len() - Footer::LEN;
    if let Ok(mut footer) = Footer::decode(AT, &file[footer_at..]) {
        footer.uuid = head.identity.uuid;
        footer.incompat = head.features.incompat;
        file[footer_at..].copy_from_slice(&footer.encode());
    }
    file[..Superblock::LEN].copy_from_slice(&raw);
}

/// Changes both directories of a table.
pub(crate) fn rewrite_directories(file: &mut [u8], change: impl Fn(&mut Directory)) {
    for (header, handle) in of_kind(file, BlockKind::DIRECTORY) {
        let mut stored = stored(file, handle);
        change_directory(&mut stored, file.len() as u64, &change);
        put(file, handle, header, &stored);
    }
}

/// A directory stands in the clear before its tag.
fn change_directory(stored: &mut [u8], file_len: u64, change: impl FnOnce(&mut Directory)) {
    let (payload, _) = stored.split_at_mut(stored.len() - TAG_LEN);
    let mut directory = Directory::decode(AT, payload, file_len).unwrap();
    change(&mut directory);
    payload.copy_from_slice(&directory.encode());
}
