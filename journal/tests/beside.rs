//! What looks at a journal beside a writer that lets segments go and somebody who compacts them: whatever names files have
//! by then, nothing of it is damage.

mod common;

use common::{append, append_outputs, event, metadata, options};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tickcore_journal::{
    Checkpoints, Helper, Options, ReadError, Reader, Retention, Stream, Writer, boundaries, compact, info, verify,
};

/// How long the writer is looked at.
const TIME: Duration = Duration::from_secs(2);

/// Looks in one of several ways.
fn look(way: usize, path: &Path) -> Result<(), String> {
    let text = |error: &dyn ToString| error.to_string();
    match way {
        0 => {
            let found = info(path).map_err(|error| text(&error))?;
            found.damage.map_or(Ok(()), |damage| Err(text(&damage)))
        }
        1 => {
            let report = verify(path, |_| ()).map_err(|error| text(&error))?;
            report.damages.first().map_or(Ok(()), |damage| Err(text(damage)))
        }
        2 => compact(path, 1, |_, _| ()).map(|_| ()).map_err(|error| text(&error)),
        3 => boundaries(path).and_then(|_| Checkpoints::open(path)).map(|_| ()).map_err(|error| text(&error)),
        _ => {
            let stream = if way == 4 { Stream::INPUTS } else { Stream::outputs_of(0) };
            let mut reader = Reader::open_stream(path, stream).map_err(|error| text(&error))?;
            let mut last = None;
            loop {
                match reader.next_batch() {
                    Ok(Some(records)) => {
                        for record in records {
                            let number = record.sequence.0;
                            assert!(last.is_none_or(|last| number == last + 1), "{number} behind {last:?}");
                            assert!(way != 4 || record.event == event(number));
                            last = Some(number);
                        }
                    }
                    Ok(None) | Err(ReadError::Released { .. }) => return Ok(()),
                    Err(error) => return Err(text(&error)),
                }
            }
        }
    }
}

#[test]
fn nothing_is_called_damaged_that_is_only_on_its_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (helper, handle) = Helper::new(1 << 30, None);
    let small = Options {
        segment_bytes: 32 << 10,
        frame_bytes: 8 << 10,
        output_streams: 1,
        retention: Retention { segments_max: Some(3), ..Retention::default() },
        helper: Some(handle),
        ..options()
    };
    let mut writer = Writer::create(path, small, metadata()).unwrap();
    let (is_over, looks) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 6]);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| helper.run());
        for (way, looks) in looks.iter().enumerate() {
            let (is_over, wrong) = (&is_over, &wrong);
            scope.spawn(move || {
                while !is_over.load(Relaxed) {
                    looks.fetch_add(1, Relaxed);
                    if let Err(error) = look(way, path) {
                        wrong.lock().unwrap().push(format!("way {way}: {error}"));
                    }
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < TIME {
            append(&mut writer, 150);
            append_outputs(&mut writer, 0, 20);
            writer.flush().unwrap();
            std::thread::sleep(Duration::from_micros(500));
        }
        is_over.store(true, Relaxed);
        let segments = writer.stats().segment_count;
        writer.finish().unwrap();
        assert!(segments > 20 && looks.iter().all(|looks| looks.load(Relaxed) > 3), "{segments} segments, {looks:?}");
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} times, first: {}", wrong.len(), wrong[0]);
    let report = verify(path, |_| ()).unwrap();
    let packed = report.unused.iter().filter(|file| file.contains(".tcz")).count();
    assert!(report.is_intact() && packed == 0, "{report:?}");
}
