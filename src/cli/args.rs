//! The command line: one table that parsing, help, completions and the man page are made of.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use tickcore::pace::Pace;
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
        tickcore replay day.itch --topology pipelined --cores 2,3 --report latency/")]
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
    /// Make a synthetic ITCH 5.0 day, byte-identical for the same arguments.
    #[command(
        after_help = "Example:\n  tickcore generate -o 01302020.itch --messages 10000000 --instruments 8000 --seed 1"
    )]
    Generate(GenerateArgs),
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
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Journal every event into this directory, which must be empty or absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,
    /// Continue behind the journal's last record; the input's events up to there are compared with it.
    #[arg(long, requires = "journal")]
    pub(crate) resume: bool,
    /// How the work is spread over cores.
    #[arg(long, value_enum, default_value_t = TopologyArg::Inline)]
    pub(crate) topology: TopologyArg,
    /// Cores of the pinned threads, such as 2,3 (first feed, then book, then journal), or none to leave them unpinned.
    /// Without it the first cores that the process may use are taken.
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub(crate) cores: Option<CoresArg>,
    /// Allow more spinning threads than cores: for checking results, not for measuring.
    #[arg(long)]
    pub(crate) oversubscribe: bool,
    /// Speed: max, realtime, a factor such as 10x, or events per second. Paced runs measure tick-to-BBO of every event.
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
    /// Measure the service time of one event in N; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) latency_sample: u32,
    /// Print the memory that the books would take, and stop.
    #[arg(long)]
    pub(crate) memory: bool,
    /// Write the latency report (JSON and .hgrm percentile files) into this directory.
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
    /// Memory between ring and disk that absorbs a stalled disk.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) journal_buffer: usize,
    /// How the journal is written; steps down by itself, and says so, where the machine refuses.
    #[arg(long, value_enum, default_value_t = BackendArg::IoUringFixed)]
    pub(crate) journal_backend: BackendArg,
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
    /// What is in it: sequences, times, segments, watermarks.
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
    /// Cut a damaged journal where the damage begins; what is cut is kept beside it, and nothing that verifies changes.
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
    /// Pack sealed segments with zstd, in place; everything that reads a journal reads them.
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
    Dump {
        /// Journal directory.
        dir: PathBuf,
        /// First sequence to print.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
        from: u64,
        /// Begin at the first event at or after this exchange time, such as 14:30:00 or 2020-01-30T14:30:00Z.
        #[arg(long, value_name = "TIME", conflicts_with = "from")]
        from_time: Option<String>,
        /// Most events to print.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Go on with what is written from now on, until the writer ends.
        #[arg(long)]
        follow: bool,
    },
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
}

impl From<TopologyArg> for Topology {
    fn from(topology: TopologyArg) -> Self {
        match topology {
            TopologyArg::Inline => Self::Inline,
            TopologyArg::Pipelined => Self::Pipelined,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArg {
    /// io_uring from registered buffers.
    #[value(name = "io_uring_fixed")]
    IoUringFixed,
    /// io_uring from any buffer.
    #[value(name = "io_uring")]
    IoUring,
    /// pwrite and fdatasync.
    Portable,
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
    if text == "none" {
        return Ok(CoresArg::Unpinned);
    }
    let numbers = text.split(',').map(|number| number.trim().parse().map_err(|_| number.to_owned()));
    numbers
        .collect::<Result<Vec<usize>, String>>()
        .map(CoresArg::These)
        .map_err(|number| format!("{number:?} is no core number; write numbers such as 2,3, or none"))
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
        assert_eq!(parse_cores("none"), Ok(CoresArg::Unpinned));
        assert!(parse_cores("").is_err() && parse_cores("a,1").is_err() && parse_cores("-1").is_err());
    }
}
