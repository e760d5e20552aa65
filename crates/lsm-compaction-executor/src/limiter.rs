//! How fast compactions read and write.
//!
//! All jobs of a store share one [`RateLimiter`], and stores may share one. A job asks before every block it reads and
//! every piece it writes, by stored bytes, and waits where it asks. Flushes and reads never ask. Nobody waits with a lock
//! that others need: the arithmetic is done under one of the limiter's own, the wait is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lsm_table::Throttle;
use lsm_types::{Clock, Result};
use parking_lot::Mutex;

use crate::{Cancel, ExecutorError, JobWatch, bucket::Bucket};

/// Longest time between two looks at the stop flag, in nanoseconds.
const PAUSE_MAX: u64 = 50_000_000;

/// How a thread waits.
pub trait Pause: Send + Sync + 'static {
    /// Returns after about so many nanoseconds, or earlier.
    fn pause(&self, nanos: u64);
}

/// The thread sleeps.
#[derive(Clone, Copy, Debug, Default)]
struct Sleep;

impl Pause for Sleep {
    fn pause(&self, nanos: u64) {
        std::thread::sleep(Duration::from_nanos(nanos));
    }
}

/// Stored bytes per second that compactions may read and write, taken together.
///
/// A second's worth may pass at once. A request may be larger than that: it passes when what it overdraws is repaid.
/// Requests are served in their order.
pub struct RateLimiter {
    /// As in the bucket, for those whom nothing limits.
    rate: AtomicU64,
    bucket: Mutex<Bucket>,
    clock: Arc<dyn Clock>,
    pause: Arc<dyn Pause>,
}

impl RateLimiter {
    /// A limiter of so many bytes per second; 0 limits nothing.
    pub fn new(clock: Arc<dyn Clock>, bytes_per_s: u64) -> Self {
        let bucket = Mutex::new(Bucket::new(bytes_per_s, clock.monotonic_nanos()));
        Self { rate: AtomicU64::new(bytes_per_s), bucket, clock, pause: Arc::new(Sleep) }
    }

    /// Waits as `pause` does. Default: the thread sleeps.
    pub fn pausing(mut self, pause: Arc<dyn Pause>) -> Self {
        self.pause = pause;
        self
    }

    /// Bytes per second; 0 when nothing is limited.
    pub fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Changes the bytes per second, for those who wait, too; 0 lets all of them go on.
    pub fn set_rate(&self, bytes_per_s: u64) {
        let mut bucket = self.bucket.lock();
        bucket.set_rate(bytes_per_s, self.clock.monotonic_nanos());
        self.rate.store(bytes_per_s, Ordering::Relaxed);
    }

    /// Returns when so many bytes may pass.
    ///
    /// # Errors
    /// `Cancelled` within 50 ms after `cancel` was raised; the bytes are not counted then.
    #[inline]
    pub fn charge(&self, bytes: u64, cancel: &Cancel) -> Result<(), ExecutorError> {
        cancel.check()?;
        if self.rate() == 0 { Ok(()) } else { self.wait(bytes, cancel) }
    }

    fn wait(&self, bytes: u64, cancel: &Cancel) -> Result<(), ExecutorError> {
        let ticket = self.bucket.lock().debit(bytes, self.clock.monotonic_nanos());
        loop {
            let left = self.bucket.lock().left(ticket, self.clock.monotonic_nanos());
            if left == 0 {
                return Ok(());
            }
            if let Err(stopped) = cancel.check() {
                self.bucket.lock().refund(bytes, self.clock.monotonic_nanos());
                return Err(stopped);
            }
            self.pause.pause(left.min(PAUSE_MAX));
        }
    }
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter").field("rate", &self.bucket.lock().rate()).finish_non_exhaustive()
    }
}

/// What the readers and writers of one job ask.
pub(crate) struct Toll {
    pub(crate) limiter: Arc<RateLimiter>,
    pub(crate) cancel: Cancel,
    /// Is told what is read.
    pub(crate) watch: Option<Arc<dyn JobWatch>>,
}

