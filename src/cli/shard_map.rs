//! Which book core keeps which instrument: measured in the beginning of the input, by hash, or as a file says.

use super::args::{ReplayArgs, ShardByArg, TopologyArg};
use super::select;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use tickcore::book::{Event, InstrumentId, Kind};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Filled, Source};
use tickcore::shards::{Activity, ShardMap};
use tickcore::topology::default_shards;

/// Messages of the input in which activity is measured: a tenth of a second, and a few percent of a day.
const SAMPLE_MESSAGES: u64 = 4_000_000;
const BATCH_EVENTS: usize = 256;

/// A map with what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    pub(crate) map: ShardMap,
    origin: &'static str,
    activity: Activity,
    names: BTreeMap<InstrumentId, String>,
}

/// Book cores that the arguments ask for.
pub(crate) fn count(args: &ReplayArgs) -> Result<u32> {
    Ok(match args.shards {
        Some(count) => count,
        None if args.topology != TopologyArg::Sharded => 1,
        None => default_shards(&select::cores(args.cores.as_ref()), args.journal.is_some())?,
    })
}

/// The map that the arguments ask for. Reads the beginning of the input where activity is to be measured, or printed.
pub(crate) fn spread(args: &ReplayArgs) -> Result<Spread> {
    let count = count(args)?;
    if args.topology != TopologyArg::Sharded {
        return Ok(Spread { map: ShardMap::by_hash(count)?, ..Spread::default() });
    }
    let mut spread = Spread { map: ShardMap::by_hash(count)?, origin: "by hash", ..Spread::default() };
    let measures = args.shard_map.is_none() && args.shard_by == ShardByArg::Activity && count > 1;
    if measures || args.print_shard_map {
        spread.measure(args)?;
    }
    if let Some(path) = &args.shard_map {
        let text =
            fs::read_to_string(path).with_context(|| format!("{}: cannot read the shard map", path.display()))?;
        (spread.map, spread.origin) = (ShardMap::parse(count, &text)?, "as the file says");
    } else if measures {
        (spread.map, spread.origin) = (ShardMap::by_activity(count, &spread.activity)?, "by activity");
    }
    Ok(spread)
}

impl Spread {
    fn measure(&mut self, args: &ReplayArgs) -> Result<()> {
        let mut inputs = select::open_inputs(&args.inputs, args.selection.date.as_deref())?;
        let mut batch = EventBatch::new(BATCH_EVENTS);
        while inputs.total_counts().messages < SAMPLE_MESSAGES {
            batch.clear();
            match inputs.fill(&mut batch, usize::MAX) {
                Ok(Filled::Events) => batch.as_slice().iter().for_each(|event| self.note(event)),
                Ok(Filled::Pending) => std::thread::yield_now(),
                // The run itself will come across what is wrong, and say so.
                Ok(Filled::End) | Err(_) => break,
            }
        }
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        self.activity.count(event);
        if event.kind() == Some(Kind::InstrumentName) {
            let part = event.name_part();
            let length = part.iter().position(|&byte| byte == 0).unwrap_or(part.len());
            let name = String::from_utf8_lossy(&part[..length]);
            self.names.entry(event.instrument).or_default().push_str(&name);
        }
    }

    /// The map as CSV: what `--shard-map` reads.
    pub(crate) fn print(&self, output: &mut impl Write) -> io::Result<()> {
        writeln!(output, "instrument,shard,symbol,sampled_events")?;
        for row in 1..=self.activity.highest_instrument().get() {
            let instrument = InstrumentId(row);
            let name = self.names.get(&instrument).map_or("", String::as_str);
            writeln!(output, "{row},{},{name},{}", self.map.owner(instrument), self.activity.of(instrument))?;
        }
        Ok(())
    }

    /// How instruments are spread, in a line.
    pub(crate) fn told(&self) -> String {
        let mut numbers = vec![0_u64; self.map.count() as usize];
        for row in 1..=self.activity.highest_instrument().get() {
            numbers[self.map.owner(InstrumentId(row)) as usize] += 1;
        }
        let shares = self.activity.shares(&self.map);
        let all: u64 = shares.iter().sum();
        let mut text = format!("{} book cores, instruments spread {}", self.map.count(), self.origin);
        if all > 0 {
            let parts = shares
                .iter()
                .zip(numbers)
                .map(|(&events, number)| format!("{number} with {:.1} %", events as f64 * 100.0 / all as f64));
            let parts: Vec<String> = parts.collect();
            text = format!("{text}: {} of the sampled events", parts.join(", "));
        }
        text
    }
}
