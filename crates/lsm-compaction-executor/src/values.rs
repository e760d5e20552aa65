//! Separated values that a merge fetches, at the pace of its job.

use std::sync::Arc;

use lsm_table::Throttle;
use lsm_types::{Result, SeparatedValues, Slice, ValueHandle};

/// Asks the throttle for the bytes of a value before it is fetched.
pub(crate) struct PacedValues {
    values: Arc<dyn SeparatedValues>,
    throttle: Arc<dyn Throttle>,
}

impl PacedValues {
    pub(crate) fn new(values: Arc<dyn SeparatedValues>, throttle: Arc<dyn Throttle>) -> Arc<Self> {
        Arc::new(Self { values, throttle })
    }
}

impl SeparatedValues for PacedValues {
    fn fetch(&self, key: &[u8], handle: &[u8]) -> Result<Slice> {
        // What is no handle leads nowhere, and is found out there.
        let stored_len = ValueHandle::decode(handle).map_or(0, |handle| handle.stored_len);
        self.throttle.pass(stored_len.into())?;
        self.values.fetch(key, handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_types::VlogId;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[derive(Default)]
    struct Counted(AtomicU64);

    impl Throttle for Counted {
        fn pass(&self, bytes: u64) -> Result<()> {
            self.0.fetch_add(bytes, Relaxed);
            Ok(())
        }
    }

    impl SeparatedValues for Counted {
        fn fetch(&self, key: &[u8], _: &[u8]) -> Result<Slice> {
            self.0.fetch_add(1, Relaxed);
            Ok(Slice::copy_from(key))
        }
    }

    #[test]
    fn what_is_fetched_is_paid_for() {
        let (values, throttle) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
        let paced = PacedValues::new(values.clone(), throttle.clone());
        let handle = ValueHandle { file: VlogId::new(7), offset: 512, stored_len: 900, value_len: 800 };
        assert_eq!(paced.fetch(b"k", &handle.encode()).unwrap(), b"k"[..]);
        paced.fetch(b"k", b"no handle").unwrap();
        assert_eq!((values.0.load(Relaxed), throttle.0.load(Relaxed)), (2, 900));
    }
}
