//! Appending and polling do not allocate, changes of segment included.
#![allow(unsafe_code)]

mod common;

use common::{backends, metadata};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tickcore_book::Sequence;
use tickcore_journal::{Options, Writer};

/// The system's allocator, counting what the thread that asks for it does.
struct Counting;

thread_local! {
    static IS_COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    if IS_COUNTING.get() {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches thread-locals that need no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(action: impl FnOnce()) -> u64 {
    COUNT.set(0);
    IS_COUNTING.set(true);
    action();
    IS_COUNTING.set(false);
    COUNT.get()
}

#[test]
fn append_and_poll_do_not_allocate() {
    assert!(allocations(|| drop(std::hint::black_box(Box::new(1)))) == 2, "the control: the counter counts");
    let threads = [None, Some(common::portable_thread())];
    for (backend, portable_thread) in backends().into_iter().flat_map(|one| threads.clone().map(|thread| (one, thread)))
    {
        let directory = tempfile::tempdir().unwrap();
        let small = Options { segment_bytes: 1 << 20, staging_bytes: 8 << 20, ..Options::default() };
        let options = Options { backend, portable_thread, output_streams: 2, ..small };
        let mut writer = Writer::create(directory.path(), options, metadata()).unwrap();
        common::append(&mut writer, 1000);
        writer.flush().unwrap();
        let found = allocations(|| {
            for round in 0..2000 {
                if !writer.has_mark(round % 9) {
                    writer.mark(round % 9, 7, round % 3 == 0);
                }
                common::append(&mut writer, 97);
                common::append_outputs(&mut writer, (round % 2) as u16, 13);
                writer.poll().unwrap();
            }
            writer.flush().unwrap();
        });
        assert!(writer.stats().segment_count > 10);
        assert_eq!(found, 0, "{backend}");
        assert_eq!(writer.finish().unwrap().durable, Sequence(1000 + 97 * 2000));
    }
}
