//! The machine a run took place on, in a few lines: figures mean nothing without it.

use std::{fmt::Write as _, fs, path::Path};

use crate::{data::Dice, measure::now};

/// Bytes chased through for a miss of all caches.
const CHASE_BYTES: usize = 128 << 20;

/// Steps of a chase.
const STEPS: u32 = 1_000_000;

/// Bytes copied at once.
const COPY_BYTES: usize = 16 << 20;

/// Processor, memory, kernel, load, and three unit costs measured here and now.
pub(crate) fn describe(dir: &Path) -> String {
    let mut text = String::new();
    let cpu = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown");
    let _ = writeln!(text, "{cpu}, {cores} cores, kernel {}, load before {load}", kernel.trim());
    let _ = write!(
        text,
        "dependent miss over {} MiB {:.0} ns, copy {:.1} GB/s, fdatasync of 4 KiB {}",
        CHASE_BYTES >> 20,
        chase_nanos(),
        copy_rate(),
        sync_micros(dir).map_or_else(|| "unknown".to_owned(), |micros| format!("{micros:.0} us")),
    );
    text
}

fn line_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// One dependent load, when each lies on another line that no cache holds.
fn chase_nanos() -> f64 {
    const LINE: usize = 64 / size_of::<u32>();
    let lines = CHASE_BYTES / 64;
    let order = Dice::new(1).permutation(u32::try_from(lines).unwrap_or(u32::MAX));
    let mut next = vec![0_u32; lines * LINE];
    for (at, to) in order.iter().zip(order.iter().cycle().skip(1)) {
        next[*at as usize * LINE] = *to;
    }
    let mut at = 0_u32;
    let started = now();
    for _ in 0..STEPS {
        at = next[at as usize * LINE];
    }
    let nanos = started.elapsed().as_nanos() as f64;
    std::hint::black_box(at);
    nanos / f64::from(STEPS)
}

/// Bytes copied per nanosecond.
fn copy_rate() -> f64 {
    let source = vec![1_u8; COPY_BYTES];
    let mut target = vec![0_u8; COPY_BYTES];
    let mut best = f64::MAX;
    for _ in 0..5 {
        let started = now();
        target.copy_from_slice(std::hint::black_box(&source));
        std::hint::black_box(&target);
        best = best.min(started.elapsed().as_nanos() as f64);
    }
    COPY_BYTES as f64 / best
}

/// Median of some appends that are made durable.
fn sync_micros(dir: &Path) -> Option<f64> {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(dir).ok()?;
    let mut micros = Vec::new();
    for _ in 0..21 {
        let started = now();
        file.write_all(&[7; 4096]).ok()?;
        file.sync_data().ok()?;
        micros.push(started.elapsed().as_nanos() as f64 / 1e3);
    }
    micros.sort_unstable_by(f64::total_cmp);
    micros.get(micros.len() / 2).copied()
}
