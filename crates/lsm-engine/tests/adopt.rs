//! Tables that exist become part of a tree.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{LengthFirst, Reverse, at, contents, flush, sealed, small_tables};
use lsm_block::{FileIdentity, Superblock};
use lsm_engine::{
    Cancel, CompactOptions, IngestOptions, IngestReport, Reader, Tree, TreeOptions, WeakDeletes,
};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_sst::{BuildOptions, FilterBits, FilterOptions, TableBuilder};
use lsm_table::read_table;
use lsm_testkit::{
    operators::Join,
    oracle::History,
    sim::{SimConfig, SimFs, Strategy},
};
use lsm_types::{
    Bytewise, Comparator, Cut, EditIndex, Error, ErrorKind, FileKind, FileUuid, KeyDomains, KeyOrder, Kind,
    RangeTombstone, SeqNo, Slice, TreeId, UnixNanos,
};

/// A table that is written alone, with tiny blocks.
struct Alone {
    order: KeyOrder,
    /// Bytes at which its index is cut into partitions.
    spill: usize,
    /// With filter and bounds of sequence numbers.
    rich: bool,
    global: u64,
    rows: Vec<(String, Kind, String)>,
    ranges: Vec<(String, String)>,
    /// Local number of everything.
    local: u64,
}

impl Alone {
    fn new(order: KeyOrder) -> Self {
        let (rows, ranges) = (Vec::new(), Vec::new());
        Self { order, spill: 4 << 20, rich: false, global: 0, rows, ranges, local: 0 }
    }

    fn row(mut self, key: &str, kind: Kind, value: &str) -> Self {
        self.rows.push((key.to_owned(), kind, value.to_owned()));
        self
    }

    fn puts(keys: &str) -> Self {
        let add = |table: Self, key: char| table.row(&key.to_string(), Kind::Put, "1");
        keys.chars().fold(Self::new(KeyOrder::bytewise()), add)
    }

