//! Value logs on a file system: written in files of a bounded length, read through the cache, alone and in batches.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lsm_codec::Compression;
use lsm_fs::{Fs, MemFs, OpenOptions, SyncLevel};
use lsm_table::{
    BlockCache, CacheUse, ConsumedPrefix, DecoderPool, DescriptorCache, FileIds, FilterDesk, LineageDesk,
    ObsoleteFile, Reclaim, TableEnv, TablePolicy, Throttle, ValueLog, VlogEnv, VlogPolicy, VlogWriter,
};
use lsm_testkit::ports::{SeededRandom, TestClock};
use lsm_types::{
    EditIndex, ErrorKind, FileUuid, KeyOrder, Result, SeqNo, Slice, TableId, TreeId, ValueHandle,
};

#[derive(Default)]
struct Desk {
    next: AtomicU64,
    released: AtomicU64,
    prefixes: Mutex<Vec<ConsumedPrefix>>,
}

impl FileIds for Desk {
    fn next(&self) -> Result<TableId> {
        Ok(TableId::new(self.next.fetch_add(1, Relaxed)))
    }

    fn last_edit(&self) -> EditIndex {
        EditIndex::new(5)
    }
}

impl Reclaim for Desk {
    fn note_obsolete(&self, _: TableId, _: u64) {}

    fn obsolete(&self) -> Vec<TableId> {
        Vec::new()
    }

    fn release(&self, _file: ObsoleteFile) {
        self.released.fetch_add(1, Relaxed);
    }

    fn release_prefix(&self, prefix: ConsumedPrefix) {
        self.prefixes.lock().unwrap().push(prefix);
    }

    fn retry(&self, file: ObsoleteFile) {
        panic!("{file:?}");
    }
}

struct Place {
    fs: MemFs,
    desk: Arc<Desk>,
    env: Arc<VlogEnv>,
}

fn place(target_bytes: u64, cache_bytes: u64) -> Place {
    let (fs, desk) = (MemFs::new(), Arc::new(Desk::default()));
    fs.create_dir_all(Path::new("blobs")).unwrap();
    let tables = TableEnv {
        fs: Arc::new(fs.clone()),
        folder: PathBuf::from("tables"),
        routes: lsm_table::TableRoutes::default(),
        cache: BlockCache::new(cache_bytes),
        descriptors: DescriptorCache::new(8),
        decoders: DecoderPool::new(),
        order: KeyOrder::bytewise(),
        database: FileUuid::from_bytes([3; 16]),
        tree: TreeId::new(0),
        ids: desk.clone(),
        reclaim: desk.clone(),
        clock: Arc::new(TestClock::new()),
        random: Arc::new(SeededRandom::new(7)),
        encryption: None,
        policy: TablePolicy::default(),
        prefix_extractor: None,
        domains: None,
        columns: lsm_table::ColumnDesk::default(),
        filters: FilterDesk::default(),
        lineage: LineageDesk::default(),
        sync_file: SyncLevel::None,
        sync_folder: SyncLevel::None,
        file_name: |table| format!("{table}.sst"),
    };
    let env = VlogEnv {
        tables: Arc::new(tables),
        folder: PathBuf::from("blobs"),
        file_name: |log| format!("{log}.blob"),
        policy: VlogPolicy { compression: Compression::None, target_bytes, ..VlogPolicy::default() },
    };
    Place { fs, desk, env: Arc::new(env) }
}

fn key(at: u64) -> Vec<u8> {
    format!("key-{at:04}").into_bytes()
}

fn value(at: u64) -> Vec<u8> {
    vec![at.to_le_bytes()[0]; 100 + usize::try_from(at).unwrap() % 50]
}

/// Writes `count` values; the logs, and each value's place among them.
fn write(place: &Place, count: u64) -> (Vec<ValueLog>, Vec<(usize, ValueHandle)>) {
    let mut writer = VlogWriter::new(&place.env);
    let handles: Vec<_> =
        (0..count).map(|at| writer.add(&key(at), SeqNo::ZERO, &value(at)).unwrap()).collect();
    let staged = writer.finish().unwrap();
    let logs: Vec<_> = staged.iter().map(|log| log.open(&place.env)).collect();
    staged.into_iter().for_each(lsm_table::StagedVlog::keep);
    let of = |handle: &ValueHandle| logs.iter().position(|log| log.id() == handle.file).unwrap();
    let handles = handles.iter().map(|handle| (of(handle), *handle)).collect();
    (logs, handles)
}

