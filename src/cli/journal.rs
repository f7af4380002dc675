//! `journal info|verify|dump`: looking at a journal, none of which writes; `repair` and `compact`.

use super::args::JournalVerb;
use super::progress::{Bar, Unit};
use super::time::TimeBase;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use tickcore::book::{EVENT_WORDS, Kind, Sequence, TimestampNs};
use tickcore::journal::{
    Cut, Damage, Info, Mark, Progress, Reader, Record, RepairStep, Seal, Start, Stream, StreamInfo, Tail, VerifyReport,
    compact, info, plan_repair, repair, verify,
};
use tickcore::latency::grouped;

/// How often a dump that follows a writer looks for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) fn run(verb: &JournalVerb) -> Result<ExitCode> {
    match verb {
        JournalVerb::Info { dir, json } => print_info(dir, *json),
        JournalVerb::Verify { dir, json } => print_verify(dir, *json),
        JournalVerb::Repair { dir, yes, json } => print_repair(dir, *yes, *json),
        JournalVerb::Compact { dir, level, json } => print_compact(dir, *level, *json),
        JournalVerb::Dump { dir, stream, from, from_time, count, follow, json: _ } => {
            let start = match from_time {
                None => Start::Sequence(Sequence(*from)),
                Some(text) => Start::Time(parse_time(dir, text)?),
            };
            let stream = stream.checked_sub(1).map_or(Stream::INPUTS, Stream::outputs_of);
            dump(dir, stream, start, count.unwrap_or(u64::MAX), *follow)
        }
    }
}

/// A time of the command line that is one of the journal's.
fn parse_time(dir: &Path, text: &str) -> Result<TimestampNs> {
    let mut reader = Reader::open(dir)?;
    let has_times_since_midnight = reader.metadata().has_times_since_midnight;
    let first = reader.next_batch()?.and_then(<[_]>::first).map(|record| record.event.exchange_time);
    super::select::parse_time(TimeBase::of_journal(has_times_since_midnight, first), Some(text), TimestampNs(0))
}