    fn range(mut self, from: &str, to: &str) -> Self {
        self.ranges.push((from.to_owned(), to.to_owned()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let identity = FileIdentity {
            kind: FileKind::Table,
            file_id: 7,
            uuid: FileUuid::from_bytes([1; 16]),
            database: FileUuid::from_bytes([2; 16]),
            tree: TreeId::new(3),
        };
        let superblock = Superblock::new(identity, UnixNanos::new(9), EditIndex::new(0));
        let mut options = BuildOptions::new(self.order.clone());
        options.data_block_bytes = 200;
        options.index_partition_bytes = 200;
        options.index_spill_bytes = self.spill;
        options.global_seqno = at(self.global);
        options.seqno_bounds = self.rich;
        let filter = FilterOptions { bits: FilterBits::new(10.0).unwrap(), partition_bytes: 256 };
        options.filter = self.rich.then_some(filter);
        let mut builder = TableBuilder::new(superblock, options, Vec::new()).unwrap();
        let local = at(self.local);
        for (key, kind, value) in &self.rows {
            builder.add(key.as_bytes(), local, *kind, value.as_bytes()).unwrap();
        }
        for (from, to) in &self.ranges {
            let cut = |key: &String| Cut::Before(key.as_bytes().into());
            let tombstone = RangeTombstone { start: cut(from), end: cut(to), seqno: local };
            builder.add_range_tombstone(tombstone).unwrap();
        }
        builder.finish().unwrap().1
    }

    fn write(&self, fs: &dyn Fs, name: &str) -> PathBuf {
        write(fs, name, &self.bytes())
    }

    /// What adopting it does to a history.
    fn enter(&self, history: &mut History, seqno: SeqNo) {
        for (key, kind, value) in &self.rows {
            history.write(key.as_bytes(), seqno, *kind, value.as_bytes());
        }
        for (from, to) in &self.ranges {
            let bounds = (Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes()));
            history.delete_range(bounds, seqno, &self.order);
        }
    }
}

fn write(fs: &dyn Fs, name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new("/elsewhere").join(name);
    fs.create_dir_all(Path::new("/elsewhere")).unwrap();
    fs.open(&path, &OpenOptions::REPLACE).unwrap().append(bytes).unwrap();
    path
}

fn read(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, &OpenOptions::READ).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

fn options(fs: &Arc<MemFs>) -> TreeOptions {
    TreeOptions::new("/db").store(|store| store.fs(fs.clone())).tables(small_tables())
}

fn open() -> (Arc<MemFs>, Tree) {
    let fs = Arc::new(MemFs::new());
    let tree = Tree::open(options(&fs)).unwrap();
    (fs, tree)
}

fn tables(fs: &dyn Fs) -> Vec<PathBuf> {
    let folder = Path::new("/db/tables");
    fs.read_dir(folder).unwrap().into_iter().map(|entry| folder.join(entry.name)).collect()
}

/// A source of `count` rows of all kinds, some of them under a deleted range, in key order.
fn mixed(order: &KeyOrder, prefix: &str, count: usize) -> Alone {
    let mut keys: Vec<_> = (0..count).map(|number| format!("{prefix}{number:03}")).collect();
    keys.sort_by(|a, b| order.compare(a.as_bytes(), b.as_bytes()));
    let (from, to) = (keys[count / 4].clone(), keys[count / 2].clone());
    let add = |table: Alone, (number, key): (usize, &String)| match number % 5 {
        1 => table.row(key, Kind::Tombstone, ""),
        2 => table.row(key, Kind::MergeOperand, "operand"),
        3 => table, // what lies below shows through
        _ => table.row(key, Kind::Put, &format!("adopted {key}")),
    };
    keys.iter().enumerate().fold(Alone::new(order.clone()), add).range(&from, &to)
}

/// Adopts two tables over older and newer writes in memory and in tables, and holds every read against the oracle.
fn check_reads(comparator: Arc<dyn Comparator>, spill: usize, rich: bool) {
    let fs = Arc::new(MemFs::new());
    let order = KeyOrder::new(comparator.clone());
    let operator = Arc::new(Join::new(true));
    let options = options(&fs).comparator(comparator).merge_operator(operator.clone());
    let mut tree = Tree::open(options.clone()).unwrap();
    let mut history = History::new().folding(Some(operator));
    for number in 0..60_u64 {
        let (key, seqno) = (format!("k{:03}", number * 2), at(number + 1));
        tree.insert(&key, "older", seqno).unwrap();
        history.put(key.as_bytes(), seqno, b"older");
        if number == 30 {
            flush(&tree);
        }
        let (key, seqno) = (format!("k{:03}", number * 3), at(number + 200));
        tree.insert(&key, "newer", seqno).unwrap();
        history.put(key.as_bytes(), seqno, b"newer");
    }
    let sources = [
        Alone { spill, rich, global: 77, ..mixed(&order, "k", 120) },
        Alone { spill, rich, ..mixed(&order, "m", 40) },
    ];
    let paths: Vec<_> =
        sources.iter().zip(["k", "m"]).map(|(source, name)| source.write(&*fs, name)).collect();
    let seqno = at(100);
    // In the wrong order: adopting sorts them.
    let report = tree.adopt([&paths[1], &paths[0]], IngestOptions::at(seqno).backfill()).unwrap();
    let rows = sources.iter().map(|source| source.rows.len() as u64).sum::<u64>();
    assert_eq!((report.seqno, report.entries), (Some(seqno), rows));
    for source in &sources {
        source.enter(&mut history, seqno);
    }
    let check = |tree: &Tree, bounds: &[u64]| {
        for before in bounds {
            let view = tree.view_at(at(*before)).unwrap();
            assert_eq!(contents(&view).unwrap(), history.all(at(*before), &order), "at {before}");
        }
        let keys: Vec<_> = history.keys().map(<[u8]>::to_vec).collect();
        for key in keys {
            let expected = history.value(&key, SeqNo::LATEST).unwrap();
            assert_eq!(tree.get(&key).unwrap().as_deref(), expected.as_deref());
        }
        let report = tree.verify().unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
    };
    check(&tree, &[1, 50, 100, 101, 150, 230, 400]);
    flush(&tree);
    tree.close().unwrap();
    let tree_again = Tree::open(options).unwrap();
    tree = tree_again;
    check(&tree, &[1, 50, 100, 101, 150, 230, 400]);
    tree.set_gc_watermark(at(300));
    tree.major_compact(&CompactOptions::default()).unwrap();
    check(&tree, &[400]);
    // The sources are as they were, and what is in the tree are other files.
    for (source, path) in sources.iter().zip(&paths) {
        assert_eq!(read(&*fs, path), source.bytes());
    }
}

/// Proves E-124, F-5, F-157.
#[test]
fn adopted_tables_are_read_as_their_history_says() {
    check_reads(Arc::new(Bytewise), 4 << 20, false);
    check_reads(Arc::new(Bytewise), 0, true);
    check_reads(Arc::new(Reverse), 4 << 20, true);
    check_reads(Arc::new(LengthFirst), 0, false);
}

/// Proves E-123, E-124: the copy says that it is a new file of this tree, and its blocks are those of the source.
#[test]
fn a_copy_has_an_identity_of_its_own_and_the_blocks_of_the_source() {
    let (fs, tree) = open();
    let order = KeyOrder::bytewise();
    let source = Alone { spill: 0, rich: true, global: 3, ..mixed(&order, "k", 200) };
    let path = source.write(&*fs, "k");
    let before = read_table(&*fs, &path, std::slice::from_ref(&order), None).unwrap();
    let first: IngestReport = tree.adopt([&path], IngestOptions::at(at(50))).unwrap();
    let second = tree.adopt([&path], IngestOptions::at(at(60))).unwrap();
    let deepest = |report: &IngestReport| report.tables.iter().map(|(level, _)| level.get()).max();
    assert!(deepest(&first) > deepest(&second), "{first:?} {second:?}");
    let found: Vec<_> = tables(&*fs)
        .iter()
        .map(|path| read_table(&*fs, path, std::slice::from_ref(&order), None).unwrap())
        .collect();
    assert_eq!(found.len(), 2);
    assert_ne!(found[0].descriptor.uuid, found[1].descriptor.uuid, "one file twice");
    for (copy, number) in found.iter().zip([50, 60]) {
        let (new, old) = (&copy.descriptor, &before.descriptor);
        assert_ne!(new.uuid, old.uuid);
        assert_ne!(copy.database, before.database);
        assert_ne!(copy.tree, before.tree);
        assert_eq!((new.global_seqno, new.seqnos.min, new.seqnos.max), (at(number), at(number), at(number)));
        assert_eq!((new.counts, new.sizes, new.census), (old.counts, old.sizes, old.census));
        assert_eq!((&new.entries, &new.coverage_end), (&old.entries, &old.coverage_end));
        assert_eq!((new.filter_kind, old.filter_kind), (1, 1));
    }
    assert!(tree.verify().unwrap().is_clean());
    // Without the sources nothing is missing.
    fs.remove_file(&path).unwrap();
    let sum = contents(&tree).unwrap();
    tree.close().unwrap();
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(contents(&tree).unwrap(), sum);
    assert!(tree.verify().unwrap().is_clean());
}

/// Refuses to adopt `path`, with `kind` and a word about why; neither the tree nor its folder changes.
#[track_caller]
fn refused(fs: &MemFs, tree: &Tree, path: &Path, kind: ErrorKind, why: &str) {
    let state = |tree: &Tree| (tables(fs), tree.stats().tables(), contents(tree).unwrap());
    let before = state(tree);
    let error = tree.adopt([path], IngestOptions::at(at(90))).unwrap_err();
    assert_eq!(error.kind(), kind, "{error} ({error:?})");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    assert!(text.contains(why), "{text}");
    assert_eq!(state(tree), before);
}

/// Keys of one letter, a domain for each.
struct FirstByte;

impl KeyDomains for FirstByte {
    fn end_of(&self, key: &[u8]) -> Option<Slice> {
        key.first()?.checked_add(1).map(|next| [next].as_slice().into())
    }
}

/// Proves E-124: what cannot be adopted is refused by name, and nothing is left.
#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let (fs, tree) = open();
    tree.insert("a", "0", at(1)).unwrap();
    flush(&tree);
    let unfit = |table: &Alone, kind, why| refused(&fs, &tree, &table.write(&*fs, "x"), kind, why);

