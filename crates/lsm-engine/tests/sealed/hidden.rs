//! Nothing that was written stands in any file.

use std::{collections::HashSet, path::Path, sync::Arc};

use lsm_engine::{CheckpointOptions, CompactOptions, Encryption, Reader, Tree, VlogPolicy};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::operators::Join;
use lsm_types::{Comparator, DelimitedPrefix};

use crate::{
    ROOT,
    common::{Reverse, at, contents, flush, sealed::encryption},
    files, options, options_at,
};

/// Text that people wrote.
const TEXT: &str = include_str!("../../../../docs/architecture.md");
/// Bytes that may not stand anywhere.
const WINDOW: usize = 16;

/// Everything given to a tree, as it was given.
#[derive(Default)]
struct Canaries(Vec<Vec<u8>>);

impl Canaries {
    fn note(&mut self, text: impl Into<Vec<u8>>) -> Vec<u8> {
        let text = text.into();
        self.0.push(text.clone());
        text
    }

    /// Every run of so many bytes of them.
    fn windows(&self) -> HashSet<&[u8]> {
        let telling = |window: &&[u8]| window.iter().collect::<HashSet<_>>().len() > 3;
        self.0.iter().flat_map(|text| text.windows(WINDOW)).filter(telling).collect()
    }
}

/// All but the shortest values lie in value logs.
fn values_apart() -> VlogPolicy {
    VlogPolicy { thresholds: vec![24], ..VlogPolicy::default() }
}

/// A life with puts, deletes of ranges, merges, prefixes, flushes, compactions, a checkpoint and a second life;
/// keys in another order come with values apart from them.
fn live(fs: &Arc<dyn Fs>, encryption: Option<&Encryption>, order: Option<&Arc<dyn Comparator>>) -> Canaries {
    let mut canaries = Canaries::default();
    let with = || {
        let options = options(fs, encryption)
            .merge_operator(Arc::new(Join::new(true)))
            .prefix_extractor(Arc::new(DelimitedPrefix::new(b'/', 1)));
        match order {
            Some(order) => options.comparator(order.clone()).separation(values_apart()),
            None => options,
        }
    };
    let tree = Tree::open(with()).unwrap();
    let mut seqno = 0;
    let mut next = || {
        seqno += 1;
        at(seqno)
    };
    for round in 0..2 {
        for (number, line) in TEXT.lines().enumerate().filter(|(_, line)| line.len() >= WINDOW) {
            let folder = line.split(' ').next().unwrap_or_default();
            let key = canaries.note(format!("canary prefix {folder}/{number:04} {line}"));
            let value = canaries.note(format!("{line} {}", "and what stands behind it".repeat(round * 2)));
            match number % 5 {
                0 => tree.merge(key, value, next()).unwrap(),
                _ => tree.insert(key, value, next()).unwrap(),
            };
        }
        let (from, to) = (
            canaries.note("a canary, the lower bound of a delete"),
            canaries.note("a canary, the upper bound of a delete"),
        );
        let reversed = order.is_some();
        let (from, to) = if reversed { (to, from) } else { (from, to) };
        tree.remove_range(from..to, next()).unwrap();
        flush(&tree);
        if round == 0 {
            tree.major_compact(&CompactOptions::default()).unwrap();
        }
    }
    let token = canaries.note("canary token of the log's place");
    tree.insert("short", "short", next()).unwrap();
    tree.seal(Some(lsm_engine::Token::new(token).unwrap()));
    tree.flush(&lsm_engine::FlushOptions::default()).unwrap();
    tree.checkpoint(Path::new("/copy"), &CheckpointOptions::default()).unwrap();
    let held = contents(&tree).unwrap();
    assert!(held.len() > 50);
    tree.close().unwrap();
    let tree = Tree::open(with()).unwrap();
    assert_eq!(contents(&tree).unwrap(), held);
    tree.close().unwrap();
    let copy = options_at(fs, encryption, "/copy").merge_operator(Arc::new(Join::new(true)));
    let copy = match order {
        Some(order) => copy.comparator(order.clone()).separation(values_apart()),
        None => copy,
    };
    let copy = Tree::open(copy).unwrap();
    assert_eq!(contents(&copy).unwrap(), held);
    copy.close().unwrap();
    canaries
}

/// Files, and windows of canaries found in them.
fn found(fs: &dyn Fs, canaries: &Canaries) -> (usize, usize) {
    let windows = canaries.windows();
    assert!(windows.len() > 2_000, "{}", windows.len());
    let mut all = files(fs, Path::new(ROOT));
    all.extend(files(fs, Path::new("/copy")));
    let hits = all.values().flat_map(|bytes| bytes.windows(WINDOW)).filter(|it| windows.contains(it)).count();
    (all.len(), hits)
}

/// No 16 bytes of any key, value, bound of a range, prefix or token stand in any file. They do where nothing is sealed.
///
/// Proves F-54. Fault: formats W-19. Fault: durability W-19.
#[test]
fn no_sixteen_bytes_of_what_was_written_stand_in_any_file() {
    let orders: [Option<Arc<dyn Comparator>>; 2] = [None, Some(Arc::new(Reverse))];
    for order in orders {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let canaries = live(&fs, Some(&encryption()), order.as_ref());
        let (count, hits) = found(fs.as_ref(), &canaries);
        assert!(count > 10, "{count}");
        assert_eq!(hits, 0);
        let is_apart =
            fs.read_dir(Path::new(ROOT).join("blobs").as_path()).is_ok_and(|logs| !logs.is_empty());
        assert_eq!(is_apart, order.is_some());
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let canaries = live(&fs, None, order.as_ref());
        assert!(found(fs.as_ref(), &canaries).1 > 1_000);
    }
}

/// Sealed or not, tables and reads are the same.
#[test]
fn a_sealed_tree_reads_like_a_plain_one() {
    let held = [None, Some(encryption())].map(|encryption| {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let tree = Tree::open(options(&fs, encryption.as_ref())).unwrap();
        crate::fill(&tree, 0);
        flush(&tree);
        let early = tree.view();
        crate::fill(&tree, 100);
        tree.remove_range("key-010".."key-020", at(200)).unwrap();
        flush(&tree);
        tree.major_compact(&CompactOptions::default()).unwrap();
        crate::fill(&tree, 300);
        flush(&tree);
        let verified = tree.verify().unwrap();
        assert!(verified.is_clean(), "{:?}", verified.findings);
        let keys: Vec<_> = tree
            .range("key-005".."key-030")
            .rev()
            .map(|entry| entry.unwrap().into_pair().unwrap().0)
            .collect();
        (contents(&early).unwrap(), contents(&tree).unwrap(), keys, tree.get("key-011").unwrap())
    });
    assert_eq!(held[0], held[1]);
}
