//! Output of programs as clean lines: lossy UTF-8, without terminal escapes, without the frames of a progress bar,
//! none longer than [`LOG_LINE_BYTES_MAX`]. Memory is bounded whatever the program writes.

use slipway_types::host::{EVIDENCE_LINES_MAX, LOG_LINE_BYTES_MAX};
use std::collections::VecDeque;

/// Bytes that a [`Tail`] holds at most: 200 short lines are about 20 KB, a page of minified code is not worth more.
const TAIL_BYTES_MAX: usize = 256 * 1024;

/// Where the reader is in a terminal escape (ECMA-48, section 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Start,
    /// `ESC [` until a byte of 0x40 to 0x7e.
    Control,
    /// `ESC ]` and its kind, until BEL or `ESC \`.
    Text,
    /// ESC within [`Escape::Text`].
    TextEnd,
    /// `ESC (` and its kind: one more byte.
    OneMore,
}

/// Cuts a stream of bytes into clean lines.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    line: Vec<u8>,
    escape: Escape,
    /// A carriage return came: what follows overwrites the line, unless it is the line's end.
    returned: bool,
    /// Up to the end of this line, whose beginning was lost.
    losing: bool,
}

impl LineSplitter {
    /// Takes a chunk and returns the lines that it ends.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if let Some(byte) = self.outside_escape(byte) {
                self.take(byte, &mut lines);
            }
        }
        lines
    }

    /// Output was lost here: half a line is neither shown nor joined to the half of another, which could be half a secret
    /// that nobody recognises.
    pub(crate) fn lost(&mut self) {
        self.line.clear();
        self.escape = Escape::None;
        self.returned = false;
        self.losing = true;
    }

    /// What stands in the last, unended line.
    pub(crate) fn finish(&mut self) -> Option<String> {
        self.escape = Escape::None;
        self.returned = false;
        self.losing = false;
        (!self.line.is_empty()).then(|| self.end_line())
    }

    /// Whether a line was begun and not ended.
    pub(crate) fn holds_part(&self) -> bool {
        !self.line.is_empty() || self.returned || self.losing || self.escape != Escape::None
    }

    fn take(&mut self, byte: u8, lines: &mut Vec<String>) {
        match byte {
            b'\n' if std::mem::take(&mut self.losing) => {}
            _ if self.losing => {}
            b'\n' => {
                self.returned = false;
                lines.push(self.end_line());
            }
            b'\r' => self.returned = true,
            b'\t' | 0x20..=0x7e | 0x80.. => {
                if std::mem::take(&mut self.returned) {
                    self.line.clear();
                }
                if self.line.len() < LOG_LINE_BYTES_MAX {
                    self.line.push(byte);
                }
            }
            _ => {}
        }
    }

    /// The byte, when it belongs to no escape.
    fn outside_escape(&mut self, byte: u8) -> Option<u8> {
        const ESC: u8 = 0x1b;
        const BEL: u8 = 0x07;
        self.escape = match (self.escape, byte) {
            // An escape never runs over the end of a line: a stray one must not swallow the log.
            (_, b'\n') | (Escape::None, _) if byte != ESC => {
                self.escape = Escape::None;
                return Some(byte);
            }
            (Escape::Text, ESC) => Escape::TextEnd,
            (_, ESC) => Escape::Start,
            (Escape::Start, b'[') => Escape::Control,
            (Escape::Start, b']' | b'P' | b'X' | b'^' | b'_') => Escape::Text,
            (Escape::Start, 0x20..=0x2f) => Escape::OneMore,
            (Escape::Control, 0x40..=0x7e) | (Escape::Text, BEL) => Escape::None,
            (Escape::Start | Escape::OneMore | Escape::TextEnd, _) => Escape::None,
            (state, _) => state,
        };
        None
    }

    fn end_line(&mut self) -> String {
        let mut line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        cut(&mut line, LOG_LINE_BYTES_MAX);
        line
    }
}

/// Cuts at a character's boundary.
fn cut(line: &mut String, bytes_max: usize) {
    if line.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
    }
}

/// The newest lines of an output, for the evidence of a failure.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > EVIDENCE_LINES_MAX || self.bytes > TAIL_BYTES_MAX {
            match self.lines.pop_front() {
                Some(oldest) => self.bytes -= oldest.len(),
                None => return,
            }
        }
    }

    pub(crate) fn to_lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &[u8]) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut whole = splitter.push(text);
        whole.extend(splitter.finish());
        // The same bytes one by one give the same lines.
        let mut bytewise = LineSplitter::default();
        let mut single: Vec<String> = text.iter().flat_map(|byte| bytewise.push(&[*byte])).collect();
        single.extend(bytewise.finish());
        assert_eq!(whole, single);
        whole
    }

    #[test]
    fn lines_are_cleaned() {
        for (bytes, expected) in [
            (&b"one\ntwo\n"[..], vec!["one", "two"]),
            (b"\x1b[32m\xe2\x9c\x93\x1b[0m done\r\n", vec!["\u{2713} done"]),
            (b"10%\r50%\r100%\nnext", vec!["100%", "next"]),
            (b"\x1b]0;title\x07text\n\x1b]8;;http://x\x1b\\link\n", vec!["text", "link"]),
            (b"\x1b(Bplain\x08\x00\n", vec!["plain"]),
            (b"stray \x1b[\nkept\n", vec!["stray ", "kept"]),
            (b"\xff\xfe\n", vec!["\u{fffd}\u{fffd}"]),
            (b"tab\there\n\n", vec!["tab\there", ""]),
        ] {
            assert_eq!(lines_of(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut splitter = LineSplitter::default();
        for _ in 0..100 {
            assert!(splitter.push(&[b'x'; 4096]).is_empty());
        }
        let lines = splitter.push(b"\nnext\n");
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LOG_LINE_BYTES_MAX, 4]);
    }

    #[test]
    fn half_a_line_is_not_shown_where_output_was_lost() {
        let mut splitter = LineSplitter::default();
        assert!(splitter.push(b"half of a ").is_empty());
        splitter.lost();
        assert_eq!(splitter.push(b"other half\nwhole\n"), ["whole"]);
    }

    #[test]
    fn the_tail_keeps_the_newest_within_its_bounds() {
        let mut tail = Tail::default();
        (0..1000).for_each(|n| tail.push(n.to_string()));
        let lines = tail.to_lines();
        assert_eq!((lines.len(), lines[0].as_str()), (EVIDENCE_LINES_MAX, "800"));
        (0..100).for_each(|_| tail.push("x".repeat(LOG_LINE_BYTES_MAX)));
        assert!(tail.to_lines().iter().map(String::len).sum::<usize>() <= TAIL_BYTES_MAX);
    }
}
