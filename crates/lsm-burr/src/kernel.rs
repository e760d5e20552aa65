//! Which instructions do the work. All give the same bytes and the same answers; the fastest there are is chosen.

use crate::solve::{System, solve};
use crate::width::Coefficients;

/// Instructions to build and probe with.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kernel {
    /// What every processor has: column by column, up to the first that differs.
    Scalar,
    /// AVX2: four columns at a time.
    Avx2,
    /// AVX-512 with VPOPCNTDQ: eight columns at a time.
    Avx512,
}

impl Kernel {
    /// All kernels, the fastest last.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The fastest this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|kernel| kernel.is_available()).unwrap_or(Self::Scalar)
    }

    /// Whether this processor has the instructions. Without the feature `std`: whether the crate was compiled for
    /// processors that all have them.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Avx2 => has!("avx2", "bmi1", "bmi2", "lzcnt", "popcnt"),
            Self::Avx512 => {
                has!("avx512f", "avx512dq", "avx512vpopcntdq", "avx2", "bmi1", "bmi2", "lzcnt", "popcnt")
            }
        }
    }

    /// Writes the solution of a layer's system of equations.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "instructions that not every processor has")
    )]
    pub(crate) fn solve<C: Coefficients>(self, system: &System<'_, C>, out: &mut [u8]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best` answers with a kernel that this processor has, and so does every filter.
            Self::Avx512 => unsafe { solve_avx512(system, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { solve_avx2(system, out) },
            _ => solve(system, out),
        }
    }
}

/// The portable code, compiled for eight lanes with a count of ones for each.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,lzcnt,popcnt")]
fn solve_avx512<C: Coefficients>(system: &System<'_, C>, out: &mut [u8]) {
    solve(system, out);
}

/// The portable code, compiled for processors that count ones.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn solve_avx2<C: Coefficients>(system: &System<'_, C>, out: &mut [u8]) {
    solve(system, out);
}

/// Whether the processor has all of some features.
#[cfg(all(target_arch = "x86_64", feature = "std"))]
macro_rules! has {
    ($($feature:tt),*) => { true $(&& std::arch::is_x86_feature_detected!($feature))* };
}
#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
macro_rules! has {
    ($($feature:tt),*) => { true $(&& cfg!(target_feature = $feature))* };
}
#[cfg(not(target_arch = "x86_64"))]
macro_rules! has {
    ($($feature:tt),*) => {
        false
    };
}
use has;
