//! Killed without warning, a writer leaves everything that it called written.
//!
//! The test starts its own binary again as the writer, kills it at a random moment, and recovers. A page cache and a
//! disk survive a process, so `written` is the promise; power cuts are another matter and need another machine.

mod common;

use common::{append, append_outputs, check_streams, event, metadata, read_back};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tickcore_book::Sequence;
use tickcore_journal::{Backend, Options, Reader, Status, Tail, Writer, recover, verify};

const DIRECTORY: &str = "TICKCORE_JOURNAL_TEST_DIRECTORY";
const BACKEND: &str = "TICKCORE_JOURNAL_TEST_BACKEND";

fn options(backend: Backend) -> Options {
    Options { segment_bytes: 1 << 20, staging_bytes: 4 << 20, output_streams: 1, backend, ..Options::default() }
}

/// Not a test of its own: the process that is killed. Creates or resumes the journal and writes until then.
#[test]
fn child_that_writes() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let name = std::env::var(BACKEND).unwrap();
    let backend = if name.starts_with("portable") { Backend::Portable } else { Backend::IoUringFixed };
    let thread = (name == "portable_thread").then(common::portable_thread);
    let options = Options { portable_thread: thread, ..options(backend) };
    let path = PathBuf::from(&directory);
    let mut writer = if path.join("status").exists() {
        Writer::resume(&path, options).unwrap().0
    } else {
        Writer::create(&path, options, metadata()).unwrap()
    };
    // Bounded, in case nobody comes to kill it.
    let start = Instant::now();
    let mut batch = 1;
    while start.elapsed() < Duration::from_secs(20) {
        batch = batch * 29 % 1009;
        append(&mut writer, batch);
        append_outputs(&mut writer, 0, batch / 9);
        writer.poll().unwrap();
        writer.wait(Duration::from_micros(batch / 8)).unwrap();
    }
}

/// Kills for each backend; `TICKCORE_JOURNAL_KILLS` asks for more than the usual few.
fn kills() -> u32 {
    std::env::var("TICKCORE_JOURNAL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// A child that is killed in any case.
struct Writing(Child);

impl Writing {
    fn start(directory: &Path, backend: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(BACKEND, backend)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn a_killed_writer_leaves_what_it_called_written() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    eprintln!("seed of the moments: {seed}");
    let mut random = u64::from(seed) | 1;
    for backend in ["io_uring", "portable", "portable_thread"] {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("journal");
        let mut last = 0;
        for round in 0..kills() {
            let mut child = Writing::start(&directory, backend);
            let start = Instant::now();
            // From the moment on that this run has written something.
            while Status::open(&directory).ok().is_none_or(|status| status.read().watermarks.written.0 <= last) {
                assert!(start.elapsed() < Duration::from_secs(10), "the child does not write");
                std::thread::sleep(Duration::from_millis(1));
            }
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::thread::sleep(Duration::from_micros(random % 60_000));
            child.kill();

            let page = Status::open(&directory).unwrap();
            let (status, outputs) = (page.read(), page.outputs(0));
            assert!(status.watermarks.durable <= status.watermarks.written);
            // The first of the two looks at what the crash left, the second at what recovery made of it.
            let before = read_back(&directory).0;
            let recovery = recover(&directory).unwrap();
            let (read, tail) = read_back(&directory);
            assert_eq!((Sequence(read), tail), (recovery.last_sequence, Tail::Sealed));
            assert_eq!(read, before);
            assert!(recovery.last_sequence >= status.watermarks.written, "{recovery:?}, {status:?}");
            assert!(
                outputs.durable <= outputs.written && recovery.outputs[0].1 >= outputs.written,
                "{recovery:?}, {outputs:?}"
            );
            check_streams(&directory, backend);
            assert!(read > last, "round {round} added nothing");
            let report = verify(&directory, |_| ()).unwrap();
            assert!(report.is_intact(), "{:?}", report.damages);
            eprintln!("{backend} round {round}: {read} records, cut {:?}", recovery.cut);
            last = read;
        }
        // The control: the check of content is one that can fail.
        let mut reader = Reader::open(&directory).unwrap();
        let record = reader.next_batch().unwrap().unwrap()[0];
        assert!(record.event == event(1) && record.event != event(2));
    }
}
