//! The decoders of the format crates, each behind the checks that a file puts in front of it.

use lsm_block::{
    BlockKind, Dictionaries, Directory, FileIdentity, Footer, Superblock, Transforms,
    log::{LogEncoder, LogFormat, LogPosition, LogScanner},
};
use lsm_burr::{Bits, Builder, FilterRef, Retrieval, RetrievalBuilder};
use lsm_codec::{Codec, Compression, Decoder, Dictionary, Encoder};
use lsm_journal::Pointer;
use lsm_manifest::{Record, TableDescriptor, TreeEdit, TreeIdentity, VersionEdit};
use lsm_sst::{
    BuildOptions, Table, TableBuilder, TableOptions,
    data_block::DataBlock,
    index::IndexBlock,
    properties::{Properties, SeqNoBounds},
    range_tombstones,
    seqno_bounds::{self, BoundsBlock},
};
use lsm_types::{
    Cut, EditIndex, EntryCursor, FileKind, FileUuid, KeyOrder, Kind, Level, Location, RangeTombstone, RunId,
    SeqNo, Slice, TreeId, UnixNanos, ValueHandle, ValueReferences, VlogId,
};
use lsm_vlog::{
    DictionaryOptions, LocatorHints, ValuePayload, Vlog, VlogBuilder, VlogOptions, chunk_map::ChunkMap,
    frame_directory::FrameDirectory,
};

use super::targets::{Target, seen};

/// Every decoder of a file's bytes.
pub(super) const TARGETS: [Target; 22] = [
    Target { name: "superblock", run: superblock, seeds: superblock_seeds },
    Target { name: "footer", run: footer, seeds: table_seeds },
    Target { name: "directory", run: directory, seeds: table_seeds },
    Target { name: "log", run: log, seeds: log_seeds },
    Target { name: "data_block", run: data_block, seeds: block_seeds },
    Target { name: "index_block", run: index_block, seeds: block_seeds },
    Target { name: "range_tombstones", run: tombstones, seeds: tombstone_seeds },
    Target { name: "seqno_bounds", run: seqno_bounds, seeds: bounds_seeds },
    Target { name: "properties", run: properties, seeds: table_seeds },
    Target { name: "table", run: table, seeds: table_seeds },
    Target { name: "value", run: value, seeds: value_seeds },
    Target { name: "value_handle", run: value_handle, seeds: value_seeds },
    Target { name: "value_references", run: references, seeds: reference_seeds },
    Target { name: "chunk_map", run: chunk_map, seeds: value_seeds },
    Target { name: "value_directory", run: value_directory, seeds: value_seeds },
    Target { name: "value_log", run: value_log, seeds: value_log_seeds },
    Target { name: "dictionary", run: dictionary, seeds: dictionary_seeds },
    Target { name: "manifest_record", run: record, seeds: record_seeds },
    Target { name: "version_edit", run: edit, seeds: record_seeds },
    Target { name: "pointer", run: pointer, seeds: pointer_seeds },
    Target { name: "filter_probe", run: filter_probe, seeds: filter_seeds },
    Target { name: "filter_build", run: filter_build, seeds: hash_seeds },
];

const AT: Location = Location { kind: FileKind::Table, id: 7, offset: 0 };

fn identity(kind: FileKind) -> FileIdentity {
    let uuid = FileUuid::from_bytes([1; 16]);
    FileIdentity { kind, file_id: 7, uuid, database: FileUuid::from_bytes([2; 16]), tree: TreeId::new(0) }
}

/// Which error, by its kind alone: texts hold numbers that would make every input look new.
fn outcome<T, E: std::fmt::Debug>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => String::new(),
        Err(error) => {
            let text = format!("{error:?}");
            text.chars().filter(|c| !c.is_ascii_digit()).take(80).collect()
        }
    }
}

fn superblock(bytes: &[u8]) -> u64 {
    seen(outcome(&Superblock::decode(AT, bytes)))
}

