//! The `tickcore` command.

fn main() {}
