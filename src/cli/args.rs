//! The command line: one table that parsing, help, completions and the man page are made of.

use super::journal_args::JournalArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use core::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;
use tickcore::pace::Pace;
use tickcore::pin;
use tickcore::stat::StatFile;
use tickcore::topology::Topology;

/// Full-depth order books on pinned cores, journaled and replayed bit for bit.
#[derive(Debug, Parser)]
#[command(
    name = "tickcore",
    version,
    max_term_width = 110,
    after_help = "Exit status: 0 done, 1 the run failed (the message says what to do), 2 wrong usage.\n\
                  With --json exactly one JSON object goes to standard output; everything else goes to standard error."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build every book from market data, and journal each event if asked to.
    #[command(after_help = "Examples:\n  \
        tickcore replay 01302020.NASDAQ_ITCH50.gz --journal day.journal\n  \
        tickcore replay day.journal --json            the same books from the journal alone\n  \
        tickcore replay day.itch --from 09:30 --to 10:00 --pace 10x --symbols AAPL,MSFT\n  \
        tickcore replay day.itch --topology pipelined --cores 2,3 --report latency/\n  \
        tickcore replay day.itch --topology sharded --shards 3 --cores 2-5\n  \
        tickcore replay day.itch --pace poisson:1000000 --report latency/\n  \
        tickcore replay day.itch --pace 500000 --journal day.journal --journal-ahead 2s --journal-keep-size 100GiB\n  \
        tickcore replay day.itch --journal day.journal --journal-on-seal 'cp \"$1\" /archive/'\n\n\
        Threads that spin need a core each. On two cores: inline, with the journal on the second (the default); or\n\
        pipelined, with the journal asleep between writes. The counters of a run can be watched with tickcore stat.\n\n\
        Pace:\n  \
        max                          as fast as the cores go\n  \
        realtime, 10x, 0.5x          at the exchange times' own distances, or these compressed\n  \
        1000000                      events per second, evenly\n  \
        poisson:1000000[:SEED]       so many a second on average, at random distances (seed 1)\n  \
        bursts:1000:10ms[:50ns]      1000 events every 10 ms, all due at once or 50 ns apart\n  \
        steps:1000000:8000000:8:1s   from one rate to another in 8 steps of equal ratio, a second each\n\n\
        A journal survives the machine up to its durable sequence, which is printed. When it fails, the run stops and\n\
        says at which sequence; cure what it names, then the same command with --resume goes on.")]
    Replay(Box<ReplayArgs>),
    /// Write book data as CSV or JSON lines: BBO, depth, trades or every order event.
    #[command(after_help = "Examples:\n  \
        tickcore export day.itch --schema bbo --symbols AAPL -o aapl.csv\n  \
        tickcore export day.journal --schema mbp-10 --format jsonl")]
    Export(ExportArgs),
    /// Print one book with the queue lengths of its levels.
    #[command(after_help = "Example:\n  tickcore book day.itch --symbol AAPL --at 10:15:00 --depth 10")]
    Book(BookArgs),
    /// Look at a journal, check every byte of it, or print its events.
    Journal {
        #[command(subcommand)]
        verb: JournalVerb,
    },
    /// Write a checkpoint of a journal's end, from the newest one and what comes behind it.
    #[command(after_help = "Example:\n  tickcore checkpoint day.journal\n\n\
        replay --journal DIR --resume goes on from the newest valid checkpoint. Two are kept. The journal\n\
        must not be written meanwhile: beside a run checkpoints are made by replay --checkpoint-every. A\n\
        program that embeds the engine with a strategy of its own makes them by tickcore::checkpoint::make,\n\
        with the strategy's state in them.")]
    Checkpoint(CheckpointArgs),
    /// Make a synthetic ITCH 5.0 day, byte-identical for the same arguments.
    #[command(
        after_help = "Example:\n  tickcore generate -o 01302020.itch --messages 10000000 --instruments 8000 --seed 1"
    )]
    Generate(GenerateArgs),
    /// Watch the counters of a running engine, core by core.
    #[command(after_help = "Examples:\n  \
        tickcore stat                     the engine that runs here, every second until it ends\n  \
        tickcore stat 4711 --interval 10  the one of process 4711, every ten seconds\n  \
        tickcore stat --json              one look, as one JSON object\n\n\
        What the lines say:\n  \
        events/s      taken by this core: published, applied, or appended to the journal\n  \
        passed over/s events of instruments that other cores keep (topology sharded)\n  \
        behind        events in the ring that it has yet to take\n  \
        full/s        times at which it found no room: feed in the ring, journal in its buffer\n  \
        stalls/s      times at which it did not loop for longer than --stall-threshold: idle ones are the machine's\n  \
                      doing (preemption, interrupts), working ones the machine's or the program's\n  \
        to write, to sync  events that the journal has taken and that are not yet written, not yet durable\n  \
        loops         no = the core has not come round since the last look: it is stuck in a call, or was stopped\n\n\
        Looking does not disturb: each core stores its counters once a batch, whether anybody reads them or not.")]
    Stat(StatArgs),
    /// Show the latencies that replay --report stored, and write its page again.
    #[command(after_help = "Examples:\n  \
        tickcore report latency/            table and plot; writes latency/report.html\n  \
        tickcore report latency/ --json     the same figures for scripts\n  \
        tickcore report other.hlog          an interval log of any program with HdrHistogram\n\n\
        What the figures say and do not say: docs/BENCHMARKING.md.")]
    Report(super::report::ReportArgs),
    /// Tell whether one command, or one stored report, is slower than another: exit status 1 when it is.
    #[command(after_help = "Examples:\n  \
        tickcore compare --repeat 20 -- ./old replay day.itch --json -- ./new replay day.itch --json\n  \
        tickcore compare --threshold 3 --html diff.html -- sh -c 'make test' -- sh -c 'make -j2 test'\n  \
        tickcore compare latency-monday/ latency-tuesday/\n\n\
        Commands run in turn, in random order within each pair. Figures come from the JSON\n\
        that replay or a scorecard prints with --json, else the wall time counts. The\n\
        verdict is regression (exit status 1), improvement, same, or cannot tell: the whole\n\
        interval of the median ratio has to lie on one side of the threshold. Stored reports\n\
        are scaled by the calibration that each carries. See docs/BENCHMARKING.md.")]
    Compare(super::compare::CompareArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Shell to complete for.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// ITCH 5.0 files (plain, gzip or zstd, told by content), run one after the other, or one journal directory.
    #[arg(required_unless_present = "memory", value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Journal every event into this directory, which must be empty or absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,
    /// Continue behind the journal's last record; the input's events up to there are compared with it. The books are built
    /// from the newest valid checkpoint and the journal behind it, where there is one, else from the input.
    #[arg(long, requires = "journal")]
    pub(crate) resume: bool,
    /// With --journal: make a checkpoint each time so many segments (of --journal-segment each) are sealed, or off. Without
    /// it 16, and off when a limit is given by --journal-keep-...: with checkpoints, segments are let go only below the
    /// older of the two newest ones, whatever the limits. A thread of its own makes them from the journal, at the lowest
    /// priority and off the books' cores where there are others; it takes the memory of the books once more, when the first
    /// is due.
    #[arg(long, value_name = "SEGMENTS|off", value_parser = parse_checkpoint_every)]
    pub(crate) checkpoint_every: Option<CheckpointEvery>,
    /// How the work is spread over cores.
    #[arg(long, value_enum, default_value_t = TopologyArg::Inline)]
    pub(crate) topology: TopologyArg,
    /// Cores of the pinned threads, such as 2,3 or 2-5 (first feed, then books, then journal), or none to leave them
    /// unpinned. Without it the first cores that the process may use are taken.
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub(crate) cores: Option<CoresArg>,
    /// Book cores of topology sharded. Without it as many as have a core; each takes the memory of the maxima.
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<u32>,
    /// How instruments are spread over book cores: by their activity in the first messages of the input, so that busy ones
    /// do not meet, or by hash.
    #[arg(long, value_enum, default_value_t = ShardByArg::Activity)]
    pub(crate) shard_by: ShardByArg,
    /// Spread instruments as this file says: lines of instrument,shard by number, as --print-shard-map writes them.
    #[arg(long, value_name = "FILE", conflicts_with = "shard_by")]
    pub(crate) shard_map: Option<PathBuf>,
    /// Print which book core keeps which instrument, as CSV, and stop.
    #[arg(long)]
    pub(crate) print_shard_map: bool,
    /// Allow more spinning threads than cores: for checking results, not for measuring.
    #[arg(long)]
    pub(crate) oversubscribe: bool,
    /// Speed, or shape of the load (see below). Paced runs measure tick-to-BBO of every event from when it was due.
    #[arg(long, default_value = "max", value_name = "PACE")]
    pub(crate) pace: Pace,
    /// Measurement, pace and strategy begin here; books are built at full speed up to it. HH:MM[:SS[.fraction]] of the
    /// session's day in New York, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// End before the first event after this time; written as --from.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Measure every stage of one event in N; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) latency_sample: u32,
    /// Count a stall when a core does not loop for longer than this; 0 to watch for none.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 20)]
    pub(crate) stall_threshold: u32,
    /// Where the counters for tickcore stat are: auto (a file named after the process in /dev/shm, else in
    /// $XDG_RUNTIME_DIR), none, or a file on tmpfs.
    #[arg(long, value_name = "FILE", default_value = "auto", value_parser = parse_stat_file)]
    pub(crate) stat_file: StatFile,
    /// Publish every BBO change into a ring in shared memory at this path (a new file on tmpfs, such as /dev/shm/bbo.ring):
    /// other processes read it without holding this one up, see examples/attach.rs. Book core n of several writes to the
    /// path with .n behind it.
    #[arg(long, value_name = "PATH")]
    pub(crate) bbo_ring: Option<PathBuf>,
    /// How long an interrupted run may take to apply and journal what it had let in; then it ends where it is, says what
    /// is left and exits with 1. A second interrupt ends it at once.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(crate) drain_deadline: Duration,
    /// Print the memory that the books would take, and stop. Needs no input, unless a journal's maxima are meant.
    #[arg(long)]
    pub(crate) memory: bool,
    /// Write the latency report into this directory: report.json, report.html, latency.hlog and .hgrm files.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Fail at the first anomaly or skipped message, naming input, offset, sequence, instrument and order.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) capacity: CapacityArgs,
    #[command(flatten)]
    pub(crate) journaling: JournalArgs,
}