fn superblock_seeds() -> Vec<Vec<u8>> {
    vec![Superblock::new(identity(FileKind::Table), UnixNanos::new(3), EditIndex::new(4)).encode().to_vec()]
}

fn footer(bytes: &[u8]) -> u64 {
    let tail = bytes.len().saturating_sub(Footer::LEN);
    seen(outcome(&Footer::decode(AT, bytes.get(tail..).unwrap_or_default())))
}

fn directory(bytes: &[u8]) -> u64 {
    seen(outcome(&Directory::decode(AT, bytes, 1 << 20)))
}

fn log(bytes: &[u8]) -> u64 {
    let scanned = |format| {
        let transforms = Transforms::default();
        let start = Superblock::LEN as u64;
        let mut scanner = LogScanner::new(
            identity(FileKind::Manifest),
            transforms,
            format,
            bytes,
            start.min(bytes.len() as u64),
        );
        let records = scanner.by_ref().count();
        let tail = format!("{:?}", scanner.tail(0));
        (records, tail.chars().filter(char::is_ascii_alphabetic).take(60).collect::<String>())
    };
    seen((scanned(LogFormat::MANIFEST), scanned(LogFormat::WAL)))
}

fn log_seeds() -> Vec<Vec<u8>> {
    let mut bytes = vec![0; Superblock::LEN];
    let transforms = Transforms::default();
    let mut encoder =
        LogEncoder::new(identity(FileKind::Manifest), transforms, LogFormat::MANIFEST, LogPosition::START);
    for len in [3, 40, 5_000] {
        // A record of a few bytes is never too long.
        let _ = encoder.encode(0, &vec![9; len], &mut bytes);
    }
    vec![bytes]
}

fn data_block(bytes: &[u8]) -> u64 {
    let decoded = DataBlock::decode(Slice::from(bytes));
    if let Ok(block) = &decoded {
        let order = KeyOrder::bytewise();
        let mut cursor = block.cursor(&order);
        cursor.seek_first();
        let forward = std::iter::from_fn(|| cursor.entry().is_some().then(|| cursor.next())).count();
        assert_eq!(forward, block.rows(), "a walk meets every row");
        cursor.seek(b"key", SeqNo::LATEST);
        let _ = block.verify(&order);
    }
    seen(outcome(&decoded))
}

fn seqno_bounds(bytes: &[u8]) -> u64 {
    let decoded = BoundsBlock::decode(Slice::from(bytes));
    if let Ok(block) = &decoded {
        let found: Vec<_> = (0..block.entries()).map_while(|entry| block.get(entry)).collect();
        assert_eq!(found.len(), block.entries(), "each block has bounds");
        assert_eq!(found.iter().map(|bounds| bounds.min).min(), block.all().map(|all| all.min));
        assert!(found.iter().all(|bounds| bounds.min <= bounds.max && bounds.max.is_write()));
    }
    seen(outcome(&decoded))
}

fn bounds_seeds() -> Vec<Vec<u8>> {
    let bounds = |min, max| SeqNoBounds {
        min: SeqNo::new(min).unwrap_or_default(),
        max: SeqNo::new(max).unwrap_or_default(),
    };
    let lists: [&[SeqNoBounds]; 3] =
        [&[], &[bounds(7, 7); 4], &[bounds(3, 90_000), bounds(1 << 40, 1 << 41)]];
    let encoded = lists.iter().map(|blocks| {
        let mut payload = Vec::new();
        seqno_bounds::encode(blocks, &mut payload);
        payload
    });
    encoded.collect()
}

fn index_block(bytes: &[u8]) -> u64 {
    let decoded = IndexBlock::decode(Slice::from(bytes));
    if let Ok(block) = &decoded {
        let order = KeyOrder::bytewise();
        for at in 0..block.entries() {
            assert!(block.entry(at).is_some(), "every entry is there");
        }
        let _ = (block.find(&order, b"key", SeqNo::LATEST), block.verify(&order));
    }
    seen(outcome(&decoded))
}