    let other = Alone { order: KeyOrder::new(Arc::new(Reverse)), ..Alone::puts("cba") };
    unfit(&other, ErrorKind::ComparatorMismatch, "ordered by");
    unfit(&Alone { local: 1, ..Alone::puts("bc") }, ErrorKind::Unsupported, "numbers of their own");
    let numbered = Alone { local: 1, ..Alone::new(KeyOrder::bytewise()).range("b", "c") };
    unfit(&numbered, ErrorKind::Unsupported, "numbers of their own");
    let handle = ["\0".repeat(16).as_str(), "\x01", "\0".repeat(11).as_str()].concat();
    let indirect = Alone::puts("b").row("c", Kind::Indirection, &handle);
    unfit(&indirect, ErrorKind::Unsupported, "value logs");
    unfit(&Alone::new(KeyOrder::bytewise()), ErrorKind::Unsupported, "holds nothing");
    refused(&fs, &tree, &write(&*fs, "x", &[7; 3_000]), ErrorKind::NotOurs, "");
    let missing = tree.adopt(["/elsewhere/none"], IngestOptions::at(at(90))).unwrap_err();
    assert!(missing.to_string().contains("/elsewhere/none"), "{missing}");

    let spare =
        TreeOptions::new("/weak").store(|store| store.fs(fs.clone())).key_domains(Arc::new(FirstByte));
    let domains = Tree::open(spare).unwrap();
    let path = Alone::puts("bc").write(&*fs, "x");
    let error = domains.adopt([&path], IngestOptions::at(at(90))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        domains.adopt([Alone::puts("b").write(&*fs, "x")], IngestOptions::at(at(90))).unwrap().entries,
        1
    );

