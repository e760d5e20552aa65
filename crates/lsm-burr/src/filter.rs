//! A filter opened for probing: its bytes where they lie, and the places of its parts.

use crate::geometry::Geometry;
use crate::header::Header;
use crate::kernel::Kernel;
use crate::list::List;
use crate::probe::{self, wide};
use crate::{BandWidth, Bits, FilterError, HashId, Stats, Structure};

/// A filter over bytes of any owner. Opening checks the bytes once; probing cannot fail and copies nothing.
#[derive(Clone, Debug)]
pub struct Filter<B> {
    bytes: B,
    header: Header,
    body: Body,
    kernel: Kernel,
}

/// A filter over borrowed bytes.
pub type FilterRef<'a> = Filter<&'a [u8]>;

/// The large ones are the usual ones, and a box would be a miss.
#[derive(Clone, Debug)]
enum Body {
    Layers(Geometry),
    /// Layers of equations that cover 128 slots.
    WideLayers(Geometry),
    List(List),
    /// Without keys: nothing is known, so anything may be there.
    Empty,
}

impl<B: AsRef<[u8]>> Filter<B> {
    /// Checks the shape of a filter that fills `bytes` to the last one. Takes time for the fixed head, the stash, and
    /// the upper bits of a list; allocates nothing.
    ///
    /// # Errors
    /// [`FilterError::Unsupported`] for a structure this version does not know, retrieval tables among them;
    /// [`FilterError::Truncated`] and [`FilterError::Malformed`] for bytes that are none.
    pub fn open(bytes: B) -> Result<Self, FilterError> {
        let header = Header::decode(bytes.as_ref())?;
        let body = match header.structure {
            Structure::Membership | Structure::FingerprintList if header.keys == 0 => Body::Empty,
            Structure::Membership => {
                let geometry = Geometry::new(&header, bytes.as_ref())?;
                match header.band {
                    BandWidth::Slots64 => Body::Layers(geometry),
                    BandWidth::Slots128 => Body::WideLayers(geometry),
                }
            }
            Structure::FingerprintList => Body::List(List::new(&header, bytes.as_ref())?),
            Structure::Retrieval => {
                let value = header.structure.code().into();
                return Err(FilterError::Unsupported { field: "structure", value });
            }
        };
        Ok(Self { bytes, header, body, kernel: Kernel::best() })
    }

    /// `false` only for a hash that was not put in. A filter without keys knows nothing and says `true`.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        match &self.body {
            Body::Layers(geometry) => probe::one(self.kernel, geometry, self.bytes.as_ref(), hash),
            Body::WideLayers(geometry) => wide::one(geometry, self.bytes.as_ref(), hash),
            Body::List(list) => list.may_contain(self.bytes.as_ref(), hash),
            Body::Empty => true,
        }
    }

    /// Probes for many hashes, and lets their cache misses overlap: `found[i]` is the answer for `hashes[i]`. The
    /// shorter of the two ends it.
    pub fn may_contain_batch(&self, hashes: &[u64], found: &mut [bool]) {
        match &self.body {
            Body::Layers(geometry) => {
                probe::many(self.kernel, geometry, self.bytes.as_ref(), hashes, found);
            }
            Body::WideLayers(geometry) => wide::many(geometry, self.bytes.as_ref(), hashes, found),
            Body::List(_) | Body::Empty => {
                for (answer, &hash) in found.iter_mut().zip(hashes) {
                    *answer = self.may_contain(hash);
                }
            }
        }
    }

    /// Starts loading the cache lines that a probe for `hash` will read. Worth it when other work lies between the two.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        match &self.body {
            Body::Layers(geometry) => probe::ask_for::<u64>(geometry, self.bytes.as_ref(), hash),
            Body::WideLayers(geometry) => probe::ask_for::<u128>(geometry, self.bytes.as_ref(), hash),
            Body::List(_) | Body::Empty => {}
        }
    }

    /// The instructions that probes use; equations of 128 slots have no others than [`Kernel::Scalar`]'s.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Uses other instructions, if this processor has them: for tests and measurements, as all answer the same.
    pub fn with_kernel(self, kernel: Kernel) -> Option<Self> {
        kernel.is_available().then_some(Self { kernel, ..self })
    }

    /// Bits per key.
    pub fn bits(&self) -> Bits {
        self.header.bits
    }

    /// What the hashes are hashes of.
    pub fn hash_id(&self) -> HashId {
        self.header.hash_id
    }

    /// What the filter is made of.
    pub fn stats(&self) -> Stats {
        Stats::new(&self.header, self.bytes.as_ref().len())
    }

    /// The bytes.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }
}