impl Throttle for Toll {
    fn pass(&self, bytes: u64) -> Result<()> {
        self.limiter.charge(bytes, &self.cancel)?;
        if let Some(watch) = &self.watch {
            watch.read(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lsm_types::UnixNanos;

    use super::*;

    const S: u64 = 1_000_000_000;

    /// Time that passes when somebody waits.
    #[derive(Default)]
    struct Waiting {
        now: AtomicU64,
        pauses: AtomicU64,
        longest: AtomicU64,
        /// Raised at this moment.
        stop: Option<(u64, Cancel)>,
    }

    impl Clock for Waiting {
        fn now(&self) -> UnixNanos {
            UnixNanos::new(self.monotonic_nanos())
        }

        fn monotonic_nanos(&self) -> u64 {
            self.now.load(Ordering::SeqCst)
        }
    }

    impl Pause for Waiting {
        fn pause(&self, nanos: u64) {
            let now = self.now.fetch_add(nanos, Ordering::SeqCst) + nanos;
            self.pauses.fetch_add(1, Ordering::SeqCst);
            self.longest.fetch_max(nanos, Ordering::SeqCst);
            if let Some((at, cancel)) = &self.stop
                && now >= *at
            {
                cancel.cancel();
            }
        }
    }

    fn limiter(time: &Arc<Waiting>, rate: u64) -> RateLimiter {
        RateLimiter::new(time.clone(), rate).pausing(time.clone())
    }

    /// Proves C-157.
    #[test]
    fn without_a_rate_nobody_waits() {
        let time = Arc::new(Waiting::default());
        let limiter = limiter(&time, 0);
        for _ in 0..100 {
            limiter.charge(u64::MAX, &Cancel::new()).unwrap();
        }
        assert_eq!(time.pauses.load(Ordering::SeqCst), 0);
    }

    /// Proves C-157: what is charged in small pieces takes as long as what is charged in large ones.
    #[test]
    fn the_rate_is_kept_by_many_requests() {
        for piece in [10_000, 100_000, 1_000_000] {
            let time = Arc::new(Waiting::default());
            let limiter = limiter(&time, 1_000_000);
            for _ in 0..5_000_000 / piece {
                limiter.charge(piece, &Cancel::new()).unwrap();
            }
            assert_eq!(time.monotonic_nanos(), 4 * S);
        }
    }

    /// Proves C-158.
    #[test]
    fn a_stop_ends_the_wait_and_takes_nothing() {
        let cancel = Cancel::new();
        let stop = Some((10 * S, cancel.clone()));
        let time = Arc::new(Waiting { stop, ..Waiting::default() });
        let limiter = limiter(&time, 1_000);
        let error = limiter.charge(1_000_000, &cancel).unwrap_err();
        assert!(matches!(error, ExecutorError::Cancelled));
        assert!(time.longest.load(Ordering::SeqCst) <= 100_000_000);
        assert!(time.monotonic_nanos() <= 10 * S + 100_000_000);
        // A stop that is there already: nothing is debited, nobody sleeps.
        let pauses = time.pauses.load(Ordering::SeqCst);
        assert!(limiter.charge(5, &cancel).is_err());
        // What was not used is there for others.
        limiter.charge(1_000, &Cancel::new()).unwrap();
        assert_eq!(time.pauses.load(Ordering::SeqCst), pauses);
    }

    /// Lets those who wait go on after a second.
    struct Opens {
        time: Arc<Waiting>,
        limiter: Mutex<Option<Arc<RateLimiter>>>,
    }

    impl Pause for Opens {
        fn pause(&self, nanos: u64) {
            self.time.pause(nanos);
            if self.time.monotonic_nanos() >= S
                && let Some(limiter) = self.limiter.lock().take()
            {
                limiter.set_rate(0);
            }
        }
    }

    /// Proves C-157: the rate may be changed at any time, for those who wait, too.
    #[test]
    fn who_waits_goes_on_when_the_limit_is_lifted() {
        let time = Arc::new(Waiting::default());
        let opens = Arc::new(Opens { time: time.clone(), limiter: Mutex::new(None) });
        let limiter = Arc::new(RateLimiter::new(time.clone(), 1).pausing(opens.clone()));
        *opens.limiter.lock() = Some(limiter.clone());
        limiter.charge(u64::MAX, &Cancel::new()).unwrap();
        assert_eq!((time.monotonic_nanos(), limiter.rate()), (S, 0));
        limiter.charge(u64::MAX, &Cancel::new()).unwrap();
    }
}