fn properties(bytes: &[u8]) -> u64 {
    seen(outcome(&Properties::decode(bytes)))
}

/// Payloads of real blocks, cut out of a real table.
fn block_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for file in table_seeds() {
        let Ok(head) = Superblock::decode(AT, file.get(..Superblock::LEN).unwrap_or_default()) else {
            continue;
        };
        for walked in lsm_block::Walk::file(&file, &head).into_iter().flatten().flatten() {
            if let lsm_block::Walked::Frame { header, mark } = walked
                && [BlockKind::DATA, BlockKind::INDEX_ROOT, BlockKind::INDEX_PARTITION].contains(&header.kind)
            {
                let start = usize::try_from(mark.handle.offset).unwrap_or(0) + 32;
                let end = start + header.stored_len as usize;
                seeds.extend(file.get(start..end).map(<[u8]>::to_vec));
            }
        }
    }
    seeds
}

fn tombstones(bytes: &[u8]) -> u64 {
    seen(outcome(&range_tombstones::decode(bytes, &KeyOrder::bytewise())))
}

fn tombstone_seeds() -> Vec<Vec<u8>> {
    let cut = |key: &str| Cut::Before(key.into());
    let one = |start, end, raw| RangeTombstone { start, end, seqno: SeqNo::new(raw).unwrap_or_default() };
    let list = [one(Cut::Start, cut("b"), 9), one(cut("a"), cut("c"), 8), one(cut("x"), Cut::End, 7)];
    let mut bytes = Vec::new();
    range_tombstones::encode(&list, &mut bytes);
    vec![bytes]
}

/// A whole table: opened, walked, searched.
fn table(bytes: &[u8]) -> u64 {
    let opened = Table::open(bytes.to_vec(), TableOptions::new());
    let mut rows = 0_u32;
    let mut end = String::new();
    if let Ok(table) = &opened {
        let mut cursor = table.cursor();
        let mut step = cursor.seek_first();
        while step.is_ok() && cursor.entry().is_some() {
            rows += 1;
            step = cursor.next();
        }
        end = outcome(&step);
        let _ = table.get(b"key-17", SeqNo::LATEST);
    }
    seen((outcome(&opened), rows.min(50), end))
}

fn table_seeds() -> Vec<Vec<u8>> {
    let build = |rows: u32| -> lsm_types::Result<Vec<u8>> {
        let head = Superblock::new(identity(FileKind::Table), UnixNanos::new(3), EditIndex::new(4));
        let mut options = BuildOptions::new(KeyOrder::bytewise());
        options.data_block_bytes = 128;
        options.compression = lsm_codec::Compression::None;
        let mut builder = TableBuilder::new(head, options, Vec::new())?;
        for row in 0..rows {
            let seqno = SeqNo::new(row.into()).unwrap_or_default();
            builder.add(format!("key-{row:03}").as_bytes(), seqno, Kind::Put, b"value")?;
        }
        Ok(builder.finish()?.1)
    };
    [0, 1, 40].into_iter().filter_map(|rows| build(rows).ok()).collect()
}

fn value(bytes: &[u8]) -> u64 {
    let _ = lsm_vlog::properties::Properties::decode(bytes);
    seen(outcome(&ValuePayload::decode(&Slice::from(bytes))))
}

fn value_handle(bytes: &[u8]) -> u64 {
    let decoded = ValueHandle::decode(bytes);
    if let Ok(handle) = decoded {
        assert_eq!(handle.encode(), bytes, "two encodings of a handle");
    }
    seen(outcome(&decoded))
}

fn references(bytes: &[u8]) -> u64 {
    let decoded = ValueReferences::decode(bytes);
    if let Ok(references) = &decoded {
        let mut again = Vec::new();
        references.encode(&mut again);
        assert_eq!(again, bytes, "two encodings of a list of references");
        let mut left = references.clone();
        assert!(left.subtract(references).is_ok() && left.is_empty(), "a list less itself is empty");
    }
    seen(outcome(&decoded))
}

