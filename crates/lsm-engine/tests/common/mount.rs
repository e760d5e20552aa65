//! File systems that are mounted for a test, where that is allowed.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{path::PathBuf, process::Command};

/// What is mounted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// An image in a file.
    Ext4,
    /// Memory.
    Tmpfs,
}

/// A mounted file system; unmounted when it drops.
pub(crate) struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    /// One of so many MiB, or why there is none.
    pub(crate) fn new(kind: Kind, mib: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (image, point) = (dir.path().join("image"), dir.path().join("mnt"));
        std::fs::create_dir(&point).map_err(|error| error.to_string())?;
        let size = format!("{mib}M");
        match kind {
            Kind::Ext4 => {
                run(Command::new("truncate").arg("-s").arg(size).arg(&image))?;
                run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
                run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point))?;
            }
            Kind::Tmpfs => {
                let options = format!("size={size}");
                run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&point))?;
            }
        }
        Ok(Self { dir })
    }

    pub(crate) fn point(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What cannot be unmounted stays, as its directory does.
        let _ = run(Command::new("umount").arg(self.point()));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
