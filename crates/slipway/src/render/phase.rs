//! One finished phase in one line: `✓ build        12.3s  note`.

use super::quantity::duration;
use crate::output::{Palette, printable};
use slipway_types::Phase;
use slipway_types::api::PhaseResult;

/// The longest name is `environment`.
pub(super) const NAME_COLUMNS: usize = 11;
/// `59m59s` and shorter.
pub(super) const TIME_COLUMNS: usize = 6;

pub(super) fn finished(
    phase: Phase,
    duration_ms: u64,
    result: PhaseResult,
    note: Option<&str>,
    palette: Palette,
) -> String {
    let mark = match result {
        PhaseResult::Done => palette.green("✓"),
        PhaseResult::Skipped => palette.dim("-"),
        PhaseResult::Failed => palette.red("✗"),
        PhaseResult::Canceled => palette.yellow("✗"),
    };
    line(&mark, phase.as_str(), &duration(duration_ms), &said(result, note), palette)
}

pub(super) fn line(mark: &str, name: &str, time: &str, note: &str, palette: Palette) -> String {
    let facts = format!("{name:<NAME_COLUMNS$}  {time:>TIME_COLUMNS$}");
    let line = format!("{mark} {facts}  {}", palette.dim(note));
    line.trim_end().to_owned()
}

/// The result in a word, where the mark does not say it, and the note.
pub(super) fn said(result: PhaseResult, note: Option<&str>) -> String {
    let word = match result {
        PhaseResult::Done => "",
        PhaseResult::Skipped => "skipped",
        PhaseResult::Failed => "failed",
        PhaseResult::Canceled => "canceled",
    };
    match (word, note.map(printable)) {
        (word, None) => word.to_owned(),
        ("", Some(note)) => note,
        (word, Some(note)) => format!("{word}: {note}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_phase_is_one_aligned_line() {
        let palette = Palette::of_nothing();
        let shown = |phase, ms, result, note| finished(phase, ms, result, note, palette);
        assert_eq!(shown(Phase::Build, 12_300, PhaseResult::Done, None), "✓ build         12.3s");
        assert_eq!(
            shown(Phase::Install, 3, PhaseResult::Skipped, Some("dependencies unchanged")),
            "- install         3ms  skipped: dependencies unchanged"
        );
        assert_eq!(shown(Phase::Health, 60_000, PhaseResult::Failed, None), "✗ health        1m00s  failed");
    }
}
