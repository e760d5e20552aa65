//! What the benchmarks share: keys and values that are a pure function of their number, and trees filled with them.
//!
//! The suites lie in `benches/`: `calibrate` records what this machine charges for a miss, a copy, a hash or a sync,
//! without which no other figure means much; `engine` measures trees as a whole. Smaller pieces are measured in the
//! crates they belong to, and other engines by the driver in `peers/`.

mod cpu_time;
mod data;
mod trees;

pub use cpu_time::CpuTime;
pub use data::{KEY_BYTES, VALUE_BYTES, half_random, key, mix, permutation, scattered, value};
pub use trees::{Filters, Shape, fill, filled, four_levels, open};