fn reference_seeds() -> Vec<Vec<u8>> {
    let mut references = ValueReferences::new();
    let mut seeds = Vec::new();
    for (file, stored_len) in [(3, 60), (3, 1 << 20), (900, 45), (70_000, 45)] {
        let handle = ValueHandle { file: VlogId::new(file), offset: 512, stored_len, value_len: 9 };
        // Four entries do not overflow.
        let _ = references.record(&handle);
        let mut bytes = Vec::new();
        references.encode(&mut bytes);
        seeds.push(bytes);
    }
    seeds
}

/// A dictionary, whatever its hash; blocks that are stored with it, and bytes that are none.
fn dictionary(bytes: &[u8]) -> u64 {
    let decoded = Dictionaries::decode(AT, bytes);
    if let Ok(dictionary) = &decoded {
        let mut again = Vec::new();
        Dictionaries::encode(dictionary, &mut again);
        assert_eq!(again, bytes, "two encodings of a dictionary");
    }
    let (_, content) = bytes.split_at_checked(8).unwrap_or_default();
    let Ok(dictionary) = Dictionary::new(7, content.to_vec()) else { return seen(outcome(&decoded)) };
    let (mut out, mut stored) = (Vec::new(), Vec::new());
    let hostile = Decoder::new().decompress_with(Codec::Zstd, Some(&dictionary), bytes, &mut out, 4_096);
    if let Ok(codec) = Encoder::new().compress_with(1, &dictionary, bytes, &mut stored) {
        let with = (codec != Codec::None).then_some(&dictionary);
        let back = Decoder::new().decompress_with(codec, with, &stored, &mut out, bytes.len());
        assert!(back.is_ok() && out == bytes, "a block does not come back");
    }
    seen((outcome(&decoded), outcome(&hostile)))
}

fn dictionary_seeds() -> Vec<Vec<u8>> {
    let samples: Vec<String> =
        (0..400).map(|number| format!("{{\"number\": {number}, \"state\": \"open\"}}")).collect();
    let lens: Vec<usize> = samples.iter().map(String::len).collect();
    let text = samples.concat();
    let trained = Dictionaries::train(text.as_bytes(), &lens, 512).map(|dictionary| {
        let mut bytes = Vec::new();
        Dictionaries::encode(&dictionary, &mut bytes);
        bytes
    });
    // Bytes that were not trained are a dictionary, too.
    trained.into_iter().chain([text.into_bytes().into_iter().take(300).collect()]).collect()
}

fn chunk_map(bytes: &[u8]) -> u64 {
    let decoded = ChunkMap::decode(bytes);
    if let Ok(map) = &decoded {
        let mut again = Vec::new();
        map.encode(&mut again);
        assert_eq!(again, bytes, "two encodings of a map");
        assert!(
            (0..map.chunks()).all(|chunk| map.handle(chunk, 512).is_some() && !map.part(chunk).is_empty())
        );
    }
    seen(outcome(&decoded))
}

fn value_directory(bytes: &[u8]) -> u64 {
    seen(outcome(&FrameDirectory::decode(bytes)))
}

/// A whole value log: opened, walked, read.
fn value_log(bytes: &[u8]) -> u64 {
    let opened = Vlog::open(bytes.to_vec(), LocatorHints::default(), None);
    let (mut values, mut end) = (0_u32, String::new());
    if let Ok(log) = &opened {
        for scanned in log.scan() {
            match scanned {
                Ok(found) => {
                    values += 1;
                    let _ = log.get_range(&found.handle, &found.key, 3..9);
                }
                Err(error) => end = outcome::<(), _>(&Err(error)),
            }
        }
        let _ = log.verify(None, &mut |_| ());
    }
    seen((outcome(&opened), values.min(50), end))
}

