//! A file system in a file, mounted for one engine. Needs Linux, and the rights to mount.

use std::{path::PathBuf, process::Command};

/// Mounted; unmounted when it drops.
pub(super) struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// One of so many MiB, in a file in `dir`; or why there is none.
    pub(super) fn mount(dir: &std::path::Path, mib: u64) -> Result<Self, String> {
        let dir =
            tempfile::Builder::new().prefix("peers-disk-").tempdir_in(dir).map_err(|e| e.to_string())?;
        let disk = Self { dir };
        let image = disk.dir.path().join("image");
        std::fs::create_dir(disk.point()).map_err(|error| error.to_string())?;
        run(Command::new("truncate").arg("-s").arg(format!("{mib}M")).arg(&image))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.point()))?;
        Ok(disk)
    }

    pub(super) fn point(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Disk {
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
