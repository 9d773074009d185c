//! Layers that are not on the disk, brought back from the cold tier.

use slipway_layers::{Ensured, Tiers};
use slipway_types::LayerRef;
use std::time::Duration;

/// Where a layer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Brought {
    Hot,
    /// It is back; a line for the log.
    Back(String),
    /// No tier has it.
    Missing,
    /// The cold tier may have it and could not give it; a line for the log.
    Trouble(String),
}

/// Makes the layer hot if any tier has it.
pub(crate) async fn bring_back(tiers: &Tiers, layer: &LayerRef) -> Brought {
    match tiers.ensure(layer).await {
        Ensured::Hot => Brought::Hot,
        Ensured::Fetched { bytes, took } => {
            Brought::Back(format!("brought `{layer}` back from the cold tier: {} in {}", size(bytes), seconds(took)))
        }
        Ensured::Missing => Brought::Missing,
        Ensured::Trouble(note) => Brought::Trouble(note),
    }
}

/// `12.3 MB`, binary units as everywhere.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{:.1} {name}", bytes as f64 / *unit as f64))
}

/// Why a sandbox can't be booted on it.
pub(crate) fn missing(layer: &LayerRef, tiers_are_two: bool) -> String {
    match tiers_are_two {
        true => format!("neither the disk nor the cold tier has the layer `{layer}`"),
        false => format!("there is no layer `{layer}`"),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1}s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [(0, "0 B"), (1 << 10, "1.0 KB"), (1536 << 20, "1.5 GB"), (120 << 20, "120.0 MB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