fn built_value_log(value_lens: &[usize]) -> lsm_types::Result<Vec<u8>> {
    let head = Superblock::new(identity(FileKind::ValueLog), UnixNanos::new(3), EditIndex::new(4));
    let mut options = VlogOptions::new(KeyOrder::bytewise());
    options.directory_every = 2;
    let mut builder = VlogBuilder::new(head, options, Vec::new())?;
    for (at, len) in value_lens.iter().enumerate() {
        builder.add(format!("key-{at}").as_bytes(), SeqNo::ZERO, &vec![7; *len])?;
    }
    Ok(builder.finish()?.1)
}

/// The chunks of a large value compress well, so its file is short.
fn value_log_seeds() -> Vec<Vec<u8>> {
    let lists: [&[usize]; 3] = [&[], &[0, 3, 200], &[5, (1 << 20) + 9, 1]];
    let logs = lists.into_iter().map(built_value_log).chain([learnt_value_log()]);
    logs.filter_map(Result::ok).collect()
}

/// A value log with a dictionary.
fn learnt_value_log() -> lsm_types::Result<Vec<u8>> {
    let head = Superblock::new(identity(FileKind::ValueLog), UnixNanos::new(3), EditIndex::new(4));
    let mut options = VlogOptions::new(KeyOrder::bytewise());
    options.compression = Compression::Zstd { level: 1 };
    options.dictionary = Some(DictionaryOptions { bytes: 256, sample_bytes: 2_000 });
    let mut builder = VlogBuilder::new(head, options, Vec::new())?;
    for at in 0..60 {
        let value = format!("{{\"number\": {at}, \"state\": \"open\", \"sum\": {}}}", at * 7919);
        builder.add(format!("key-{at}").as_bytes(), SeqNo::ZERO, value.as_bytes())?;
    }
    Ok(builder.finish()?.1)
}

/// Payloads of real frames and a handle.
fn value_seeds() -> Vec<Vec<u8>> {
    let handle = ValueHandle { file: VlogId::new(7), offset: 512, stored_len: 60, value_len: 9 };
    let mut seeds = vec![handle.encode().to_vec()];
    for file in value_log_seeds() {
        let Ok(head) = Superblock::decode(AT, file.get(..Superblock::LEN).unwrap_or_default()) else {
            continue;
        };
        for walked in lsm_block::Walk::file(&file, &head).into_iter().flatten().flatten() {
            if let lsm_block::Walked::Frame { header, mark } = walked
                && header.stored_len < 400
            {
                let start = usize::try_from(mark.handle.offset).unwrap_or(0) + 32;
                seeds.extend(file.get(start..start + header.stored_len as usize).map(<[u8]>::to_vec));
            }
        }
    }
    seeds
}

/// What was accepted is encoded as something that says the same; fields that may be skipped are left out.
fn record(bytes: &[u8]) -> u64 {
    let decoded = Record::decode(bytes);
    if let Ok(record) = &decoded {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(Record::decode(&again).as_ref(), Ok(record), "a record does not survive its own encoding");
    }
    let _ = TableDescriptor::decode(bytes);
    seen(outcome(&decoded))
}

fn edit(bytes: &[u8]) -> u64 {
    seen(outcome(&VersionEdit::decode(bytes)))
}

fn record_seeds() -> Vec<Vec<u8>> {
    let mut edit = VersionEdit::default();
    edit.create_tree(TreeId::new(0), TreeIdentity::new("lsm.bytewise", 7));
    edit.push(TreeId::new(0), TreeEdit::AddRun { level: Level::new(0), run: RunId::new(1), age: 5 });
    edit.push(TreeId::new(0), TreeEdit::RaiseFloor(SeqNo::MAX_WRITE));
    let mut plain = Vec::new();
    edit.encode(&mut plain);
    let mut framed = Vec::new();
    Record::encode_edits(EditIndex::new(3), [&edit], &mut framed);
    let mut close = Vec::new();
    Record::CleanClose.encode(&mut close);
    vec![plain, framed, close]
}

