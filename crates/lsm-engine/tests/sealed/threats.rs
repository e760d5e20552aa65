//! The rows of the table of threats in `docs/format/crypto.md`, one test each.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_block::{BlockKind, FrameHeader, SectionFlags};
use lsm_engine::{CompactOptions, Reader, Store, StoreOptions, Tree, TreeOptions};
use lsm_fs::{Fs, MemFs};
use lsm_journal::Pointer;
use lsm_types::{CorruptionKind, EditIndex, ErrorKind, TreeId};

use crate::{
    Files, ROOT,
    common::{at, contents, flush, sealed::encryption},
    files, fill, forger, mount, options,
};

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A closed store of two trees, and what it was before its last changes.
struct Victim {
    files: Files,
    /// The directory at an earlier moment.
    past: Files,
    /// What each tree holds, and what it held then.
    contents: [Contents; 2],
    past_contents: [Contents; 2],
}

const TREES: [u32; 2] = [0, 1];

fn open(fs: &Arc<dyn Fs>) -> Result<Store, lsm_types::Error> {
    Store::open(StoreOptions::new(ROOT).fs(fs.clone()).encryption(encryption()))
}

fn tree_options(fs: &Arc<dyn Fs>) -> TreeOptions {
    let mut options = options(fs, Some(&encryption()));
    options = options.table_target_bytes(1 << 20);
    options
}

fn tree(store: &Store, fs: &Arc<dyn Fs>, id: u32) -> Result<Tree, lsm_types::Error> {
    store.tree(TreeId::new(id), &tree_options(fs))
}

fn held(tree: &Tree) -> Contents {
    contents(tree).unwrap().into_iter().collect()
}

fn build() -> Victim {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let store = open(&fs).unwrap();
    let trees = TREES.map(|id| tree(&store, &fs, id).unwrap());
    for tree in &trees {
        fill(tree, 100);
        tree.remove_range("key-030".."key-035", at(150)).unwrap();
        flush(tree);
    }
    let past = files(fs.as_ref(), Path::new(ROOT));
    let past_contents = [0, 1].map(|idx: usize| held(&trees[idx]));
    for tree in &trees {
        fill(tree, 200);
        tree.remove_range("key-030".."key-035", at(250)).unwrap();
        flush(tree);
    }
    let contents = [0, 1].map(|idx: usize| held(&trees[idx]));
    drop(trees);
    store.close().unwrap();
    drop(store);
    let files = files(fs.as_ref(), Path::new(ROOT));
    Victim { files, past, contents, past_contents }
}

/// Tables of a tree, oldest first.
fn tables(files: &Files, tree: u32) -> Vec<PathBuf> {
    let is_of = |path: &&PathBuf| {
        path.parent().unwrap().ends_with("tables")
            && forger::head(&files[*path]).identity.tree == TreeId::new(tree)
    };
    files.keys().filter(is_of).cloned().collect()
}

/// Copies of the newest generation of the manifest.
fn manifest(files: &Files) -> Vec<PathBuf> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().trim_end_matches(".m").to_owned();
    let all: Vec<_> = files.keys().filter(|path| name(path).starts_with("MANIFEST")).collect();
    let newest = all.iter().map(|path| name(path)).max().unwrap();
    all.into_iter().filter(|path| name(path) == newest).cloned().collect()
}

/// What became of a database: every read is right, or an error of one of these kinds.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Full,
    Older,
    Refused(ErrorKind),
    ReadFails(ErrorKind),
}

impl Victim {
    /// Opens the forged directory and reads everything in every way.
    fn judge(&self, forged: &Files) -> Outcome {
        let fs = mount(forged);
        let store = match open(&fs) {
            Ok(store) => store,
            Err(error) => {
                let after = files(fs.as_ref(), Path::new(ROOT));
                assert!(after == *forged, "a refused open changed the directory");
                return Outcome::Refused(error.kind());
            }
        };
        let mut failed = None;
        let mut is_older = false;
        for (idx, id) in TREES.into_iter().enumerate() {
            let tree = match tree(&store, &fs, id) {
                Ok(tree) => tree,
                Err(error) => return Outcome::Refused(error.kind()),
            };
            let mut gets = Contents::new();
            for number in 0..40 {
                let key = format!("key-{number:03}");
                match tree.get(&key) {
                    Ok(Some(value)) => drop(gets.insert(key.into_bytes(), value.to_vec())),
                    Ok(None) => {}
                    Err(error) => failed = Some(error.kind()),
                }
            }
            let scanned = contents(&tree).map(|pairs| pairs.into_iter().collect::<Contents>());
            let scanned = scanned.unwrap_or_else(|error| {
                failed = Some(error.kind());
                Contents::new()
            });
            let right = &self.contents[idx];
            is_older |= failed.is_none() && scanned != *right && scanned == self.past_contents[idx];
            let known = if is_older { &self.past_contents[idx] } else { right };
            for (key, value) in gets.iter().chain(&scanned) {
                assert_eq!(known.get(key), Some(value), "a read returns what is not so");
            }
            if failed.is_none() {
                assert_eq!((&gets, &scanned), (known, known));
            }
            let verified = tree.verify().unwrap();
            assert!(verified.is_clean() || failed.is_some(), "{:?}", verified.findings);
        }
        match failed {
            Some(kind) => Outcome::ReadFails(kind),
            None if is_older => Outcome::Older,
            None => Outcome::Full,
        }
    }

