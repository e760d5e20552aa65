//! A real disk that fills up: an ext4 image of 64 MiB, mounted for the test. Where that is not possible the test says
//! why and passes.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test should fail where it fails, and say why not"
)]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use common::{at, small_tables};
use lsm_engine::{CompactOptions, FlushOptions, Reader, ReclaimOptions, Tree, TreeOptions};
use lsm_types::{Error, ErrorKind};

/// A mounted file system; unmounted when it drops.
struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    fn new(mib: u32) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (image, point) = (dir.path().join("image"), dir.path().join("mnt"));
        std::fs::create_dir(&point).map_err(|error| error.to_string())?;
        let size = format!("{mib}M");
        run(Command::new("truncate").arg("-s").arg(size).arg(&image))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point))?;
        Ok(Self { dir })
    }

    fn point(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(self.point())) {
            eprintln!("{error}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Files go when they are not needed any more, not a moment later: they are counted.
fn at_once() -> ReclaimOptions {
    ReclaimOptions { thread: Some(false), ..ReclaimOptions::default() }
}

fn options(path: &Path) -> TreeOptions {
    TreeOptions::new(path)
        .store(|store| store.manifest_rotate_min(2_000).reclaim(at_once()))
        .tables(small_tables())
        .table_target_bytes(100_000)
}

struct World {
    tree: Tree,
    next: u64,
}

impl World {
    fn fill(&mut self) {
        let mut state = self.next;
        for _ in 0..40 {
            // What does not compress, so that the disk fills.
            let value: Vec<u8> = (0..1_000)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state.to_le_bytes().map(|byte| byte)[6]
                })
                .collect();
            self.tree.insert(format!("key-{:03}", self.next % 97), value, at(self.next)).unwrap();
            self.next += 1;
        }
        self.tree.seal(None);
    }

    fn flush(&self) -> Result<(), Error> {
        self.tree.flush(&FlushOptions::default()).map(drop)
    }

    fn check(&self, root: &Path) {
        let tables = std::fs::read_dir(root.join("tables")).unwrap().count();
        assert_eq!(tables, self.tree.stats().tables(), "a file is left behind");
        assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    }
}

/// Proves D-17, D-18, D-41. Fault: durability W-4, W-23, W-24.
#[test]
fn a_real_disk_fills_up_and_has_room_again() {
    let mount = match Mount::new(64) {
        Ok(mount) => mount,
        Err(reason) => return eprintln!("skipped: no file system can be mounted here: {reason}"),
    };
    let root = mount.point().join("db");
    let ballast = mount.point().join("ballast");
    let mut world = World { tree: Tree::open(options(&root)).unwrap(), next: 1 };
    world.fill();
    world.flush().unwrap();
    let mut refused = 0;
    for round in 0..12_u64 {
        // Fill the disk but for some kilobytes, another number of them each time.
        let file = std::fs::File::create(&ballast).unwrap();
        let mut step = vec![1_u8; 1 << 20];
        while !step.is_empty() {
            if std::io::Write::write_all(&mut &file, &step).is_err() {
                step.truncate(step.len() / 2);
            }
        }
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(round * 8_192)).unwrap();
        file.sync_all().unwrap();
        world.fill();
        let outcome = world.flush();
        if let Err(error) = &outcome {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::NoSpace | ErrorKind::InstallOutcomeUnknown | ErrorKind::Fenced
                ),
                "{error} ({error:?})"
            );
            refused += 1;
        }
        assert_eq!(world.tree.count().unwrap(), world.next.min(98) - 1, "reads go on");
        drop(file);
        std::fs::remove_file(&ballast).unwrap();
        world.flush().unwrap();
        if round % 5 == 4 {
            world.tree.major_compact(&CompactOptions::default()).unwrap();
        }
        world.check(&root);
    }
    assert!(refused > 3, "the disk was never full");
    let count = world.tree.count().unwrap();
    world.tree.close().unwrap();
    let tree = Tree::open(options(&root)).unwrap();
    assert_eq!(tree.count().unwrap(), count);
    assert!(tree.verify().unwrap().is_clean());
    assert!(tree.open_report().files.deleted.is_empty(), "no orphan is left for the next open");
}
