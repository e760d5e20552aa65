//! Threads that a job does not need for segments, lent to the writers of those that are left.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use lsm_types::Spawner;

/// Lends one thread of the pool at a time, and only while segments leave one of those the job may use: segments that
/// run or wait and the thread lent are never more than these together.
pub(crate) struct Lender {
    pool: Arc<dyn Spawner>,
    threads: usize,
    /// Segments that are not through.
    unfinished: AtomicUsize,
    is_lent: AtomicBool,
}

impl Lender {
    /// For `segments` segments of a job that may use `threads` threads.
    pub(crate) fn new(pool: Arc<dyn Spawner>, threads: usize, segments: usize) -> Arc<Self> {
        let (unfinished, is_lent) = (AtomicUsize::new(segments), AtomicBool::new(false));
        Arc::new(Self { pool, threads, unfinished, is_lent })
    }
}

/// Where the writers of a segment ask for a thread. Dropped when the segment is through.
pub(crate) struct Share(Arc<Lender>);

impl Share {
    /// That of one of the segments the lender was made for.
    pub(crate) fn new(lender: &Arc<Lender>) -> Self {
        Self(lender.clone())
    }

    /// For a writer.
    pub(crate) fn threads(&self) -> Arc<dyn Spawner> {
        Arc::new(Asked(self.0.clone()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.unfinished.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Asked(Arc<Lender>);

impl Spawner for Asked {
    /// Who finds no thread left gives the task up; the writer asks again.
    fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
        let lender = self.0.clone();
        self.0.pool.spawn(Box::new(move || {
            if let Some(_loan) = Loan::take(&lender) {
                task();
            }
        }));
    }
}

struct Loan<'a>(&'a Lender);

impl<'a> Loan<'a> {
    fn take(lender: &'a Lender) -> Option<Self> {
        // Segments only become fewer.
        let is_left = lender.unfinished.load(Ordering::Acquire) < lender.threads;
        (is_left && !lender.is_lent.swap(true, Ordering::AcqRel)).then_some(Self(lender))
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.0.is_lent.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Keeps what it is given until told to run it.
    #[derive(Default)]
    struct Later(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

    impl Spawner for Later {
        fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
            self.0.lock().push(task);
        }
    }

    /// Asks for a thread whose task, while it runs, runs `inner`; whether it ran.
    fn ask(pool: &Later, share: &Share, inner: impl FnOnce() + Send + 'static) -> bool {
        let ran = Arc::new(AtomicBool::new(false));
        let seen = ran.clone();
        share.threads().spawn(Box::new(move || {
            seen.store(true, Ordering::Relaxed);
            inner();
        }));
        let task = pool.0.lock().pop().unwrap();
        task();
        ran.load(Ordering::Relaxed)
    }

    /// Proves C-141, C-142: segments and the thread lent are never more than the job may use, and it is one at most.
    #[test]
    fn a_thread_is_lent_when_segments_leave_one() {
        for (threads, segments) in [(1, 1), (2, 1), (2, 2), (3, 2), (4, 2), (4, 4)] {
            let pool = Arc::new(Later::default());
            let lender = Lender::new(pool.clone(), threads, segments);
            let mut shares: Vec<Arc<Share>> = (0..segments).map(|_| Arc::new(Share::new(&lender))).collect();
            while let Some(share) = shares.last().cloned() {
                let (same, inner) = (pool.clone(), share.clone());
                let second = Arc::new(AtomicBool::new(false));
                let is_second = second.clone();
                let is_lent = ask(&pool, &share, move || {
                    is_second.store(ask(&same, &inner, || {}), Ordering::Relaxed);
                });
                assert_eq!(is_lent, shares.len() < threads, "{threads} threads, {} segments", shares.len());
                assert!(!second.load(Ordering::Relaxed), "one at a time");
                drop(share);
                shares.pop();
            }
        }
    }
}