/// Segments from one checkpoint to the next, where nothing is said.
const CHECKPOINT_EVERY: NonZeroU64 = NonZeroU64::new(16).unwrap();

impl ReplayArgs {
    /// Segments from one checkpoint to the next; `None` for no checkpoints. Limits that were asked for are to be kept, and
    /// checkpoints would hold segments beyond them: both only where both were asked for.
    pub(crate) fn checkpoint_every(&self) -> Option<NonZeroU64> {
        match self.checkpoint_every {
            Some(CheckpointEvery(every)) => every,
            None => (!self.journaling.has_limits()).then_some(CHECKPOINT_EVERY),
        }
    }
}

/// How often checkpoints are made beside a run; never for `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointEvery(Option<NonZeroU64>);

fn parse_checkpoint_every(text: &str) -> Result<CheckpointEvery, String> {
    match text {
        "off" => Ok(CheckpointEvery(None)),
        number => match number.parse() {
            Ok(segments) => Ok(CheckpointEvery(Some(segments))),
            Err(_) => Err("expected a number of segments from 1 on, or off".to_owned()),
        },
    }
}

/// What part of an input is looked at.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Instruments by name, separated by commas; all when absent.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) symbols: Vec<String>,
    /// Session date (2020-01-30, 20200130 or 01302020) of a single input, instead of the one in the file's name. Without
    /// any date times are nanoseconds since midnight.
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<String>,
}

