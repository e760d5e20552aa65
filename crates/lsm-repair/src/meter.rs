//! A file whose reads are counted, slowed down and can be cut short.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use lsm_fs::FsFile;
use lsm_types::{IoError, IoKind, IoOp, ReadAt};

use crate::{Pace, VerifyOptions};

/// What all threads of a check share.
pub(crate) struct Meter<'a> {
    options: &'a VerifyOptions<'a>,
    /// When the next read may begin, by the monotonic clock, in nanoseconds.
    next_at: AtomicU64,
    bytes_read: AtomicU64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(options: &'a VerifyOptions<'a>) -> Self {
        Self { options, next_at: AtomicU64::new(0), bytes_read: AtomicU64::new(0) }
    }

    pub(crate) fn options(&self) -> &'a VerifyOptions<'a> {
        self.options
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.options.cancel.is_some_and(|is_cancelled| is_cancelled())
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Makes room for a read of `len` bytes.
    fn wait(&self, len: u64) {
        self.bytes_read.fetch_add(len, Ordering::Relaxed);
        let Some(pace) = &self.options.pace else { return };
        let now = pace.clock.monotonic_nanos();
        let mut start = now;
        let _ = self.next_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            start = next.max(now);
            Some(start.saturating_add(cost(pace, len)))
        });
        if start > now {
            (pace.pause)(Duration::from_nanos(start - now));
        }
    }
}

/// Nanoseconds that reading `len` bytes takes at this pace.
fn cost(pace: &Pace<'_>, len: u64) -> u64 {
    let nanos = u128::from(len) * 1_000_000_000 / u128::from(pace.bytes_per_second.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// A file of a check.
pub(crate) struct Metered<'a> {
    file: Arc<dyn FsFile>,
    meter: &'a Meter<'a>,
    bytes_read: AtomicU64,
}

impl<'a> Metered<'a> {
    pub(crate) fn new(file: Arc<dyn FsFile>, meter: &'a Meter<'a>) -> Self {
        Self { file, meter, bytes_read: AtomicU64::new(0) }
    }

    pub(crate) fn options(&self) -> &'a VerifyOptions<'a> {
        self.meter.options()
    }

    /// Bytes read of this file.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

impl ReadAt for Metered<'_> {
    fn len(&self) -> Result<u64, IoError> {
        self.file.as_ref().len()
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        if self.meter.is_cancelled() {
            // Ends the check of this file, whose report nobody will see.
            return Err(IoError::new(IoOp::Read, IoKind::Other));
        }
        let len = out.len() as u64;
        self.meter.wait(len);
        self.bytes_read.fetch_add(len, Ordering::Relaxed);
        self.file.as_ref().read_exact_at(offset, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_fs::{Fs, MemFs, OpenOptions};
    use lsm_types::{Clock, UnixNanos};
    use std::path::Path;

    #[derive(Default)]
    struct Slow(AtomicU64);

    impl Clock for Slow {
        fn now(&self) -> UnixNanos {
            UnixNanos::new(0)
        }

        fn monotonic_nanos(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Proves D-107, E-146: a check can be slowed down.
    #[test]
    fn reads_keep_the_pace() {
        let fs = MemFs::new();
        let file = fs.open(Path::new("/a"), &OpenOptions::CREATE_NEW).unwrap();
        file.append(&[0; 1_000]).unwrap();
        let clock = Slow::default();
        let pause = |time: Duration| {
            clock.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
        };
        let pace = Some(Pace { bytes_per_second: 100, clock: &clock, pause: &pause });
        let options = VerifyOptions { pace, ..VerifyOptions::default() };
        let meter = Meter::new(&options);
        let metered = Metered::new(file, &meter);
        for _ in 0..10 {
            metered.read_exact_at(0, &mut [0; 100]).unwrap();
        }
        assert_eq!(clock.monotonic_nanos(), 9_000_000_000, "the first read is free");
        assert_eq!((metered.bytes_read(), meter.bytes_read()), (1_000, 1_000));
    }
}
