//! The shim's socket: one supervisor at a time, the newest.

use super::hold::Hold;
use crate::wire::{FromShim, ToShim, WIRE_LINE_BYTES_MAX};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

/// A supervisor reads all along; one that does not is stuck, and its connection is given up.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// Accepts supervisors on a thread of its own. The socket's directory admits root alone.
pub(super) fn accept(hold: Arc<Hold>, listener: UnixListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let hold = Arc::clone(&hold);
            std::thread::spawn(move || serve(&hold, stream));
        }
    });
}

/// Serves one connection to its end; its writer has a thread of its own.
fn serve(hold: &Arc<Hold>, stream: UnixStream) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut lines = BufReader::new(stream);
    let Some(ToShim::Attach { after }) = next(&mut lines) else { return };
    let (supervisor, attached) = hold.attach(after);
    let _ = writer.set_write_timeout(Some(WRITE_TIME_MAX));
    let writing = {
        let hold = Arc::clone(hold);
        std::thread::spawn(move || {
            write(&hold, &mut writer, supervisor, after.unwrap_or(0), &attached);
            // Ends the reading side too.
            let _ = writer.shutdown(Shutdown::Both);
        })
    };
    while let Some(line) = next(&mut lines) {
        if !hold.is_served(supervisor) {
            break;
        }
        match line {
            ToShim::Acknowledge { sequence } => hold.acknowledge(sequence),
            ToShim::Agent { command } => hold.command(&command),
            ToShim::Stop { grace_ms } => hold.stop(Duration::from_millis(grace_ms)),
            ToShim::Attach { .. } => break,
        }
    }
    hold.detach(supervisor);
    // Panics end the process.
    let _ = writing.join();
}

fn write(hold: &Hold, writer: &mut UnixStream, supervisor: u64, mut sent: u64, attached: &FromShim) {
    if say(writer, attached).is_err() {
        return;
    }
    while let Some(record) = hold.next_for(supervisor, sent) {
        sent = record.sequence;
        let event = (*record.event).clone();
        if say(writer, &FromShim::Event { sequence: record.sequence, event }).is_err() {
            return;
        }
    }
    if !hold.is_served(supervisor) {
        let _ = say(writer, &FromShim::Replaced);
    }
}

fn say(writer: &mut UnixStream, line: &FromShim) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    writer.write_all(&text)
}

/// None: the connection is over, or what came is not the protocol.
pub(super) fn next(lines: &mut impl BufRead) -> Option<ToShim> {
    let mut line = Vec::new();
    lines.take(WIRE_LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice(line.strip_suffix(b"\n")?).ok()
}