    #[track_caller]
    fn check(&self, forge: impl FnOnce(&mut Files), outcome: &Outcome) {
        let mut forged = self.files.clone();
        forge(&mut forged);
        assert!(forged != self.files, "nothing was forged");
        assert_eq!(self.judge(&forged), *outcome);
    }
}

const TAMPERED: Outcome = Outcome::ReadFails(ErrorKind::Tampered);

/// Two data blocks of equal shape, of one file or of two.
fn pair(one: &[u8], other: &[u8]) -> [(FrameHeader, lsm_block::Handle); 2] {
    let (ours, theirs) = (forger::of_kind(one, BlockKind::DATA), forger::of_kind(other, BlockKind::DATA));
    let pairs = ours.iter().flat_map(|a| theirs.iter().map(move |b| [*a, *b]));
    let mut fitting = pairs.filter(|[(a, at), (b, there)]| {
        let is_another = one != other || at.offset != there.offset;
        is_another && (a.stored_len, a.logical_len, a.codec) == (b.stored_len, b.logical_len, b.codec)
    });
    fitting.next().unwrap() // two blocks are of equal shape
}

#[test]
fn nothing_is_wrong_before_anything_is_forged() {
    let victim = build();
    assert_eq!(victim.judge(&victim.files), Outcome::Full);
}

/// T1.
#[test]
fn blocks_swapped_inside_a_file_are_tampered() {
    let victim = build();
    let path = tables(&victim.files, 0).pop().unwrap();
    let [(first, first_at), (second, second_at)] = pair(&victim.files[&path], &victim.files[&path]);
    victim.check(
        |files| {
            let file = files.get_mut(&path).unwrap();
            let (one, other) = (forger::stored(file, first_at), forger::stored(file, second_at));
            forger::put(file, first_at, first, &other);
            forger::put(file, second_at, second, &one);
        },
        &TAMPERED,
    );
}

/// T2, T3: of another file of the tree, of another tree under the same key, of an older file.
#[test]
fn blocks_of_other_files_and_trees_and_older_ones_are_tampered() {
    let victim = build();
    let newest = tables(&victim.files, 0).pop().unwrap();
    let others = [
        tables(&victim.files, 0)[0].clone(),
        tables(&victim.files, 1)[0].clone(),
        tables(&victim.files, 1)[1].clone(),
    ];
    for other in others {
        let [(ours, at), (_, there)] = pair(&victim.files[&newest], &victim.files[&other]);
        let block = forger::stored(&victim.files[&other], there);
        victim.check(|files| forger::put(files.get_mut(&newest).unwrap(), at, ours, &block), &TAMPERED);
    }
}

/// T4: another file under its name as it is, and one that says it was the one expected.
#[test]
fn files_swapped_between_names_and_trees_are_refused() {
    let victim = build();
    let (ours, theirs) = (tables(&victim.files, 0), tables(&victim.files, 1));
    for other in [&ours[0], &theirs[0], &theirs[1]] {
        let (mut other, expected) = (victim.files[other].clone(), victim.files[&ours[1]].clone());
        let identity = forger::head(&expected).identity;
        if other.len() == expected.len() {
            let swapped = other.clone();
            victim.check(
                |files| drop(files.insert(ours[1].clone(), swapped)),
                &Outcome::ReadFails(ErrorKind::FileIdentityMismatch),
            );
        }
        forger::rewrite_head(&mut other, |head| head.identity = identity);
        other.resize(expected.len(), 0);
        let mut forged = victim.files.clone();
        forged.insert(ours[1].clone(), other);
        let outcome = victim.judge(&forged);
        let is_refused = matches!(outcome, Outcome::Refused(_) | Outcome::ReadFails(_));
        assert!(is_refused, "{outcome:?}");
    }
    // The head of the file expected, kept with its key, before the blocks of another.
    let expected = victim.files[&ours[1]].clone();
    let (head, mut other) = (forger::head(&expected), victim.files[&theirs[1]].clone());
    if other.len() == expected.len() {
        forger::rewrite_head(&mut other, |own| own.clone_from(&head));
        victim.check(|files| drop(files.insert(ours[1].clone(), other)), &TAMPERED);
    }
}