fn pointer(bytes: &[u8]) -> u64 {
    seen(outcome(&Pointer::decode(bytes)))
}

fn pointer_seeds() -> Vec<Vec<u8>> {
    let pointer = Pointer {
        database: FileUuid::from_bytes([2; 16]),
        generation: lsm_journal::Generation::new(3),
        edit_min: EditIndex::new(4),
        snapshot_digest: 5,
    };
    vec![pointer.encode().to_vec()]
}

/// A filter or a retrieval table, opened and asked.
fn filter_probe(bytes: &[u8]) -> u64 {
    let asked: Vec<u64> = (0..20).map(|i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let filter = FilterRef::open(bytes);
    if let Ok(filter) = &filter {
        let mut found = [false; 20];
        filter.may_contain_batch(&asked, &mut found);
        for (&hash, &answer) in asked.iter().zip(&found) {
            assert_eq!(filter.may_contain(hash), answer, "alone and in a batch");
        }
    }
    let table = Retrieval::open(bytes);
    if let Ok(table) = &table {
        let _ = asked.iter().filter_map(|&hash| table.get(hash)).count();
    }
    seen((outcome(&filter), outcome(&table)))
}

fn filter_seeds() -> Vec<Vec<u8>> {
    let build = |keys: u64| {
        let mut builder = Builder::new(Bits::new(6.5)?);
        (0..keys).for_each(|key| builder.push(key));
        let mut bytes = Vec::new();
        builder.finish(&mut bytes).map(|_| bytes)
    };
    let retrieval = || {
        let mut builder = RetrievalBuilder::new(5)?;
        for value in 0..30 {
            builder.push(value.into(), value)?;
            builder.push(7, value)?;
        }
        let mut bytes = Vec::new();
        builder.finish(&mut bytes).map(|_| bytes)
    };
    [build(0), build(20), build(300), build(3000), retrieval()].into_iter().flatten().collect()
}

/// Any multiset of hashes, with any number of bits, becomes a filter that has all of them: the same in every order.
fn filter_build(bytes: &[u8]) -> u64 {
    let (head, list) = bytes.split_at(bytes.len().min(2));
    let &[bits, repeats] = head else { return seen(()) };
    let Ok(bits) = Bits::new(1.0 + f64::from(bits) / 8.5) else { return seen(()) };
    // Each hash is followed by a run, so that short inputs reach the larger structures, too.
    let runs = list.chunks(8).flat_map(|chunk| {
        let first = chunk.iter().fold(0_u64, |hash, &byte| hash << 8 | u64::from(byte));
        (0..=u64::from(repeats)).map(move |step| first.wrapping_add(step.wrapping_mul(first | 1)))
    });
    let mut hashes: Vec<u64> = runs.take(20_000).collect();
    let build = |hashes: &[u64]| {
        let mut builder = Builder::new(bits);
        for &hash in hashes {
            builder.push(hash);
        }
        let mut bytes = Vec::new();
        builder.finish(&mut bytes).map(|stats| (stats, bytes))
    };
    let Ok((stats, filter)) = build(&hashes) else { return seen(()) };
    let opened = FilterRef::open(&filter).map(|filter| hashes.iter().all(|&hash| filter.may_contain(hash)));
    assert_eq!(opened, Ok(true), "all members are there");
    hashes.reverse();
    assert!(build(&hashes).is_ok_and(|(_, reversed)| reversed == filter), "order does not matter");
    seen((stats.structure, stats.layers, stats.stash > 0, stats.seed))
}

fn hash_seeds() -> Vec<Vec<u8>> {
    let list = |count: u32, repeats: u8| {
        let hashes = (0..count).flat_map(|at| (u64::from(at) << 33 | 5).to_be_bytes());
        [56, repeats].into_iter().chain(hashes).collect()
    };
    vec![list(0, 0), list(3, 0), list(40, 20), list(20, 255), list(300, 3)]
}