fn files(place: &Place) -> usize {
    place.fs.read_dir(Path::new("blobs")).unwrap().len()
}

/// Proves C-126, C-128: what lies in front of the frontiers of all handles is released, whichever goes last, and never once the
/// file is to go as a whole. A handle that passes keeps the file and none of it. Fault: compaction W-4.
#[test]
fn the_least_frontier_of_all_handles_decides() {
    let place = place(1 << 20, 0);
    let (mut logs, handles) = write(&place, 300);
    let whole = logs.remove(0);
    let at = |nth: usize| handles[nth].1.offset;
    let [one, two, three] = [100, 200, 250].map(|nth| (at(nth), whole.advanced(at(nth))));
    let released =
        || -> Vec<_> { place.desk.prefixes.lock().unwrap().iter().map(|one| (one.from, one.to)).collect() };
    let to = |offset: u64| offset / 4_096 * 4_096;
    assert!(whole.descriptor().is_ordered && to(one.0) > 8_192);
    let again = whole.clone();
    drop((whole, two));
    assert_eq!(released(), [], "a handle keeps the whole");
    let consumed = three.0 - 512;
    assert_eq!(three.1.release_stats().pinned_bytes, consumed);
    let passing = again.passing();
    drop(again);
    assert_eq!(released(), [(4_096, to(one.0))]);
    place.desk.prefixes.lock().unwrap()[0].note_released();
    let stats = three.1.release_stats();
    assert_eq!((stats.pinned_bytes, stats.released_bytes), (three.0 - one.0, to(one.0) - 4_096));
    drop(one);
    assert_eq!(released()[1..], [(4_096, to(three.0))]);
    three.1.release_consumed();
    assert_eq!(released()[2..], [(4_096, to(three.0))], "as it is done when a store is opened");
    // Handles of the same file read the same.
    let (_, last) = handles[299];
    assert_eq!(three.1.get(&last, &key(299), CacheUse::Look).unwrap(), value(299)[..]);
    let four = three.1.advanced(at(290));
    four.mark_obsolete();
    drop(three);
    assert_eq!((released().len(), place.desk.released.load(Relaxed)), (3, 0));
    drop(four);
    assert_eq!(place.desk.released.load(Relaxed), 0, "a job that passes keeps the file");
    drop(passing);
    assert_eq!((released().len(), place.desk.released.load(Relaxed)), (3, 1));
}

/// Proves C-126: whoever writes a value log sees whether its values lie in the order of keys.
#[test]
fn an_order_is_noted_where_there_is_one() {
    for (keys, expected) in
        [(&[1, 2, 3][..], true), (&[1, 2, 2, 3], true), (&[2, 1], false), (&[1, 3, 2], false)]
    {
        let place = place(1 << 20, 0);
        let mut writer = VlogWriter::new(&place.env);
        for at in keys {
            writer.add(&key(*at), SeqNo::ZERO, &value(*at)).unwrap();
        }
        let staged = writer.finish().unwrap();
        assert_eq!(staged[0].descriptor().is_ordered, expected, "{keys:?}");
    }
}

/// Proves D-71.
#[test]
fn a_file_that_has_its_length_takes_no_further_value() {
    let place = place(1000, 1 << 20);
    let (logs, handles) = write(&place, 40);
    assert!(logs.len() > 3);
    for log in &logs {
        let properties = log.layout().unwrap().properties();
        assert!(properties.values > 0, "no file is empty");
        let values_end = 512 + properties.stored_bytes;
        let last = handles.iter().filter(|(_, handle)| handle.file == log.id()).map(|(_, handle)| *handle);
        let last = last.max_by_key(|handle| handle.offset).unwrap();
        assert_eq!(last.end(), Some(values_end));
        // It was below its length before its last value.
        assert!(last.offset < 1000);
    }
    let before_last = &logs[..logs.len() - 1];
    assert!(before_last.iter().all(|log| 512 + log.descriptor().total.stored_bytes >= 1000));
    for (at, (log, handle)) in (0..).zip(&handles) {
        assert_eq!(logs[*log].get(handle, &key(at), CacheUse::Fill).unwrap(), value(at)[..]);
    }
    assert_eq!(files(&place), logs.len());
}