/// T5: the older file of a table that was rewritten, saying that it is the new one.
#[test]
fn an_older_file_under_a_newer_name_is_refused() {
    let victim = build();
    let (old, new) = (tables(&victim.past, 0)[0].clone(), tables(&victim.files, 0)[1].clone());
    let (mut older, expected) = (victim.past[&old].clone(), &victim.files[&new]);
    let head = forger::head(expected);
    forger::rewrite_head(&mut older, |own| own.clone_from(&head));
    older.resize(expected.len(), 0);
    let mut forged = victim.files.clone();
    forged.insert(new, older);
    let outcome = victim.judge(&forged);
    assert!(matches!(outcome, Outcome::Refused(_) | Outcome::ReadFails(_)), "{outcome:?}");
}

/// T6: cut short; cut short and filled up; a record of the manifest cut out.
#[test]
fn truncated_and_spliced_files_are_refused() {
    let victim = build();
    let path = tables(&victim.files, 0).pop().unwrap();
    victim.check(
        |files| {
            let file = files.get_mut(&path).unwrap();
            file.truncate(file.len() / 2);
        },
        &Outcome::Refused(ErrorKind::FileLengthMismatch),
    );
    victim.check(
        |files| {
            let file = files.get_mut(&path).unwrap();
            let len = file.len();
            let keep = forger::of_kind(file, BlockKind::DATA)[3].1.offset as usize;
            file.truncate(keep);
            file.resize(len, 0);
        },
        &Outcome::ReadFails(ErrorKind::Corruption(CorruptionKind::HeaderCrc)),
    );
}

/// T6 for logs: frames left out, doubled or put in another order behind good checks are no history.
#[test]
fn a_spliced_manifest_is_refused() {
    let victim = build();
    let copies = manifest(&victim.files);
    assert_eq!(copies.len(), 2);
    let frames = forger::frames(&victim.files[&copies[0]]);
    for gone in 0..frames.len() - 1 {
        let mut forged = victim.files.clone();
        for path in &copies {
            let file = forged.get_mut(path).unwrap();
            // The next frame of the same length takes the place, if there is one; otherwise zeros do.
            let at = frames[gone].1;
            match frames[gone + 1..].iter().find(|(_, other)| other.len == at.len) {
                Some((header, other)) => {
                    let stored = forger::stored(file, *other);
                    forger::put(file, at, *header, &stored);
                }
                None => file[at.offset as usize..at.end().unwrap() as usize].fill(0),
            }
        }
        let outcome = victim.judge(&forged);
        assert!(matches!(outcome, Outcome::Refused(_)), "frame {gone}: {outcome:?}");
    }
}

/// T7: one copy of the manifest rolled back costs nothing; both, and nothing else, is noticed by the tables that are
/// newer; the whole directory is the past as it was, which only who keeps its last edit elsewhere can tell.
#[test]
fn rolled_back_manifests_are_noticed_unless_everything_is_rolled_back() {
    let victim = build();
    let copies = manifest(&victim.past);
    for path in &copies {
        let past = victim.past[path].clone();
        victim.check(|files| drop(files.insert(path.clone(), past)), &Outcome::Full);
    }
    let mut forged = victim.files.clone();
    forged.retain(|path, _| path.parent().unwrap().ends_with("tables"));
    let not_tables = victim.past.iter().filter(|(path, _)| !path.parent().unwrap().ends_with("tables"));
    forged.extend(not_tables.map(|(path, bytes)| (path.clone(), bytes.clone())));
    assert_eq!(victim.judge(&forged), Outcome::Refused(ErrorKind::ManifestRegression));
    assert_eq!(victim.judge(&victim.past), Outcome::Older);
    let last_edit = |files: &Files| {
        let store = open(&mount(files)).unwrap();
        store.report().manifest.as_ref().unwrap().last_edit
    };
    assert!(last_edit(&victim.past) < last_edit(&victim.files));
}

/// T8: what a head says about features, times and keys, said otherwise everywhere.
#[test]
fn forged_heads_are_tampered() {
    type Forgery = fn(&mut lsm_block::Superblock);
    let victim = build();
    let path = tables(&victim.files, 0).pop().unwrap();
    let forgeries: [(Forgery, Outcome); 5] = [
        (|head| head.features.compat |= 4, TAMPERED),
        (|head| head.features.read_compat |= 4, TAMPERED),
        (|head| head.edit_index = EditIndex::new(0), TAMPERED),
        (|head| head.salt[0] ^= 1, Outcome::Refused(ErrorKind::WrongKey)),
        (|head| head.sealing.as_mut().unwrap().check[0] ^= 1, Outcome::Refused(ErrorKind::WrongKey)),
    ];
    for (forgery, outcome) in forgeries {
        victim.check(|files| forger::rewrite_head(files.get_mut(&path).unwrap(), forgery), &outcome);
    }
    for path in manifest(&victim.files) {
        let forgery: Forgery = |head| head.features.compat |= 4;
        victim.check(
            |files| {
                let both = manifest(files);
                assert!(both.contains(&path));
                for path in both {
                    forger::rewrite_head(files.get_mut(&path).unwrap(), forgery);
                }
            },
            &Outcome::Refused(ErrorKind::Tampered),
        );
    }
}

