//! Asks for a cache line before it is needed: an instruction where there is one, nothing elsewhere.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the prefetch instruction is an intrinsic"))]

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Starts loading the line at `address`. Any address will do, mapped or not.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn prefetch(address: *const u8) {
    // SAFETY: a prefetch never faults and changes nothing but caches.
    unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast()) }
}

/// Starts loading the line at `address`: this architecture has no stable intrinsic for it.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn prefetch(address: *const u8) {
    let _ = address;
}
