//! From arguments to inputs, maxima and times: what every verb that reads market data has in common.

use super::args::{CapacityArgs, CoresArg};
use super::time::TimeBase;
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;
use tickcore::book::{Capacity, TimestampNs};
use tickcore::feed::session::SessionDate;
use tickcore::inputs::Inputs;
use tickcore::journal::Metadata;
use tickcore::pin::Cores;

/// Wrong usage that only shows once the arguments are looked at together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Opens inputs with the session date of the command line, if there is one.
pub(crate) fn open_inputs(paths: &[PathBuf], date: Option<&str>) -> Result<Inputs> {
    let date = date.map(|text| text.parse::<SessionDate>().map_err(|error| Usage(error.to_string()))).transpose()?;
    Ok(Inputs::open(paths, date)?)
}

/// What times of these inputs mean.
pub(crate) fn time_base(inputs: &Inputs) -> TimeBase {
    if inputs.has_times_since_midnight() {
        return TimeBase::Midnight;
    }
    TimeBase::Epoch { midnight: inputs.midnight() }
}

/// A time of the command line.
pub(crate) fn parse_time(base: TimeBase, text: Option<&str>, absent: TimestampNs) -> Result<TimestampNs> {
    text.map_or(Ok(absent), |text| base.parse(text).map_err(|error| Usage(format!("{error:#}")).into()))
}

/// Maxima of the command line, or of the journal that is read or `resumed`, or the defaults: those of instruments for each
/// session, since every one numbers its own.
pub(crate) fn capacity(args: CapacityArgs, inputs: Option<&Inputs>, resumed: Option<&Metadata>) -> Result<Capacity> {
    let mut capacity = Capacity::default();
    let sessions = inputs.map_or(1, |inputs| u32::try_from(inputs.paths().len()).unwrap_or(u32::MAX));
    capacity.instruments_max = capacity.instruments_max.saturating_mul(sessions).min(Capacity::INSTRUMENTS_LIMIT);
    if let Some(metadata) = inputs.and_then(Inputs::metadata).or(resumed) {
        let stored = metadata.capacities;
        let narrow = |what, value: u64| {
            u32::try_from(value).with_context(|| format!("the journal's header states {value} {what}"))
        };
        capacity = Capacity {
            instruments_max: narrow("instruments", stored.instruments_max)?,
            orders_max: narrow("orders", stored.orders_max)?,
            levels_max: narrow("levels", stored.levels_max)?,
        };
    }
    let stored = resumed.map(|_| capacity);
    let capacity = Capacity {
        instruments_max: args.instruments_max.unwrap_or(capacity.instruments_max),
        orders_max: args.orders_max.unwrap_or(capacity.orders_max),
        levels_max: args.levels_max.unwrap_or(capacity.levels_max),
    };
    if stored.is_some_and(|stored| stored != capacity) {
        return Err(
            Usage("a resumed journal keeps the maxima that it was begun with: leave them away".to_owned()).into()
        );
    }
    Ok(capacity.check().map_err(|error| Usage(error.to_string()))?)
}

/// Cores of the command line.
pub(crate) fn cores(args: Option<&CoresArg>) -> Cores {
    match args {
        None => Cores::Automatic,
        Some(CoresArg::These(numbers)) => Cores::These(numbers.clone()),
        Some(CoresArg::Unpinned) => Cores::Unpinned,
    }
}

/// Refuses symbols that no input defined: a typing error would otherwise look like an empty book.
pub(crate) fn check_symbols(wanted: &[String], is_defined: impl Fn(&str) -> bool) -> Result<()> {
    let absent: Vec<&str> = wanted.iter().map(String::as_str).filter(|name| !is_defined(name)).collect();
    if absent.is_empty() {
        return Ok(());
    }
    bail!("no instrument is named {}; names are as the venue writes them, such as AAPL", absent.join(", "))
}
