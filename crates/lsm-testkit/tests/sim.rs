//! What the simulated disk does, and what a crash may leave of it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lsm_fs::{Fs, FsFile, OpenOptions, SyncLevel};
use lsm_testkit::sim::{Choice, FaultPlan, FaultRule, SimConfig, SimFs, Strategy};
use lsm_types::{IoKind, IoOp};

fn create(fs: &SimFs, path: &str) -> Arc<dyn FsFile> {
    fs.open(Path::new(path), &OpenOptions::CREATE_NEW).unwrap()
}

fn sync_root(fs: &SimFs) {
    fs.sync_dir(Path::new("/"), SyncLevel::Full).unwrap();
}

/// A file with these contents, all of it durable.
fn durable(fs: &SimFs, path: &str, bytes: &[u8]) -> Arc<dyn FsFile> {
    let file = create(fs, path);
    file.append(bytes).unwrap();
    file.sync(SyncLevel::Full).unwrap();
    fs.sync_dir(Path::new(path).parent().unwrap(), SyncLevel::Full).unwrap();
    file
}

/// The files of an image, the contents shortened to runs: `a=1*512+0*3 b=`.
fn show(fs: &SimFs) -> String {
    let run = |bytes: &[u8]| bytes.first().map_or(String::new(), |byte| format!("{byte}*{}", bytes.len()));
    let contents = |bytes: &[u8]| bytes.chunk_by(|a, b| a == b).map(run).collect::<Vec<_>>().join("+");
    let file = |(path, bytes): (&std::path::PathBuf, &Vec<u8>)| {
        format!("{}={}", path.display().to_string().trim_start_matches('/'), contents(bytes))
    };
    fs.files().iter().map(file).collect::<Vec<_>>().join(" ")
}

/// All states that a crash right now may leave.
fn states(fs: &SimFs) -> BTreeSet<String> {
    fs.images(fs.len(), &Strategy::FULL).map(|(_, image)| show(&image)).collect()
}

#[track_caller]
fn check(fs: &SimFs, expected: &[&str]) {
    assert_eq!(states(fs), expected.iter().map(ToString::to_string).collect());
}

#[test]
fn a_name_survives_by_its_directory_and_bytes_by_their_file() {
    let fs = SimFs::default();
    let file = create(&fs, "/a");
    check(&fs, &["", "a="]);
    file.append(&[1; 100]).unwrap();
    check(&fs, &["", "a=", "a=0*100", "a=1*100"]);
    file.sync(SyncLevel::Data).unwrap();
    check(&fs, &["", "a=1*100"]);
    sync_root(&fs);
    check(&fs, &["a=1*100"]);
    fs.remove_file(Path::new("/a")).unwrap();
    check(&fs, &["", "a=1*100"]);
    sync_root(&fs);
    check(&fs, &[""]);
}

#[test]
fn a_file_in_a_directory_without_a_name_is_lost() {
    let fs = SimFs::default();
    fs.create_dir(Path::new("/d")).unwrap();
    durable(&fs, "/d/a", &[1; 9]);
    check(&fs, &["", "d/a=1*9"]);
    sync_root(&fs);
    check(&fs, &["d/a=1*9"]);
}

#[test]
fn an_interrupted_write_survives_by_the_sector() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 1_536]);
    file.write_at(0, &[2; 1_536]).unwrap();
    let expected =
        ["a=1*1536", "a=2*512+1*1024", "a=2*1024+1*512", "a=2*1536", "a=1*512+2*1024", "a=2*512+1*512+2*512"];
    assert!(states(&fs).is_superset(&expected.map(String::from).into()));
}

#[test]
fn a_grown_length_survives_without_the_bytes_and_as_far_as_they_reach() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 100]);
    file.append(&[2; 924]).unwrap();
    let expected = ["a=1*100", "a=1*100+0*924", "a=1*100+2*412+0*512", "a=1*100+2*412", "a=1*100+2*924"];
    assert!(states(&fs).is_superset(&expected.map(String::from).into()));
    file.sync(SyncLevel::Data).unwrap();
    check(&fs, &["a=1*100+2*924"]);
    file.set_len(50).unwrap();
    // The zeros past the new end may reach the disk before the new length does.
    check(&fs, &["a=1*100+2*924", "a=1*50", "a=1*50+0*462+2*512"]);
}

