//! Membership filters and retrieval tables within a few percent of the smallest size possible.
//!
//! A *filter* is built once from 64-bit hashes and then answers "certainly absent" or "maybe". With `r` bits per key
//! it errs for one absent hash in 2^r, and never for one that was put in. A *retrieval* table hands back the small
//! number that was stored with a hash. Both are bumped ribbon retrieval (BuRR): a system of linear equations over
//! single bits whose solution is all that is stored, so a filter of 8 bits per key takes about 8.04. Building cannot
//! fail, and the same hashes give the same bytes in any order.
//!
//! The bytes stand alone (`docs/format/filter.md`) and are used where they lie: opening checks them once, copies
//! nothing, and probes read two neighbouring cache lines for nearly all hashes. Buffers aligned to 64 bytes are
//! fastest; any alignment works.
//!
//! ```
//! use lsm_burr::{Bits, Builder, FilterRef};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut builder = Builder::new(Bits::new(8.0)?);
//! for key in 0..10_000_u64 {
//!     builder.push(key); // any 64-bit hash of a key; these are as good as others
//! }
//! let mut bytes = Vec::new();
//! builder.finish(&mut bytes)?;
//! assert!(bytes.len() < 10_200);
//!
//! let filter = FilterRef::open(&bytes)?;
//! assert!((0..10_000).all(|key| filter.may_contain(key)));
//! let wrong = (10_000..20_000).filter(|&key| filter.may_contain(key)).count();
//! assert!(wrong < 80);
//! # Ok(())
//! # }
//! ```
//!
//! Method: Dillinger, Hübschle-Schneider, Sanders, Walzer, "Fast Succinct Retrieval and Approximate Membership Using
//! Ribbon", SEA 2022.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod band;
mod bits;
mod builder;
mod error;
mod filter;
mod geometry;
mod hash;
mod header;
mod kernel;
mod list;
mod place;
mod probe;
mod retrieval;
mod solve;
mod stats;
mod tower;
mod width;

pub use bits::Bits;
pub use builder::Builder;
pub use error::{BuildError, FilterError};
pub use filter::{Filter, FilterRef};
pub use kernel::Kernel;
pub use retrieval::{Retrieval, RetrievalBuilder};
pub use stats::{HashId, Stats, Structure};
pub use width::BandWidth;