#[test]
fn what_is_not_kept_is_removed() {
    let place = place(1000, 1 << 20);
    let mut writer = VlogWriter::new(&place.env);
    for at in 0..20 {
        writer.add(&key(at), SeqNo::ZERO, &value(at)).unwrap();
    }
    assert!(files(&place) > 1);
    drop(writer);
    assert_eq!(files(&place), 0);
    let mut writer = VlogWriter::new(&place.env);
    assert_eq!(writer.add(b"", SeqNo::ZERO, b"x").unwrap_err().kind(), ErrorKind::InvalidKey);
    assert!(writer.finish().unwrap().is_empty());
    assert_eq!(files(&place), 0);
    let (logs, _) = write(&place, 3);
    logs[0].mark_obsolete();
    logs[0].mark_obsolete();
    assert_eq!(place.desk.released.load(Relaxed), 0);
    drop(logs);
    assert_eq!(place.desk.released.load(Relaxed), 1);
}

/// Overwrites all values of a log, so that only the cache still has them.
fn wreck(place: &Place, log: &ValueLog) {
    let path = place.env.path(log.id());
    let file = place.fs.open(&path, &OpenOptions::WRITE).unwrap();
    let len = usize::try_from(log.descriptor().total.stored_bytes).unwrap();
    file.write_at(512, &vec![0xA5; len]).unwrap();
}

/// Proves D-78.
#[test]
fn values_come_from_the_cache_for_their_own_handle_and_key_alone() {
    let place = place(1 << 20, 1 << 20);
    let (logs, handles) = write(&place, 4);
    let log = &logs[0];
    let get = |at: u64, key: &[u8], cache| log.get(&handles[usize::try_from(at).unwrap()].1, key, cache);
    get(0, &key(0), CacheUse::Fill).unwrap();
    get(1, &key(1), CacheUse::Look).unwrap();
    assert_eq!(place.env.tables.cache.len(), 1);
    wreck(&place, log);
    assert_eq!(get(0, &key(0), CacheUse::Look).unwrap(), value(0)[..]);
    assert_eq!(log.get_range(&handles[0].1, &key(0), 3..7).unwrap(), value(0)[3..7]);
    assert!(get(0, &key(1), CacheUse::Fill).unwrap_err().is_corruption());
    assert!(get(1, &key(1), CacheUse::Fill).unwrap_err().is_corruption());
    let shorter = ValueHandle { value_len: 3, ..handles[0].1 };
    assert!(log.get(&shorter, &key(0), CacheUse::Fill).is_err());
}

/// Proves D-78.
#[test]
fn a_value_that_would_fill_the_cache_is_not_put_there() {
    let place = place(1 << 20, 6400);
    let (logs, handles) = write(&place, 4);
    // A value of 100 bytes is a share of 1/64 of the cache, the others have more.
    for (at, (log, handle)) in (0..).zip(&handles) {
        logs[*log].get(handle, &key(at), CacheUse::Fill).unwrap();
    }
    assert_eq!(place.env.tables.cache.len(), 1);
}