/// Maxima of the books; memory for them is taken at start.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CapacityArgs {
    /// Most instruments. Default 16384, or what the journal's header says.
    #[arg(long, value_name = "N")]
    pub(crate) instruments_max: Option<u32>,
    /// Most live orders. Default 2097152, or what the journal's header says.
    #[arg(long, value_name = "N")]
    pub(crate) orders_max: Option<u32>,
    /// Most price levels. Default 1048576, or what the journal's header says.
    #[arg(long, value_name = "N")]
    pub(crate) levels_max: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// ITCH 5.0 file or journal directory.
    pub(crate) input: PathBuf,
    /// What to write: bbo, mbp-N (N levels), trades, or mbo (every event).
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) schema: String,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// How to write it.
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub(crate) format: ExportFormat,
    /// File to write; standard output when absent.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) capacity: CapacityArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BookArgs {
    /// ITCH 5.0 file or journal directory.
    pub(crate) input: PathBuf,
    /// Instrument by name.
    #[arg(long, value_name = "NAME")]
    pub(crate) symbol: String,
    /// Time of the picture, written as for replay --from; the end of the input when absent.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Levels of each side.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) depth: usize,
    /// Session date, instead of the one in the file's name.
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<String>,
    /// Print the book as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) capacity: CapacityArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalVerb {
    /// What is in it: sequences, times, streams, segments, watermarks, and the last known place of each channel.
    Info {
        /// Journal directory.
        dir: PathBuf,
        /// Print as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Check every byte; exit status 1 on damage, naming segment, offset and sequence.
    Verify {
        /// Journal directory.
        dir: PathBuf,
        /// Print as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Cut a damaged journal where the damage begins; what is cut is kept beside it, and nothing that verifies changes. One
    /// that a crash has left is not damaged: replay --resume puts it in order.
    Repair {
        /// Journal directory.
        dir: PathBuf,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
        /// Print as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Pack sealed segments with zstd, in place; everything that reads a journal reads them. It may be written meanwhile.
    Compact {
        /// Journal directory.
        dir: PathBuf,
        /// Level of zstd.
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
        level: i32,
        /// Print as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print events, one JSON object a line.
    #[command(after_help = "Examples:\n  \
        tickcore journal dump day.journal --from 4711 --count 3   what the books were given\n  \
        tickcore journal dump day.journal --stream 1              what core 0 sent\n\n\
        A journal holds streams, each with record numbers of its own from 1: the inputs, and the\n\
        outputs of each core that sent any (journal info lists them). The receive_time of an output\n\
        is the sequence of the input behind it. Inputs whose place at the venue is kept have marks\n\
        behind their other words, each a channel and the venue's own number there.")]
    Dump {
        /// Journal directory.
        dir: PathBuf,
        /// Which stream: 0 the inputs, 1 + N the outputs of core N.
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
        stream: u16,
        /// First record to print, by its number in the stream.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
        from: u64,
        /// Begin at the first event at or after this exchange time, such as 09:30:00 in New York, on the day of the journal's
        /// first event, or 2020-01-30T14:30:00Z.
        #[arg(long, value_name = "TIME", conflicts_with = "from")]
        from_time: Option<String>,
        /// Most events to print.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Go on with what is written from now on, until the writer ends. One that is killed cannot say so: then until the
        /// journal was resumed and that writer ends.
        #[arg(long)]
        follow: bool,
        /// As without it: events are JSON objects, one a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StatArgs {
    /// Process id of the engine, or its file. Not needed while one engine runs.
    #[arg(value_name = "PID|FILE")]
    pub(crate) engine: Option<String>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    pub(crate) interval: Duration,
    /// Stop after so many looks. Without it: when the engine ends, or with --json after one.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Print each look as one JSON object on a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// Journal directory.
    pub(crate) dir: PathBuf,
    /// Print as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// File to write. A date in its name (01302020) becomes the session date of a replay.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Messages of the day.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) messages: u64,
    /// Instruments, at most 65535.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) instruments: u32,
    /// Seed: the same arguments give the same bytes.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Replace the file if it exists.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopologyArg {
    /// Decoding, books and strategy on one core, the journal on another.
    Inline,
    /// A feed core, a ring, a book core; the journal on a third core if there is one.
    Pipelined,
    /// A feed core, a ring, several book cores with some of the instruments each.
    Sharded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShardByArg {
    /// By events in the first messages of the input, busiest first.
    Activity,
    /// By the hash of their number.
    Hash,
}

impl From<TopologyArg> for Topology {
    fn from(topology: TopologyArg) -> Self {
        match topology {
            TopologyArg::Inline => Self::Inline,
            TopologyArg::Pipelined => Self::Pipelined,
            TopologyArg::Sharded => Self::Sharded,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CoresArg {
    These(Vec<usize>),
    Unpinned,
}

fn parse_cores(text: &str) -> Result<CoresArg, String> {
    if text == "none" || text == "unpinned" {
        return Ok(CoresArg::Unpinned);
    }
    match pin::parse_list(text) {
        Some(cores) if !cores.is_empty() => Ok(CoresArg::These(cores)),
        _ => Err("no list of cores; write numbers and ranges such as 2,3 or 2-5, or none".to_owned()),
    }
}

fn parse_stat_file(text: &str) -> Result<StatFile, String> {
    Ok(match text {
        "auto" => StatFile::Automatic,
        "none" => StatFile::Off,
        "" => return Err("write auto, none, or a file on tmpfs".to_owned()),
        path => StatFile::At(path.into()),
    })
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write seconds, such as 5 or 0.5".to_owned())?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("write seconds from 0 to 86400".to_owned())
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_seconds(text)?;
    if interval < Duration::from_millis(10) { Err("write seconds from 0.01".to_owned()) } else { Ok(interval) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn cores_are_numbers_or_none() {
        assert_eq!(parse_cores("2,3"), Ok(CoresArg::These(vec![2, 3])));
        assert_eq!(parse_cores("2-4,7"), Ok(CoresArg::These(vec![2, 3, 4, 7])));
        assert_eq!([parse_cores("none"), parse_cores("unpinned")], [Ok(CoresArg::Unpinned), Ok(CoresArg::Unpinned)]);
        assert!(parse_cores("").is_err() && parse_cores("a,1").is_err() && parse_cores("-1").is_err());
    }

    #[test]
    fn seconds_have_bounds() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_interval("0.01"), Ok(Duration::from_millis(10)));
        for text in ["-1", "nan", "inf", "86401", "x", ""] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
        assert!(parse_interval("0").is_err());
    }

    #[test]
    fn checkpoints_that_nobody_asked_for_do_not_overrule_limits() {
        let every = |more: &[&str]| {
            let line = ["tickcore", "replay", "day.itch", "--journal", "journal"];
            let Verb::Replay(args) = Cli::parse_from(line.iter().chain(more)).verb else { unreachable!("a replay") };
            args.checkpoint_every().map(NonZeroU64::get)
        };
        assert_eq!(every(&[]), Some(16));
        assert_eq!(every(&["--checkpoint-every", "off"]), None);
        for limit in [["--journal-keep-size", "1GiB"], ["--journal-keep-count", "2"], ["--journal-keep-time", "1h"]] {
            assert_eq!(every(&limit), None);
            assert_eq!(every(&[&limit[..], &["--checkpoint-every", "3"]].concat()), Some(3));
        }
    }
}