    let strict =
        TreeOptions::new("/strict").store(|store| store.fs(fs.clone())).weak_deletes(WeakDeletes::Strict);
    let strict = Tree::open(strict).unwrap();
    let weak = Alone::puts("b").row("c", Kind::WeakTombstone, "").write(&*fs, "y");
    let error = strict.adopt([&weak], IngestOptions::at(at(90))).unwrap_err();
    assert_eq!((error.kind(), strict.stats().tables()), (ErrorKind::Unsupported, 0));

    // Sealed on one side or the other.
    let options =
        TreeOptions::new("/sealed").store(|store| store.fs(fs.clone()).encryption(sealed::encryption()));
    let hidden = Tree::open(options).unwrap();
    let error = hidden.adopt([&path], IngestOptions::at(at(90))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let mut ingestion = hidden.ingest(IngestOptions::at(at(5))).unwrap();
    ingestion.put("b", "1").unwrap();
    ingestion.finish().unwrap();
    let entry = fs.read_dir(Path::new("/sealed/tables")).unwrap().pop().unwrap();
    refused(&fs, &tree, &Path::new("/sealed/tables").join(entry.name), ErrorKind::Unsupported, "sealed");

    // One key in two tables would have one number twice; and a number may be too low.
    let path = Alone::puts("bd").write(&*fs, "x");
    let other = Alone::puts("ce").write(&*fs, "y");
    let outcome: Result<_, Error> = tree.adopt([&path, &other], IngestOptions::at(at(90)));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::OutOfOrder);
    assert_eq!(
        tree.adopt([&path, &path], IngestOptions::at(at(90))).unwrap_err().kind(),
        ErrorKind::OutOfOrder
    );
    let path = Alone::puts("a").write(&*fs, "x");
    assert_eq!(tree.adopt([&path], IngestOptions::at(at(1))).unwrap_err().kind(), ErrorKind::SeqNoTooLow);
    let cancel = Cancel::new();
    cancel.cancel();
    let options = IngestOptions::at(at(90)).cancel(cancel);
    assert_eq!(tree.adopt([&path], options).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(tree.adopt::<&Path>([], IngestOptions::at(at(90))).unwrap(), IngestReport::default());
    assert_eq!((tables(&*fs).len(), tree.stats().tables()), (1, 1));
}

/// Proves E-124: a damaged table is refused, or the damage was in what is written anew.
#[test]
fn damage_is_never_taken_over() {
    let order = KeyOrder::bytewise();
    let source = Alone { spill: 0, rich: true, ..mixed(&order, "k", 30) };
    let good = source.bytes();
    let mut history = History::new();
    source.enter(&mut history, at(90));
    let expected = history.all(SeqNo::LATEST, &order);
    let (mut fs, mut tree) = open();
    let (mut accepted, mut flipped) = (0, 0);
    // Most of the file is the distance between its two copies of the metadata.
    let gap = good.windows(4_096).position(|bytes| bytes.iter().all(|byte| *byte == 0)).unwrap();
    let spots = (0..gap).step_by(23).chain([gap + 5_000]).chain((gap + (64 << 10)..good.len()).step_by(23));
    for spot in spots.filter(|spot| *spot < good.len()) {
        let mut bytes = good.clone();
        bytes[spot] ^= 0x10;
        flipped += 1;
        let path = write(&*fs, "x", &bytes);
        let outcome = tree.adopt([&path], IngestOptions::at(at(90)));
        if outcome.is_err() {
            assert_eq!((tables(&*fs).len(), tree.stats().tables()), (0, 0), "byte {spot}");
            continue;
        }
        // Nothing but the footer, without which a table is found by another way.
        accepted += 1;
        assert!(spot + 64 >= good.len(), "byte {spot} of {}", good.len());
        assert_eq!(contents(&tree).unwrap(), expected, "byte {spot}");
        assert!(tree.verify().unwrap().is_clean(), "byte {spot}");
        (fs, tree) = open();
    }
    assert!(flipped > 100 && accepted < 4, "{accepted} of {flipped}");
    for len in (0..good.len()).step_by(4_001) {
        let path = write(&*fs, "x", &good[..len]);
        assert!(tree.adopt([&path], IngestOptions::at(at(90))).is_err(), "{len} bytes");
    }
}

/// Proves E-119, E-124: tables and entries come in one order, and one refusal does not end an ingestion.
#[test]
fn tables_and_entries_mix_in_key_order() {
    let (fs, tree) = open();
    tree.insert("f", "0", at(1)).unwrap();
    let path = Alone::puts("ce").range("d", "g").write(&*fs, "x");
    let last = Alone::puts("x").write(&*fs, "y");
    let mut ingestion = tree.ingest(IngestOptions::at(at(5))).unwrap();
    let refused = |outcome: Result<(), Error>| assert_eq!(outcome.unwrap_err().kind(), ErrorKind::OutOfOrder);
    ingestion.remove_range("a".."b").unwrap();
    ingestion.put("a", "2").unwrap();
    ingestion.adopt_table(&path).unwrap();
    refused(ingestion.adopt_table(&path));
    refused(ingestion.put("f", "2"));
    refused(ingestion.remove_range("f".."k"));
    ingestion.put("g", "2").unwrap();
    ingestion.remove_range("h".."y").unwrap();
    refused(ingestion.adopt_table(&last));
    assert!(ingestion.adopt_table("/elsewhere/none").is_err());
    ingestion.put("z", "2").unwrap();
    let report = ingestion.finish().unwrap();
    assert_eq!(report.entries, 5);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let shown: Vec<_> =
        contents(&tree).unwrap().into_iter().map(|(key, value)| text(key) + "=" + &text(value)).collect();
    assert_eq!(shown, ["a=2", "c=1", "e=1", "g=2", "z=2"]);
    assert!(tree.verify().unwrap().is_clean());
}

/// Proves E-124, E-127: of an adoption that a power cut ends all is there or nothing, and no file is left.
#[test]
fn a_power_cut_leaves_all_of_an_adoption_or_nothing() {
    let fs = SimFs::new(SimConfig::default());
    let options = |fs: &SimFs| {
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables())
    };
    let order = KeyOrder::bytewise();
    let sources = [mixed(&order, "k", 40), mixed(&order, "m", 40)];
    let paths = [sources[0].write(&fs, "k"), sources[1].write(&fs, "m")];
    let tree = Tree::open(options(&fs)).unwrap();
    let mut history = History::new();
    tree.insert("k001", "older", at(1)).unwrap();
    history.put(b"k001", at(1), b"older");
    flush(&tree);
    let flushed = fs.len();
    let before = history.all(SeqNo::LATEST, &order);
    tree.adopt(&paths, IngestOptions::at(at(5))).unwrap();
    let adopted = fs.len();
    for source in &sources {
        source.enter(&mut history, at(5));
    }
    let after = history.all(SeqNo::LATEST, &order);
    assert_ne!(before, after);
    drop(tree);
    let (mut images, mut with) = (0, 0);
    for (id, image) in fs.sweep(&Strategy::GATE) {
        if id.point < flushed {
            continue;
        }
        images += 1;
        let tree = Tree::open(options(&image)).unwrap();
        let found = contents(&tree).unwrap();
        with += u32::from(found == after);
        assert!(found == after || (found == before && id.point < adopted), "image {id}");
        let report = tree.verify().unwrap();
        assert!(report.is_clean(), "image {id}: {:?}", report.findings);
        assert_eq!(tables(&image).len(), tree.stats().tables(), "image {id}");
    }
    assert!(images > 50 && with > 0 && with < images, "{with} of {images}");
}
