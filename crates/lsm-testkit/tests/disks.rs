//! Disks of several kinds, ways to fail, processes, and entries of other programs.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use lsm_fs::{Capability, EntryKind, Fs, FsFile, LockMode, OpenOptions, SyncLevel};
use lsm_testkit::sim::{Choice, FaultPlan, FaultRule, Foreign, Gate, Profile, SimConfig, SimFs, Strategy};
use lsm_types::{IoKind, IoOp};

fn disk(profile: Profile) -> SimFs {
    SimFs::new(SimConfig { profile, ..SimConfig::DEFAULT })
}

fn create(fs: &SimFs, path: &str) -> Arc<dyn FsFile> {
    fs.open(Path::new(path), &OpenOptions::CREATE_NEW).unwrap()
}

/// A file with these contents, all of it durable.
fn durable(fs: &SimFs, path: &str, bytes: &[u8]) -> Arc<dyn FsFile> {
    let file = create(fs, path);
    file.append(bytes).unwrap();
    file.sync(SyncLevel::Full).unwrap();
    fs.sync_dir(Path::new("/"), SyncLevel::Full).unwrap();
    file
}

/// The files of a disk, the contents shortened to runs: `a=1*512+0*3 b=`.
fn show(fs: &SimFs) -> String {
    let run = |bytes: &[u8]| bytes.first().map_or(String::new(), |byte| format!("{byte}*{}", bytes.len()));
    let contents = |bytes: &[u8]| bytes.chunk_by(|a, b| a == b).map(run).collect::<Vec<_>>().join("+");
    let file = |(path, bytes): (&std::path::PathBuf, &Vec<u8>)| {
        format!("{}={}", path.display().to_string().trim_start_matches('/'), contents(bytes))
    };
    fs.files().iter().map(file).collect::<Vec<_>>().join(" ")
}

fn states(fs: &SimFs) -> BTreeSet<String> {
    fs.images(fs.len(), &Strategy::FULL).map(|(_, image)| show(&image)).collect()
}

#[track_caller]
fn check(fs: &SimFs, expected: &[&str]) {
    assert_eq!(states(fs), expected.iter().map(ToString::to_string).collect());
}

#[test]
fn a_process_that_dies_loses_nothing() {
    let fs = disk(Profile::Process);
    create(&fs, "/a").append(&[1; 700]).unwrap();
    check(&fs, &["a=1*700"]);
}

#[test]
fn ext4_keeps_names_in_order_and_lengths_behind_their_bytes() {
    let fs = disk(Profile::Ext4Ordered);
    let (a, _b) = (create(&fs, "/a"), create(&fs, "/b"));
    check(&fs, &["", "a=", "a= b="]);
    a.append(&[1; 600]).unwrap();
    // By the sector, as everywhere, but never with zeros where bytes belong.
    check(&fs, &["", "a=", "a= b=", "a=1*512 b=", "a=1*600", "a=1*600 b="]);
    a.sync(SyncLevel::Full).unwrap();
    check(&fs, &["a=1*600 b="]);
    fs.rename(Path::new("/a"), Path::new("/b")).unwrap();
    check(&fs, &["a=1*600 b=", "b=1*600"]);
}

#[test]
fn stale_bytes_show_where_a_length_came_without_its_bytes() {
    let fs = disk(Profile::StaleExposed);
    let file = durable(&fs, "/a", &[1; 512]);
    file.append(&[2; 600]).unwrap();
    let found = states(&fs);
    assert!(found.contains("a=1*512+165*600"), "{found:?}");
    assert!(found.contains("a=1*512+2*512+165*88"), "{found:?}");
    assert!(!found.iter().any(|state| state.contains("+0*")), "{found:?}");
    // A hole and a length without a write read as zeros all the same.
    file.sync(SyncLevel::Full).unwrap();
    file.punch_hole(512, 512).unwrap();
    file.set_len(2_000).unwrap();
    assert!(!states(&fs).iter().any(|state| state.contains("165")), "{:?}", states(&fs));
}

#[test]
fn weaker_disks_allow_all_that_stronger_ones_do() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 100]);
    file.append(&[2; 900]).unwrap();
    create(&fs, "/b").append(&[3; 10]).unwrap();
    fs.rename(Path::new("/b"), Path::new("/c")).unwrap();
    fs.remove_file(Path::new("/a")).unwrap();
    let of = |profile| -> BTreeSet<String> {
        let images = fs.images_under(profile, fs.len(), &Strategy { exhaustive: 16, ..Strategy::FULL });
        images.map(|(_, image)| show(&image)).collect()
    };
    let (process, ext4, posix) = (of(Profile::Process), of(Profile::Ext4Ordered), of(Profile::Posix));
    assert!(process.is_subset(&ext4) && ext4.is_subset(&posix), "{process:?}\n{ext4:?}\n{posix:?}");
    assert!(process.len() < ext4.len() && ext4.len() < posix.len());
}

