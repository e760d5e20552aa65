//! Many values at once: what the cache lacks is read in the order of the file, neighbours in one read.

use lsm_fs::AccessHint;
use lsm_types::{Result, Slice, ValueHandle};

use super::{CacheUse, ValueLog, log::LogInner};

/// Bytes between two values that are read along rather than passed over.
const GAP_MAX: u64 = 4 << 10;
/// Longest read, in bytes; a longer value is read alone.
const READ_MAX: u64 = 256 << 10;

/// Values that are read together: their positions in the batch, ascending by offset, and what is read.
struct Run {
    wants: Vec<usize>,
    start: u64,
    end: u64,
}

impl ValueLog {
    /// The values behind `wants`, each the handle and the key of one entry, in the order asked. Each fails on its own.
    ///
    /// What is not in the cache is read in the order it lies in the file, values that are close to each other in one read of
    /// at most 256 KiB. The caller bounds the batch: all its values are in memory at once.
    pub fn get_batch(&self, wants: &[(ValueHandle, &[u8])], cache: CacheUse) -> Vec<Result<Slice>> {
        let inner = &*self.inner;
        let mut found: Vec<Option<Result<Slice>>> =
            wants.iter().map(|(handle, key)| inner.cached(handle, key).map(Ok)).collect();
        let missing = found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(at, _)| at);
        let runs = inner.runs(wants, missing.collect());
        inner.announce(&runs);
        for run in &runs {
            inner.read_run(run, wants, cache, &mut found);
        }
        let rest = wants.iter().zip(found);
        rest.map(|((handle, key), found)| found.unwrap_or_else(|| self.get(handle, key, cache))).collect()
    }
}

impl LogInner {
    /// What of `missing` is worth reading together. Values alone in their stretch, in chunks, or with a handle that leads
    /// nowhere are not in it: they are read one by one.
    fn runs(&self, wants: &[(ValueHandle, &[u8])], mut missing: Vec<usize>) -> Vec<Run> {
        let Ok(layout) = self.layout() else { return Vec::new() };
        let handle = |at: usize| wants.get(at).map(|(handle, _)| *handle);
        missing.retain(|&at| {
            handle(at).is_some_and(|handle| !handle.is_chunked() && layout.check_handle(&handle).is_ok())
        });
        missing.sort_unstable_by_key(|&at| handle(at).map(|handle| handle.offset));
        let mut runs: Vec<Run> = Vec::new();
        for at in missing {
            let Some((start, end)) = handle(at).and_then(|handle| Some((handle.offset, handle.end()?)))
            else {
                continue;
            };
            match runs.last_mut() {
                Some(run)
                    if start <= run.end.saturating_add(GAP_MAX)
                        && end.max(run.end) - run.start <= READ_MAX =>
                {
                    run.end = run.end.max(end);
                    run.wants.push(at);
                }
                _ => runs.push(Run { wants: vec![at], start, end }),
            }
        }
        runs
    }

    /// Tells the system what is read soon. Whatever hinders that shows when it is read.
    fn announce(&self, runs: &[Run]) {
        if runs.len() > 1
            && let Ok(file) = self.file()
        {
            for run in runs {
                file.hint(AccessHint::WillNeed { offset: run.start, len: run.end - run.start });
            }
        }
    }

    fn read_run(
        &self,
        run: &Run,
        wants: &[(ValueHandle, &[u8])],
        cache: CacheUse,
        found: &mut [Option<Result<Slice>>],
    ) {
        // Alone it is read by the way that every single read takes.
        if run.wants.len() < 2 {
            return;
        }
        // Where it fails each value is read alone, and tells its own error.
        let len = usize::try_from(run.end - run.start).unwrap_or(usize::MAX);
        let Ok(bytes) = self.read(run.start, len) else { return };
        for &at in &run.wants {
            let (Some((handle, key)), Some(slot)) = (wants.get(at), found.get_mut(at)) else { continue };
            *slot = Some(self.take(handle, key, (run.start, &bytes), cache));
        }
    }

    /// A value out of bytes that were read, which begin at `start`.
    fn take(
        &self,
        handle: &ValueHandle,
        key: &[u8],
        (start, bytes): (u64, &Slice),
        cache: CacheUse,
    ) -> Result<Slice> {
        let from = usize::try_from(handle.offset - start).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(handle.stored_len as usize).min(bytes.len());
        let layout = self.layout()?;
        let decoders = &self.env.tables.decoders;
        let value = decoders.with(|decoder| layout.decode(handle, key, &bytes.slice(from..to), decoder))?;
        // One that shares the bytes would keep all of them alive.
        let value = value.compact();
        self.keep(handle, key, &value, cache);
        Ok(value)
    }
}