#[test]
fn a_rename_loses_no_file_and_may_leave_both_names() {
    let fs = SimFs::default();
    durable(&fs, "/a", &[1; 9]);
    fs.rename(Path::new("/a"), Path::new("/b")).unwrap();
    check(&fs, &["a=1*9", "a=1*9 b=1*9", "b=1*9"]);
    sync_root(&fs);
    check(&fs, &["b=1*9"]);
    durable(&fs, "/c", &[2; 9]);
    fs.rename(Path::new("/c"), Path::new("/b")).unwrap();
    check(&fs, &["b=1*9 c=2*9", "b=2*9 c=2*9", "b=2*9"]);
    sync_root(&fs);
    fs.rename(Path::new("/b"), Path::new("/d")).unwrap();
    create(&fs, "/b");
    // The old name may go to another file, but only where the new name is there.
    check(&fs, &["b=2*9", "b=2*9 d=2*9", "d=2*9", "b= d=2*9"]);
}

#[test]
fn a_rename_across_directories_is_durable_in_each_by_its_sync() {
    let build = |synced: &str| {
        let fs = SimFs::default();
        fs.create_dir(Path::new("/d")).unwrap();
        durable(&fs, "/a", &[1; 9]);
        fs.rename(Path::new("/a"), Path::new("/d/b")).unwrap();
        fs.sync_dir(Path::new(synced), SyncLevel::Full).unwrap();
        fs
    };
    check(&build("/d"), &["a=1*9 d/b=1*9", "d/b=1*9"]);
    // The loss of the old name brings the new name along.
    check(&build("/"), &["d/b=1*9"]);
}

#[test]
fn a_barrier_keeps_the_order_and_makes_nothing_durable() {
    let fs = SimFs::default();
    let (one, two) = (durable(&fs, "/a", &[]), durable(&fs, "/b", &[]));
    one.append(&[1; 9]).unwrap();
    one.sync(SyncLevel::Barrier).unwrap();
    two.append(&[2; 9]).unwrap();
    let found = states(&fs);
    assert!(found.contains("a= b=") && found.contains("a=1*9 b=") && found.contains("a=1*9 b=2*9"));
    assert!(
        !found.iter().any(|state| state.starts_with("a= b=2") || state.starts_with("a= b=0")),
        "{found:?}"
    );
    two.sync(SyncLevel::Full).unwrap();
    check(&fs, &["a=1*9 b=2*9"]);
}

#[test]
fn what_a_failed_sync_drops_is_not_saved_by_the_next_one() {
    let run = |rule: FaultRule| {
        let fs = SimFs::default();
        let file = durable(&fs, "/a", &[1; 9]);
        fs.set_faults(FaultPlan::new().with(rule.on(IoOp::Sync)));
        file.write_at(0, &[2; 9]).unwrap();
        assert_eq!(file.sync(SyncLevel::Full).unwrap_err().kind, IoKind::Other);
        assert_eq!(fs.faults_struck(), 1);
        file.sync(SyncLevel::Full).unwrap();
        assert_eq!(show(&fs), "a=2*9", "reads show what was written");
        fs
    };
    check(&run(FaultRule::fail(IoKind::Other)), &["a=2*9"]);
    check(&run(FaultRule::fail_after(IoKind::Other)), &["a=2*9"]);
    let fs = run(FaultRule::lose(IoKind::Other));
    check(&fs, &["a=1*9", "a=2*9"]);
    // Writing the sector again makes it dirty again.
    let file = fs.open(Path::new("/a"), &OpenOptions::WRITE).unwrap();
    file.write_at(0, &[3; 2]).unwrap();
    check(&fs, &["a=1*9", "a=2*9", "a=3*2+2*7"]);
    file.sync(SyncLevel::Full).unwrap();
    check(&fs, &["a=3*2+2*7"]);
}