#[test]
fn a_sync_through_another_handle_may_count_for_nothing() {
    for own_syncs_only in [false, true] {
        let fs = SimFs::new(SimConfig { own_syncs_only, ..SimConfig::DEFAULT });
        let file = durable(&fs, "/a", &[]);
        file.append(&[1; 9]).unwrap();
        fs.open(Path::new("/a"), &OpenOptions::WRITE).unwrap().sync(SyncLevel::Full).unwrap();
        assert_eq!(states(&fs).len() > 1, own_syncs_only);
        file.sync(SyncLevel::Full).unwrap();
        assert_eq!(states(&fs).len() > 1, own_syncs_only && fs.foreign_syncs().is_empty());
    }
}

#[test]
fn sectors_may_be_larger() {
    let fs = SimFs::new(SimConfig { sector: 4_096, ..SimConfig::DEFAULT });
    let file = durable(&fs, "/a", &[1; 4_096]);
    file.write_at(0, &[2; 2_000]).unwrap();
    check(&fs, &["a=1*4096", "a=2*2000+1*2096"]);
}

#[test]
fn windows_keeps_open_files_and_does_not_tell_cases_apart() {
    let fs = SimFs::new(SimConfig { windows_semantics: true, ..SimConfig::DEFAULT });
    let (lower, upper, other) = (Path::new("/name"), Path::new("/NAME"), Path::new("/other"));
    let file = create(&fs, "/Name");
    assert_eq!(fs.open(upper, &OpenOptions::CREATE_NEW).unwrap_err().kind, IoKind::AlreadyExists);
    assert!(fs.exists(lower).unwrap());
    assert_eq!(fs.remove_file(lower).unwrap_err().kind, IoKind::PermissionDenied);
    assert_eq!(fs.rename(lower, other).unwrap_err().kind, IoKind::PermissionDenied);
    let replacing = create(&fs, "/other");
    drop(replacing);
    assert_eq!(fs.rename(other, upper).unwrap_err().kind, IoKind::PermissionDenied);
    // Syncing a directory does nothing, syncing a file makes names durable.
    assert!(!fs.capabilities(Path::new("/")).unwrap().has(Capability::DirSync));
    fs.sync_dir(Path::new("/"), SyncLevel::Full).unwrap();
    assert!(states(&fs).contains(""));
    file.append(&[1]).unwrap();
    file.sync(SyncLevel::Full).unwrap();
    check(&fs, &["Name=1*1 other="]);
    drop(file);
    fs.rename(other, upper).unwrap();
    assert_eq!(show(&fs), "Name=");
    assert_eq!(fs.read_dir(Path::new("/")).unwrap()[0].name, "Name");
}

#[test]
fn a_failed_sync_may_take_the_bytes_out_of_sight() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 600]);
    fs.set_faults(FaultPlan::new().with(FaultRule::drop_dirty(IoKind::Other).on(IoOp::Sync)));
    file.write_at(0, &[2; 10]).unwrap();
    file.append(&[2; 600]).unwrap();
    assert!(file.sync(SyncLevel::Full).is_err());
    assert_eq!(show(&fs), "a=1*600+0*600", "the length stays, the bytes do not");
    file.sync(SyncLevel::Full).unwrap();
    // The disk may have taken some of it before it failed.
    assert!(states(&fs).contains("a=1*600"), "{:?}", states(&fs));
    file.write_at(0, &[3; 1_200]).unwrap();
    file.set_len(1_200).unwrap();
    file.sync(SyncLevel::Full).unwrap();
    check(&fs, &["a=3*1200"]);
}

#[test]
fn missing_space_may_show_only_at_the_sync() {
    let fs = SimFs::default();
    let (file, other) = (durable(&fs, "/a", &[1; 10]), durable(&fs, "/b", &[]));
    fs.set_late_budget(Some(5));
    other.append(&[2; 5]).unwrap();
    file.append(&[2; 5]).unwrap();
    other.sync(SyncLevel::Full).unwrap();
    assert_eq!(file.sync(SyncLevel::Full).unwrap_err().kind, IoKind::NoSpace);
    assert!(fs.is_faulty() && states(&fs).contains("a=1*10 b=2*5"));
    fs.lift_faults();
    file.append(&[3; 5]).unwrap();
    file.sync(SyncLevel::Full).unwrap();
    assert!(!fs.is_faulty());
}

