//! The strategy of `replay`: it trades nothing, and carries BBOs to other processes when it is told to.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use tickcore::book::{Bbo, Event, InstrumentId};
use tickcore::feed::ring::bbo::{BboRing, BboUpdate};
use tickcore::strategy::{Context, Strategy};

/// Looks on, on one book core.
#[derive(Debug)]
pub(crate) struct Observer {
    wanted: Vec<String>,
    /// The wanted names that no instrument of its core had at the end.
    pub(crate) absent: Vec<String>,
    bbo_ring: Option<BboRing>,
}

impl Observer {
    /// One for each of `count` book cores. With `bbo_ring` each makes a ring: the first at that path, core n at the path with
    /// `.n` behind it.
    pub(crate) fn of_cores(count: u32, wanted: &[String], bbo_ring: Option<&Path>) -> Result<Vec<Self>> {
        let observer = |core| {
            let ring = bbo_ring.map(|path| {
                let path = path_of(path, core);
                BboRing::create(&path).with_context(|| format!("--bbo-ring {}", path.display()))
            });
            Ok(Self { wanted: wanted.to_vec(), absent: Vec::new(), bbo_ring: ring.transpose()? })
        };
        (0..count).map(observer).collect()
    }
}

fn path_of(path: &Path, core: u32) -> PathBuf {
    if core == 0 {
        return path.to_owned();
    }
    let mut path = path.as_os_str().to_owned();
    path.push(format!(".{core}"));
    path.into()
}

impl Strategy for Observer {
    #[inline]
    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, event: &Event) {
        if let Some(ring) = &mut self.bbo_ring {
            ring.publish(&BboUpdate {
                exchange_time: event.exchange_time,
                cause: context.sequence(),
                instrument,
                bbo: *bbo,
                is_stale: context.books().is_stale(instrument),
                is_unjournaled: context.books().is_unjournaled(),
            });
        }
    }

    /// It has nothing to go on with.
    fn save(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }

    fn on_end(&mut self, context: &mut Context<'_, '_>) {
        let instruments = context.books().instruments();
        self.absent = self.wanted.iter().filter(|name| instruments.find(name).is_none()).cloned().collect();
        // Closed here, so that readers hear of the end when it is there.
        self.bbo_ring = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_a_path_of_its_own() {
        let path = Path::new("/dev/shm/bbo.ring");
        assert_eq!(path_of(path, 0), path);
        assert_eq!(path_of(path, 2), Path::new("/dev/shm/bbo.ring.2"));
    }
}
