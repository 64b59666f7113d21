//! A packet must not cost an allocation. Counting them takes an allocator, and that `unsafe`, so this is not in the crate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use adit_wireguard::PrivateKey;
use adit_wireguard::testing::{DATA_OVERHEAD, Party};

/// The system's allocator, counting for each thread, because the harness has threads of its own.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[test]
fn sealing_and_opening_allocate_nothing() {
    let (ours, theirs) = (PrivateKey::from_bytes([1; 32]), PrivateKey::from_bytes([2; 32]));
    let (mut sender, mut receiver) = Party::new(ours, 1).shake_hands(&mut Party::new(theirs, 2)).unwrap();
    let mut message = [0; 1420 + DATA_OVERHEAD];
    let before = CALLS.get();
    assert!(before > 0, "the allocator counts");
    for _ in 0..100 {
        assert!(sender.seal(&mut message));
        assert_eq!(receiver.open(&mut message).map(|text| text.len()), Some(1420));
    }
    assert_eq!(CALLS.get() - before, 0);
}