#[test]
fn reads_may_lie_once_or_always() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 8]);
    let read = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        file.read_at(offset, &mut bytes).unwrap();
        bytes
    };
    fs.set_faults(FaultPlan::new().with(FaultRule::corrupt(5, 0x80)));
    assert_eq!(read(0, 5), [1; 5], "a read of other bytes is right");
    assert_eq!(read(4, 3), [1, 0x81, 1]);
    assert_eq!(read(4, 3), [1; 3], "and so is the next one");
    fs.set_faults(FaultPlan::new().with(FaultRule::corrupt(5, 0x80).from(0)));
    assert_eq!((read(5, 1), read(0, 8)[5]), (vec![0x81], 0x81));
}

#[test]
fn an_operation_hangs_until_its_gate_is_opened() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1]);
    let gate = Gate::new();
    fs.set_faults(FaultPlan::new().with(FaultRule::hang(&gate).on(IoOp::Sync).path("/a")));
    file.append(&[2]).unwrap();
    thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync(SyncLevel::Full));
        gate.wait_for_arrival();
        // Everybody else goes on meanwhile, and nothing is durable.
        durable(&fs, "/b", &[3]);
        assert!(!syncing.is_finished() && states(&fs).contains("a=1*1 b=3*1"));
        gate.open();
        syncing.join().unwrap().unwrap();
    });
    check(&fs, &["a=1*1+2*1 b=3*1"]);
}

#[test]
fn labels_say_where_events_come_from_and_faults_may_ask_for_them() {
    let fs = SimFs::default();
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).label("flush/*").from(0)));
    let file = create(&fs, "/1.sst");
    {
        let _flush = fs.label("flush");
        file.append(&[1]).unwrap();
        let _install = fs.label("install");
        assert!(file.append(&[1]).is_err());
        thread::scope(|scope| scope.spawn(|| file.append(&[2]).unwrap()).join().unwrap());
    }
    file.append(&[1]).unwrap();
    let sites: Vec<String> = fs.trace().iter().map(|event| event.site()).collect();
    assert_eq!(sites, ["create /#.sst", "flush: write /#.sst", "write /#.sst", "write /#.sst"]);
    assert_eq!(fs.trace()[1].to_string(), "[flush] write /1.sst at 0, 1 bytes");
}

#[test]
fn processes_have_locks_of_their_own_and_die_alone() {
    let fs = SimFs::default();
    let (one, other) = (fs.process(), fs.process());
    let lock = |fs: &SimFs| {
        let file = fs.open(Path::new("/LOCK"), &OpenOptions::CREATE).unwrap();
        file.try_lock(LockMode::Exclusive).map(|taken| taken.then_some(file))
    };
    let held = lock(&one).unwrap().unwrap();
    held.append(&[1; 3]).unwrap();
    assert!(lock(&other).unwrap().is_none());
    one.kill();
    assert!(held.append(&[2]).is_err() && one.exists(Path::new("/LOCK")).is_err());
    let taken = lock(&other).unwrap().unwrap();
    drop(held);
    assert!(lock(&fs).unwrap().is_none(), "a handle that is long dead takes no lock away");
    assert_eq!(show(&fs), "LOCK=1*3", "what the process wrote is still to be seen");
    drop(taken);
}

#[test]
fn foreign_entries_of_every_kind_and_old_contents() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[1; 600]);
    let point = fs.len();
    file.write_at(0, &[2; 700]).unwrap();
    fs.restore_old(Path::new("/a"), point).unwrap();
    let planted: Vec<_> =
        Foreign::ALL.into_iter().map(|what| fs.plant_foreign(Path::new("/"), what).unwrap()).collect();
    let image = fs.image(fs.len(), Choice::Floor);
    assert!(show(&image).contains("a=1*600"), "damage is durable: {}", show(&image));
    let entries = image.read_dir(Path::new("/")).unwrap();
    assert_eq!(entries.len(), planted.len() + 1);
    let kind = |path: &Path| {
        let name = path.file_name().unwrap();
        entries.iter().find(|entry| entry.name == name).unwrap().kind
    };
    let kinds: Vec<EntryKind> = planted.iter().map(|path| kind(path)).collect();
    let file = EntryKind::File;
    assert_eq!(kinds, [file, file, file, file, EntryKind::Dir, EntryKind::Other]);
    let link = planted.last().unwrap();
    assert!(image.open(link, &OpenOptions::READ).is_err());
    image.remove_file(link).unwrap();
}

#[test]
fn a_report_tells_what_became_of_each_change() {
    let fs = SimFs::default();
    let file = durable(&fs, "/a", &[]);
    file.append(&[1; 1_000]).unwrap();
    create(&fs, "/b");
    let choice = Choice::Pair(1, 0, 1);
    let id = lsm_testkit::sim::ImageId { point: fs.len(), choice };
    let told = fs.describe(id);
    assert_eq!(told, ["torn 3: write /a at 0, 1000 bytes", "lost 4: create /b"]);
    assert_eq!(show(&fs.image(id.point, id.choice)), "a=1*512+0*488");
}
