//! What a virtual machine writes to its serial console: the beginning in a file, the end in memory. A guest writes it, as much
//! as it likes: both are bounded.

use slipway_types::agent::{LISTENING_LINE, TIMER_LINE};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A kernel's whole boot, verbose, takes about 40 KiB.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// Of an error's text: a kernel's last lines before a panic.
const TAIL_BYTES_MAX: usize = 1500;
const READ_BYTES: usize = 4096;
const END_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Default)]
pub(crate) struct Console {
    tail: Arc<Mutex<VecDeque<u8>>>,
    agent_listens: Arc<AtomicBool>,
    timer_is_wrong: Arc<AtomicBool>,
}

impl Console {
    /// Reads to the end on a thread of its own: a machine never waits for its console.
    pub(crate) fn follow(pipe: PipeReader, path: &Path) -> std::io::Result<Self> {
        let file = File::create(path)?;
        let console = Self::default();
        let reader = console.clone();
        std::thread::spawn(move || reader.read(pipe, file));
        Ok(console)
    }

    fn read(&self, mut pipe: impl Read, mut file: impl Write) {
        let mut room = FILE_BYTES_MAX;
        let mut chunk = [0; READ_BYTES];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            let written = room.min(length);
            room -= written;
            // Its only reader is a person with a problem.
            let _ = file.write_all(&chunk[..written]);
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend(&chunk[..length]);
            for (line, seen) in [(LISTENING_LINE, &self.agent_listens), (TIMER_LINE, &self.timer_is_wrong)] {
                if tail.make_contiguous().windows(line.len()).any(|window| window == line.as_bytes()) {
                    seen.store(true, Ordering::Release);
                }
            }
            let over = tail.len().saturating_sub(TAIL_BYTES_MAX);
            tail.drain(..over);
        }
    }

    /// The last lines of a machine that has ended; waits until all of it was read.
    pub(crate) fn all_words(&self, bound: Duration) -> Option<String> {
        let deadline = Instant::now() + bound;
        while Arc::strong_count(&self.tail) > 1 && Instant::now() < deadline {
            std::thread::sleep(END_PAUSE);
        }
        self.last_words()
    }

    /// Whether the agent has said so. Anything in the machine can say so.
    pub(crate) fn agent_listens(&self) -> bool {
        self.agent_listens.load(Ordering::Acquire)
    }

    pub(crate) fn timer_is_wrong(&self) -> bool {
        self.timer_is_wrong.load(Ordering::Acquire)
    }

    /// The last lines as one line of plain text; none when nothing was written.
    pub(crate) fn last_words(&self) -> Option<String> {
        let bytes: Vec<u8> = self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let plain: String = lines.join(" | ").chars().filter(|c| !c.is_control()).collect();
        (!plain.is_empty()).then_some(plain)
    }
}

/// A machine wrote that to its console.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzing(data: &[u8]) {
    let console = Console::default();
    let mut file = Vec::new();
    console.read(data, &mut file);
    assert!(file.len() <= FILE_BYTES_MAX && data.starts_with(&file));
    let said = |line: &str| data.windows(line.len()).any(|window| window == line.as_bytes());
    assert_eq!((console.agent_listens(), console.timer_is_wrong()), (said(LISTENING_LINE), said(TIMER_LINE)));
    let words = console.last_words().unwrap_or_default();
    // What is no UTF-8 takes three bytes for one; a line's end becomes three.
    assert!(words.len() <= 3 * TAIL_BYTES_MAX && !words.contains(char::is_control));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_all_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = dir.path().join("console");
        let console = Console::follow(reader, &path).unwrap();
        let writing = std::thread::spawn(move || {
            for number in 0..50_000 {
                writeln!(writer, "\u{1b}[31mline {number}\r").unwrap();
            }
        });
        writing.join().unwrap();
        assert!(!console.agent_listens());
        while !console.last_words().is_some_and(|words| words.ends_with("line 49999")) {
            std::thread::yield_now();
        }
        let words = console.last_words().unwrap();
        assert!(words.len() <= 2 * TAIL_BYTES_MAX && !words.contains('\u{1b}'), "{words}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), FILE_BYTES_MAX as u64);
    }
}