#[test]
fn a_failed_directory_sync_may_drop_names() {
    let fs = SimFs::default();
    fs.set_faults(FaultPlan::new().with(FaultRule::lose(IoKind::Other).on(IoOp::SyncDir)));
    create(&fs, "/a");
    assert!(fs.sync_dir(Path::new("/"), SyncLevel::Full).is_err());
    create(&fs, "/b");
    sync_root(&fs);
    check(&fs, &["a= b=", "b="]);
    fs.remove_file(Path::new("/a")).unwrap();
    sync_root(&fs);
    check(&fs, &["b="]);
}

#[test]
fn bytes_past_the_length_that_survived_do_not_come_back() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 100]);
    file.append(&[2; 900]).unwrap();
    file.write_at(600, &[3; 9]).unwrap();
    let image = fs.image(fs.len(), Choice::Only(1));
    assert_eq!(show(&image), "a=1*100");
    image.open(Path::new("/a"), &OpenOptions::WRITE).unwrap().set_len(1_000).unwrap();
    assert_eq!(show(&image), "a=1*100+0*900");
}

#[test]
fn a_budget_stops_in_the_middle_and_can_be_lifted() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 10]);
    fs.set_budget(Some(7));
    let error = file.append(&[2; 10]).unwrap_err();
    assert_eq!((error.written, error.source.kind), (7, IoKind::NoSpace));
    assert_eq!(show(&fs), "a=1*10+2*7");
    let refused = fs.open(Path::new("/b"), &OpenOptions::CREATE_NEW).unwrap_err();
    assert_eq!((refused.op, refused.kind), (IoOp::Open, IoKind::NoSpace));
    assert_eq!(fs.available_space(Path::new("/")).unwrap(), Some(0));
    fs.set_budget(None);
    file.append(&[3; 2]).unwrap();
    assert_eq!(show(&fs), "a=1*10+2*7+3*2");
}

#[test]
fn a_full_disk_takes_whole_sectors() {
    let fs = SimFs::new(SimConfig { capacity: 2_000, ..SimConfig::default() });
    let file = create(&fs, "/a");
    let error = file.append(&[1; 4_000]).unwrap_err();
    assert_eq!((error.written, error.source.kind), (1_536, IoKind::NoSpace));
    file.write_at(0, &[2; 1_536]).unwrap();
    fs.remove_file(Path::new("/a")).unwrap();
    assert!(create_fails(&fs, "/b"), "an open file without a name holds its space");
    drop(file);
    create(&fs, "/b").append(&[1; 1_536]).unwrap();
    file_len(&fs.image(fs.len(), Choice::Ceiling), "/b", 1_536);
}

fn create_fails(fs: &SimFs, path: &str) -> bool {
    fs.open(Path::new(path), &OpenOptions::CREATE_NEW).is_err_and(|error| error.kind == IoKind::NoSpace)
}

#[track_caller]
fn file_len(fs: &SimFs, path: &str, len: u64) {
    assert_eq!(fs.metadata(Path::new(path)).unwrap().len, len);
}

