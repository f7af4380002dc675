//! What the integration tests share: the built command, messages made by hand, results of the reference books, generated
//! days and ones that stand still, recorded market data, runs that keep a journal, and a strategy that sends intents.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod command;
pub(crate) mod day;
pub(crate) mod halting;
pub(crate) mod journal;
pub(crate) mod market_data;
pub(crate) mod reference;
pub(crate) mod trader;
pub(crate) mod wire;