fn print_info(dir: &Path, is_json: bool) -> Result<ExitCode> {
    let info = info(dir)?;
    if is_json {
        writeln!(io::stdout(), "{}", info_json(dir, &info))?;
    } else {
        write!(io::stdout(), "{}", info_text(dir, &info))?;
    }
    Ok(if info.damage.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn range<T: Copy>(range: Option<(T, T)>, get: impl Fn(T) -> u64) -> Value {
    range.map_or(Value::Null, |(first, last)| json!([get(first), get(last)]))
}

fn seal_name(seal: Option<Seal>) -> Option<String> {
    seal.map(|seal| format!("{seal:?}").to_lowercase())
}

fn tail_json(tail: &Tail) -> Value {
    match tail {
        Tail::Sealed => json!({"state": "sealed"}),
        Tail::Unsealed { file, offset } => json!({"state": "unsealed", "file": file, "offset": offset}),
        Tail::Torn { file, offset, bytes } => {
            json!({"state": "torn", "file": file, "offset": offset, "bytes": bytes})
        }
        _ => json!({"state": "unread"}),
    }
}

fn tail_text(tail: &Tail) -> String {
    match tail {
        Tail::Sealed => "sealed".to_owned(),
        Tail::Unsealed { file, offset } => {
            format!(
                "{file} is not sealed, its records end at offset {offset}: still being written, or cut off by a crash"
            )
        }
        Tail::Torn { file, offset, bytes } => {
            format!(
                "{file} is torn at offset {offset}, {bytes} bytes behind it are unfinished writes: still being written, or cut off by a crash, and --resume cuts them"
            )
        }
        _ => "not reached".to_owned(),
    }
}

fn damage_json(damage: &Damage) -> Value {
    json!({
        "file": damage.file,
        "offset": damage.offset,
        "sequence": damage.sequence.get(),
        "what": damage.fault.to_string(),
    })
}

fn streams_json(streams: &[StreamInfo]) -> Value {
    let streams = streams.iter().map(|found| {
        json!({
            "stream": found.stream.number(),
            "core": found.stream.core(),
            "records": found.record_count,
            "sequences": [found.first.get(), found.last.get()],
        })
    });
    streams.collect()
}

/// Of the outputs; what is said of the whole says it of the inputs where there is nothing else.
fn outputs_text(streams: &[StreamInfo]) -> impl Iterator<Item = (String, String)> {
    let outputs = streams.iter().filter(|found| found.stream != Stream::INPUTS);
    outputs.map(|found| {
        let StreamInfo { stream, first, last, record_count, .. } = found;
        (stream.to_string(), format!("{} records, {first} to {last}", grouped(*record_count)))
    })
}

fn info_json(dir: &Path, info: &Info) -> Value {
    let segments = info.segments.iter().map(|segment| {
        json!({
            "file": segment.file,
            "number": segment.number,
            "epoch": segment.epoch,
            "bytes": segment.bytes,
            "frames": segment.frame_count,
            "records": segment.record_count,
            "sequences": range(segment.sequences, Sequence::get),
            "seal": seal_name(segment.seal),
        })
    });
    let metadata = &info.metadata;
    json!({
        "dir": dir.display().to_string(),
        "journal_id": info.journal.to_string(),
        "input": metadata.input,
        "created": metadata.created.get(),
        "times_since_midnight": metadata.has_times_since_midnight,
        "capacity": {
            "instruments_max": metadata.capacities.instruments_max,
            "orders_max": metadata.capacities.orders_max,
            "levels_max": metadata.capacities.levels_max,
        },
        "records": info.record_count,
        "bytes": info.bytes,
        "sequences": range(info.sequences, Sequence::get),
        "times": range(info.times, TimestampNs::get),
        "streams": streams_json(&info.streams),
        "output_cores": info.output_cores,
        "last_marks": info.last_marks.iter().map(|mark| json!({
            "channel": mark.channel,
            "sequence": mark.sequence.get(),
            "venue_sequence": mark.venue_sequence,
        })).collect::<Vec<_>>(),
        "sealed": info.is_sealed(),
        "tail": tail_json(&info.tail),
        "damage": info.damage.as_ref().map(damage_json),
        "checkpoints": info.checkpoints.iter().map(|sequence| sequence.get()).collect::<Vec<_>>(),
        "status": info.status.as_ref().map(|status| json!({
            "process_id": status.process_id,
            "written_sequence": status.watermarks.written.get(),
            "durable_sequence": status.watermarks.durable.get(),
            "state": format!("{:?}", status.state).to_lowercase(),
        })),
        "segments": segments.collect::<Vec<_>>(),
    })
}

fn info_text(dir: &Path, info: &Info) -> String {
    let row = |name: &str, value: String| (name.to_owned(), value);
    let mut rows = vec![
        row("journal", format!("{} ({})", dir.display(), info.journal)),
        row("input", info.metadata.input.clone()),
        row("records", grouped(info.record_count)),
    ];
    if let Some((first, last)) = info.sequences {
        rows.push(row("sequences", format!("{first} to {last}")));
    }
    if let Some((first, last)) = info.times {
        let base = TimeBase::of_journal(info.metadata.has_times_since_midnight, Some(first));
        rows.push(row("times", format!("{} to {}", base.format(first), base.format(last))));
    }
    rows.extend(info.output_cores.map(|cores| row("output cores", cores.to_string())));
    rows.extend(outputs_text(&info.streams));
    for Mark { channel, sequence, venue_sequence, .. } in &info.last_marks {
        rows.push((format!("channel {channel}"), format!("message {venue_sequence} was sequence {sequence}")));
    }
    let mut bytes = format!("{} in {} segments", grouped(info.bytes), info.segments.len());
    match info.segments.iter().filter(|segment| segment.file.ends_with(".tcz")).count() {
        0 => {}
        count => bytes += &format!(", {count} of them compacted to less"),
    }
    rows.push(row("bytes", bytes));
    rows.push(row("end", tail_text(&info.tail)));
    if let Some(newest) = info.checkpoints.last() {
        rows.push(row("checkpoints", format!("{}, the newest of sequence {newest}", info.checkpoints.len())));
    }
    if let Some(status) = &info.status {
        rows.push(row(
            "writer",
            format!(
                "process {} said: written to {}, durable to {}, {:?}",
                status.process_id, status.watermarks.written, status.watermarks.durable, status.state
            ),
        ));
    }
    if let Some(damage) = &info.damage {
        rows.push(row("damage", damage.to_string()));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn print_verify(dir: &Path, is_json: bool) -> Result<ExitCode> {
    let bar = Bar::new(0, Unit::Bytes);
    let report = verify(dir, shown_on(&bar, "verifying"))?;
    bar.finish();
    if is_json {
        writeln!(io::stdout(), "{}", verify_json(dir, &report))?;
    } else {
        let VerifyReport { segment_count, frame_count, record_count, bytes, .. } = report;
        writeln!(
            io::stdout(),
            "{} records in {} frames of {} segments, {} bytes read; end: {}",
            grouped(record_count),
            grouped(frame_count),
            segment_count,
            grouped(bytes),
            tail_text(&report.tail)
        )?;
        for (name, value) in outputs_text(&report.streams) {
            writeln!(io::stdout(), "{name}: {value}")?;
        }
        for damage in &report.damages {
            writeln!(io::stdout(), "damage: {damage}")?;
        }
        for file in &report.unused {
            writeln!(io::stdout(), "not part of the journal: {file}")?;
        }
        for passed_over in &report.passed_over {
            writeln!(io::stdout(), "{passed_over}")?;
        }
    }
    if report.is_intact() {
        return Ok(ExitCode::SUCCESS);
    }
    let places = report.damages.len();
    eprintln!(
        "tickcore: {dir} is damaged in {places} {}: `tickcore journal repair {dir}` keeps what stands before the first and puts the rest aside; whole copies of the files that are named, put in their place, lose nothing",
        if places == 1 { "place" } else { "places" },
        dir = dir.display(),
    );
    Ok(ExitCode::FAILURE)
}

/// Progress of what reads a whole journal.
fn shown_on(bar: &Bar, doing: &'static str) -> impl Fn(Progress) {
    move |progress| bar.set(progress.bytes_done, progress.bytes_total.max(1), doing.to_owned())
}

fn verify_json(dir: &Path, report: &VerifyReport) -> Value {
    json!({
        "dir": dir.display().to_string(),
        "intact": report.is_intact(),
        "segments": report.segment_count,
        "frames": report.frame_count,
        "records": report.record_count,
        "bytes": report.bytes,
        "sequences": range(report.sequences, Sequence::get),
        "streams": streams_json(&report.streams),
        "tail": tail_json(&report.tail),
        "damages": report.damages.iter().map(damage_json).collect::<Vec<_>>(),
        "unused": report.unused,
        "checkpoints": report.checkpoint_count,
        "checkpoints_passed_over": report.passed_over.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Says what is to be done, asks, and does it. Without an answer to be had, `--yes` has to be given.
fn print_repair(dir: &Path, is_agreed: bool, is_json: bool) -> Result<ExitCode> {
    let bar = Bar::new(0, Unit::Bytes);
    let steps = plan_repair(dir, shown_on(&bar, "looking for damage"))?;
    bar.finish();
    let texts = |steps: &[RepairStep]| steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    texts(&steps).iter().for_each(|step| eprintln!("{step}"));
    if !steps.is_empty() && !is_agreed && !is_confirmed()? {
        bail!("nothing was changed; give --yes to repair");
    }
    // What a crash has left is for --resume: a repair of what is not damaged changes nothing.
    let (steps, last_sequence, cut) = if steps.is_empty() {
        (steps, info(dir)?.sequences.map_or(Sequence(0), |(_, last)| last), None)
    } else {
        let bar = Bar::new(0, Unit::Bytes);
        let (steps, recovery) = repair(dir, shown_on(&bar, "repairing"))?;
        bar.finish();
        (steps, recovery.last_sequence, recovery.cut)
    };
    if is_json {
        let json = json!({
            "dir": dir.display().to_string(),
            "steps": texts(&steps),
            "last_sequence": last_sequence.get(),
            "cut": cut.map(|Cut { file, offset, bytes }| json!({"file": file, "offset": offset, "bytes": bytes})),
        });
        writeln!(io::stdout(), "{json}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Cut { file, offset, bytes }) = cut {
        writeln!(io::stdout(), "{file}: {bytes} bytes behind offset {offset} were never durable, and are cut")?;
    }
    match steps.len() {
        0 => writeln!(
            io::stdout(),
            "0 steps: nothing is damaged, and nothing was changed; the journal goes to sequence {last_sequence}"
        )?,
        count => writeln!(io::stdout(), "{count} steps; the journal goes to sequence {last_sequence}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn is_confirmed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Do that? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn print_compact(dir: &Path, level: i32, is_json: bool) -> Result<ExitCode> {
    let bar = Bar::new(0, Unit::Bytes);
    let done = compact(dir, level, |done, total| bar.set(done, total.max(1), "compacting".to_owned()))?;
    bar.finish();
    if is_json {
        let json = json!({
            "dir": dir.display().to_string(),
            "files": done.files,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
        });
        writeln!(io::stdout(), "{json}")?;
    } else {
        let (before, after) = (grouped(done.bytes_before), grouped(done.bytes_after));
        writeln!(io::stdout(), "{} segments compacted, {before} bytes before, {after} now", done.files.len())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints records as they are, one JSON object a line.
fn dump(dir: &Path, stream: Stream, start: Start, count: u64, follows: bool) -> Result<ExitCode> {
    let mut reader = Reader::open_stream_at(dir, stream, start)?;
    let mut output = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    if follows {
        reader.follow().context("the journal has no status page to follow its writer by")?;
    }
    let mut left = count;
    while left > 0 {
        let is_running = reader.is_writer_running();
        if reader.next_batch()?.is_none() {
            if !is_running {
                break;
            }
            output.flush().context("writing records")?;
            thread::sleep(FOLLOW_INTERVAL);
            continue;
        }
        for record in reader.batch() {
            if left == 0 {
                break;
            }
            let marks = reader.marks().filter(|mark| mark.sequence == record.sequence);
            write_record(&mut output, record, marks).context("writing records")?;
            left -= 1;
        }
    }
    output.flush().context("writing records")?;
    Ok(ExitCode::SUCCESS)
}

fn write_record(output: &mut impl Write, record: &Record, marks: impl Iterator<Item = Mark>) -> io::Result<()> {
    let event = &record.event;
    let words: [u64; EVENT_WORDS] = event.to_words();
    write!(
        output,
        "{{\"sequence\":{},\"kind\":\"{}\",\"instrument\":{},\"exchange_time\":{},\"receive_time\":{},\"order_id\":{},\"reference\":{},",
        record.sequence,
        event.kind().map_or("unknown", Kind::name),
        event.instrument,
        words[0],
        words[1],
        words[2],
        words[3],
    )?;
    write!(
        output,
        "\"price\":{},\"quantity\":{},\"side\":{},\"flags\":{}",
        event.price.get(),
        words[5],
        event.side_number,
        event.flags.0
    )?;
    let mut separator = ",\"marks\":[";
    for Mark { channel, venue_sequence, .. } in marks {
        write!(output, "{separator}{{\"channel\":{channel},\"venue_sequence\":{venue_sequence}}}")?;
        separator = ",";
    }
    writeln!(output, "{}", if separator == "," { "]}" } else { "}" })
}