#[test]
fn faults_strike_where_they_are_planned() {
    let fs = SimFs::default();
    let plan = FaultPlan::new()
        .with(FaultRule::short(3, IoKind::Other).on(IoOp::Write).path("*.sst"))
        .with(FaultRule::fail_after(IoKind::Other).on(IoOp::Rename).path("*/CURRENT"))
        .with(FaultRule::fail(IoKind::TooManyOpenFiles).on(IoOp::Open).path("/c"))
        .with(FaultRule::short(2, IoKind::Other).on(IoOp::Read).path("/b"));
    fs.set_faults(plan);
    let (table, other) = (create(&fs, "/a.sst"), create(&fs, "/b"));
    other.append(&[1; 5]).unwrap();
    let error = table.append(&[1; 5]).unwrap_err();
    assert_eq!((error.written, table.len().unwrap()), (3, 3));
    table.append(&[2; 2]).unwrap();
    assert!(fs.rename(Path::new("/a.sst"), Path::new("/CURRENT")).is_err());
    assert_eq!(show(&fs), "CURRENT=1*3+2*2 b=1*5", "the effect is there all the same");
    let error = fs.open(Path::new("/c"), &OpenOptions::CREATE_NEW).unwrap_err();
    assert_eq!(error.kind, IoKind::TooManyOpenFiles);
    let mut out = [0; 5];
    assert_eq!((other.read_at(0, &mut out).unwrap(), out), (2, [1, 1, 0, 0, 0]));
    assert_eq!(other.read_at(0, &mut out).unwrap(), 5);
    assert_eq!(fs.faults_struck(), 4);
}

#[test]
fn an_image_is_independent_and_reproducible() {
    let fs = SimFs::default();
    durable(&fs, "/a", &[1; 600]).append(&[2; 600]).unwrap();
    let lock = fs.open(Path::new("/a"), &OpenOptions::WRITE).unwrap();
    assert!(lock.try_lock(lsm_fs::LockMode::Exclusive).unwrap());
    let before = show(&fs);
    for (id, image) in fs.sweep(&Strategy::FULL) {
        assert_eq!(fs.image(id.point, id.choice).state_hash(), image.state_hash());
        assert!(image.is_empty() && image.namespace_id() != fs.namespace_id());
        if let Ok(file) = image.open(Path::new("/a"), &OpenOptions::WRITE) {
            assert!(file.try_lock(lsm_fs::LockMode::Exclusive).unwrap(), "no lock outlives a crash");
            file.write_at(0, b"scribble").unwrap();
        }
    }
    assert_eq!(show(&fs), before);
}

#[test]
fn a_sync_through_another_handle_is_noticed() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", b"1");
    file.append(b"2").unwrap();
    drop(file);
    assert_eq!(fs.foreign_syncs(), []);
    fs.open(Path::new("/a"), &OpenOptions::WRITE).unwrap().sync(SyncLevel::Full).unwrap();
    assert_eq!(fs.foreign_syncs(), [fs.len() - 1]);
}

#[test]
fn points_where_nothing_changes_are_no_crash_points() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", b"1");
    file.sync(SyncLevel::Full).unwrap();
    sync_root(&fs);
    assert_eq!((fs.len(), fs.crash_points()), (6, vec![0, 1, 2, 3, 4]));
    let shown: Vec<String> = fs.trace().iter().map(ToString::to_string).collect();
    assert_eq!(shown[..3], ["create /a", "write /a at 0, 1 bytes", "sync /a (Full)"]);
}

#[test]
fn damage_is_durable_at_once() {
    let fs = SimFs::default();
    let (a, b) = (Path::new("/a"), Path::new("/b"));
    durable(&fs, "/a", &[1; 600]);
    durable(&fs, "/b", &[2; 3]);
    let hash = fs.state_hash();
    fs.flip(a, 599, 1).unwrap();
    assert_ne!(fs.state_hash(), hash);
    check(&fs, &["a=1*599+3*1 b=2*3"]);
    fs.flip(a, 599, 1).unwrap();
    assert_eq!(fs.state_hash(), hash);
    fs.truncate(a, 2).unwrap();
    fs.swap(a, b).unwrap();
    check(&fs, &["a=2*3 b=1*2"]);
    assert_eq!(fs.swap(Path::new("/none"), b).unwrap_err().kind, IoKind::NotFound);
    check(&fs, &["a=2*3 b=1*2"]);
    fs.remove(a).unwrap();
    check(&fs, &["b=1*2"]);
    assert_eq!(fs.flip(b, 2, 0).unwrap_err().kind, IoKind::InvalidInput);
    assert_eq!(fs.flip(a, 0, 0).unwrap_err().kind, IoKind::NotFound);
}
