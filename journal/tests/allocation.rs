//! Appending and polling do not allocate, changes of segment included.

mod common;

use common::{backends, metadata};
use tickcore_allocations::{CountingAllocator, calls_during, is_counting};
use tickcore_book::Sequence;
use tickcore_journal::{Options, Writer};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn append_and_poll_do_not_allocate() {
    assert!(is_counting(), "the control: the counter counts");
    let threads = [None, Some(common::portable_thread())];
    for (backend, portable_thread) in backends().into_iter().flat_map(|one| threads.clone().map(|thread| (one, thread)))
    {
        let directory = tempfile::tempdir().unwrap();
        let small = Options { segment_bytes: 1 << 20, staging_bytes: 8 << 20, ..Options::default() };
        let options = Options { backend, portable_thread, output_streams: 2, ..small };
        let mut writer = Writer::create(directory.path(), options, metadata()).unwrap();
        common::append(&mut writer, 1000);
        writer.flush().unwrap();
        let ((), found) = calls_during(|| {
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