/// Batches in any order, with some values cached, some asked twice, some behind handles that lead nowhere.
#[test]
fn a_batch_answers_like_single_reads() {
    for target in [1 << 10, 1 << 20] {
        let place = place(target, 1 << 20);
        let (logs, handles) = write(&place, 60);
        for (nth, log) in logs.iter().enumerate() {
            let mut wants: Vec<(ValueHandle, Vec<u8>)> = (0..)
                .zip(&handles)
                .filter(|(_, (of, _))| *of == nth)
                .map(|(at, (_, handle))| (*handle, key(at)))
                .collect();
            wants.reverse();
            wants.push(wants[0].clone());
            wants.push((wants[0].0, b"another".to_vec()));
            wants.push((ValueHandle { offset: u64::MAX / 2, ..wants[0].0 }, b"nowhere".to_vec()));
            log.get(&wants[1].0, &wants[1].1, CacheUse::Fill).unwrap();
            let borrowed: Vec<_> = wants.iter().map(|(handle, key)| (*handle, &key[..])).collect();
            for cache in [CacheUse::Look, CacheUse::Fill, CacheUse::Fill] {
                let found = log.get_batch(&borrowed, cache);
                let expected = wants.iter().map(|(handle, key)| log.get(handle, key, CacheUse::Look));
                let plain = |result: Result<Slice>| result.map_err(|error| error.kind());
                let found: Vec<_> = found.into_iter().map(plain).collect();
                assert_eq!(found, expected.map(plain).collect::<Vec<_>>());
                assert_eq!(found.iter().filter(|found| found.is_err()).count(), 2);
            }
        }
    }
}

/// Proves D-74: damage fails the value that has it, and no other of its batch.
#[test]
fn a_damaged_value_fails_alone_in_a_batch() {
    let place = place(1 << 20, 0);
    let (logs, handles) = write(&place, 9);
    let file = place.fs.open(&place.env.path(logs[0].id()), &OpenOptions::WRITE).unwrap();
    file.write_at(handles[4].1.offset + 60, &[0xEE]).unwrap();
    let keys: Vec<_> = (0..9).map(key).collect();
    let wants: Vec<_> = handles.iter().zip(&keys).map(|((_, handle), key)| (*handle, &key[..])).collect();
    let found = logs[0].get_batch(&wants, CacheUse::Fill);
    for (at, found) in found.into_iter().enumerate() {
        match found {
            Ok(found) => assert_eq!(found, value(at as u64)[..]),
            Err(error) => assert!(at == 4 && error.is_corruption(), "{at}: {error:?}"),
        }
    }
}

/// Lets so many bytes pass.
struct Quota(AtomicU64);

impl Throttle for Quota {
    fn pass(&self, bytes: u64) -> Result<()> {
        let taken = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken
            .map(drop)
            .map_err(|_| lsm_types::IoError::new(lsm_types::IoOp::Write, lsm_types::IoKind::NoSpace).into())
    }
}

#[test]
fn every_byte_written_is_asked_for() {
    let place = place(1000, 0);
    let write = |quota: &Arc<Quota>| {
        let mut writer = VlogWriter::new(&place.env).throttled(quota.clone());
        (0..40).try_for_each(|at| writer.add(&key(at), SeqNo::ZERO, &value(at)).map(drop))?;
        writer.finish()
    };
    let plenty = Arc::new(Quota(AtomicU64::new(1 << 30)));
    let staged = write(&plenty).unwrap();
    let lens: u64 = staged.iter().map(|log| log.descriptor().file_len - (64 << 10)).sum();
    assert_eq!((1 << 30) - plenty.0.load(Relaxed), lens, "all but the holes");
    drop(staged);
    let error = write(&Arc::new(Quota(AtomicU64::new(lens / 2)))).unwrap_err();
    assert_eq!((error.kind(), files(&place)), (ErrorKind::NoSpace, 0));
}

#[test]
fn values_are_copied_from_log_to_log() {
    let place = place(4000, 1 << 20);
    let (logs, handles) = write(&place, 60);
    let mut writer = VlogWriter::new(&place.env);
    let odd: Vec<_> = (0..60).filter(|at| at % 2 == 1).collect();
    let copied: Vec<_> = odd
        .iter()
        .map(|&at| {
            let (log, handle) = &handles[usize::try_from(at).unwrap()];
            writer.copy(&logs[*log], handle, &key(at)).unwrap()
        })
        .collect();
    assert!(writer.written_len() > 30 * 100);
    let staged = writer.finish().unwrap();
    for (at, handle) in odd.into_iter().zip(copied) {
        let log = staged.iter().find(|log| log.descriptor().id == handle.file).unwrap().open(&place.env);
        assert_eq!(log.get(&handle, &key(at), CacheUse::Look).unwrap(), value(at)[..]);
    }
}
