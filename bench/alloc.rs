//! The product's allocator with a count per thread of what passes through it.
//!
//! A thread's own count costs no shared cache line, so that what is measured isn't the measuring.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use mimalloc::MiMalloc;

pub(crate) struct Counting;

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { calls: 0, bytes: 0 }) };
}

/// Of one thread since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// Allocations and reallocations.
    pub calls: u64,
    /// Bytes taken and not given back; below zero when it freed what others took.
    pub bytes: i64,
}

/// What this thread has allocated so far.
pub(crate) fn count() -> Count {
    COUNT.get()
}

fn note(calls: u64, taken: usize, given: usize) {
    // A thread that is going has no count any more, and nobody asks for it.
    let _gone = COUNT.try_with(|count| {
        let so_far = count.get();
        let bytes = so_far.bytes + taken.cast_signed() as i64 - given.cast_signed() as i64;
        count.set(Count { calls: so_far.calls + calls, bytes });
    });
}

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: every call is passed on unchanged to an allocator that keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: the caller's promises are the callee's.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: the caller's promises are the callee's.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        // SAFETY: the caller's promises are the callee's.
        unsafe { MiMalloc.dealloc(old, layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size, layout.size());
        // SAFETY: the caller's promises are the callee's.
        unsafe { MiMalloc.realloc(old, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted() {
        let before = count();
        let kept = std::hint::black_box(vec![0u8; 1000]);
        let during = count();
        assert_eq!((during.calls - before.calls, during.bytes - before.bytes), (1, 1000));
        drop(kept);
        assert_eq!(count().bytes, before.bytes);
    }
}
