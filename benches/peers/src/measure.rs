//! What the operating system knows about this process and its files.

use std::{fs, io, path::Path, time::Instant};

use rustix::time::{ClockId, clock_gettime};

/// A stretch of time being measured.
pub(crate) struct Stretch {
    started: Instant,
    cpu_nanos: u64,
    written: u64,
    read: u64,
}

/// What a stretch took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Wall time in seconds.
    pub(crate) seconds: f64,
    /// Processor time of all threads, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Bytes handed to write calls.
    pub(crate) written: u64,
    /// Bytes that read calls gave.
    pub(crate) read: u64,
}

impl Stretch {
    /// Begins now.
    pub(crate) fn begin() -> Self {
        let (written, read) = (written(), read());
        Self { cpu_nanos: cpu_nanos(), written, read, started: now() }
    }

    /// What it took up to now.
    pub(crate) fn taken(&self) -> Taken {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu_seconds = cpu_nanos().saturating_sub(self.cpu_nanos) as f64 / 1e9;
        let (written, read) = (written().saturating_sub(self.written), read().saturating_sub(self.read));
        Taken { seconds, cpu_seconds, written, read }
    }
}

/// The time, for a driver whose business is to measure it.
#[expect(clippy::disallowed_methods, reason = "the driver measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Bytes this process handed to write calls so far; zero where the system does not say.
fn written() -> u64 {
    field("/proc/self/io", "wchar:").unwrap_or(0)
}

/// Bytes that read calls gave this process so far; zero where the system does not say.
fn read() -> u64 {
    field("/proc/self/io", "rchar:").unwrap_or(0)
}

/// Largest resident memory of this process so far, in bytes; `None` where the system does not say.
pub(crate) fn peak_resident() -> Option<u64> {
    field("/proc/self/status", "VmHWM:").map(|kib| kib * 1024)
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes of storage that the files below `dir` take.
pub(crate) fn disk_bytes(dir: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // A file that a background thread removed meanwhile takes no space.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        total += if metadata.is_dir() { disk_bytes(&entry.path())? } else { stored(&metadata) };
    }
    Ok(total)
}

#[cfg(unix)]
fn stored(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn stored(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