/// T9: a directory that leaves out the deletes of ranges, or counts otherwise.
#[test]
fn forged_directories_are_tampered() {
    let victim = build();
    let path = tables(&victim.files, 0).pop().unwrap();
    victim.check(
        |files| {
            forger::rewrite_directories(files.get_mut(&path).unwrap(), |directory| {
                let deletes = directory.sections.iter_mut();
                for section in deletes.filter(|section| section.kind == BlockKind::RANGE_TOMBSTONES) {
                    // The length of a directory tells, so the section becomes one that nobody needs.
                    section.kind = BlockKind::SEQNO_BOUNDS;
                    section.flags = SectionFlags::NONE;
                }
            });
        },
        &TAMPERED,
    );
    victim.check(
        |files| {
            forger::rewrite_directories(files.get_mut(&path).unwrap(), |directory| {
                directory.file_digest ^= 1;
            });
        },
        &TAMPERED,
    );
}

/// T10: a block, or a file, that is simply not sealed.
#[test]
fn plain_blocks_and_files_are_refused() {
    let victim = build();
    let path = tables(&victim.files, 0).pop().unwrap();
    let (header, at) = forger::of_kind(&victim.files[&path], BlockKind::DATA)[0];
    let plain = FrameHeader { flags: 0, codec: 0, logical_len: header.stored_len, ..header };
    victim.check(
        |files| {
            let file = files.get_mut(&path).unwrap();
            let stored = forger::stored(file, at);
            forger::put(file, at, plain, &stored);
        },
        &TAMPERED,
    );
    victim.check(
        |files| forger::rewrite_head(files.get_mut(&path).unwrap(), |head| head.sealing = None),
        &Outcome::Refused(ErrorKind::PlaintextRejected),
    );
}

/// T11: a pointer to anything leads to everything, or says what is amiss.
#[test]
fn a_forged_pointer_changes_no_read() {
    let victim = build();
    let path = Path::new(ROOT).join("CURRENT");
    let pointer = Pointer::decode(&victim.files[&path]).unwrap();
    let forged = [
        Pointer { generation: lsm_journal::Generation::new(1), ..pointer },
        Pointer { generation: lsm_journal::Generation::new(99), ..pointer },
        Pointer { edit_min: EditIndex::new(0), ..pointer },
        Pointer { edit_min: EditIndex::new(1 << 40), ..pointer },
        Pointer { snapshot_digest: 1, ..pointer },
        Pointer { database: lsm_types::FileUuid::from_bytes([1; 16]), ..pointer },
    ];
    for pointer in forged {
        let mut forged = victim.files.clone();
        forged.insert(path.clone(), pointer.encode().to_vec());
        let outcome = victim.judge(&forged);
        assert!(matches!(outcome, Outcome::Full | Outcome::Refused(_)), "{pointer:?}: {outcome:?}");
    }
}

/// T12: a manifest of another database with the same keys, saying that it is ours.
#[test]
fn a_manifest_of_another_database_is_refused() {
    let (victim, other) = (build(), build());
    let mut forged = victim.files.clone();
    for (ours, theirs) in manifest(&victim.files).iter().zip(manifest(&other.files)) {
        let (mut file, identity) = (other.files[&theirs].clone(), forger::head(&victim.files[ours]).identity);
        forger::rewrite_head(&mut file, |head| head.identity = identity);
        forged.insert(ours.clone(), file);
    }
    assert_eq!(victim.judge(&forged), Outcome::Refused(ErrorKind::WrongKey));
}

/// Compactions pass over nothing that is tampered with: the job fails, the tables stay. Proves F-53.
#[test]
fn a_compaction_stops_at_a_tampered_block() {
    let victim = build();
    let path = tables(&victim.files, 0).pop().unwrap();
    let (header, at) = forger::of_kind(&victim.files[&path], BlockKind::DATA)[1];
    let mut forged = victim.files.clone();
    let file = forged.get_mut(&path).unwrap();
    let mut stored = forger::stored(file, at);
    stored[0] ^= 1;
    forger::put(file, at, header, &stored);
    let fs = mount(&forged);
    let store = open(&fs).unwrap();
    let tree = tree(&store, &fs, 0).unwrap();
    let error = tree.major_compact(&CompactOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered);
    assert!(error.to_string().contains("tamper") || format!("{error:?}").contains("Tampered"), "{error}");
}
