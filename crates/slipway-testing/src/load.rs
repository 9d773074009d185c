//! Constant load on one service, from threads; each lost request is kept with its reason.

use crate::http::Connection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What one thread asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Many requests on one kept-alive connection.
    KeepAlive,
    /// A connection for each request.
    Close,
    /// An answer that takes 100 ms, in chunks.
    Streamed,
    /// A long WebSocket conversation.
    WebSocket,
}

/// Load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    counted: Arc<Counted>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counted {
    answered: AtomicU64,
    lost: Mutex<Vec<String>>,
}

/// What a load saw.
#[derive(Debug)]
pub struct Tally {
    pub answered: u64,
    /// One line for each request that failed.
    pub lost: Vec<String>,
}

impl Load {
    /// One thread of each of `kinds` against `host` on the edge's port.
    pub fn start(port: u16, host: &str, kinds: &[Kind]) -> Load {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(Counted::default()));
        let threads = kinds
            .iter()
            .map(|&kind| {
                let (stop, counted, host) = (Arc::clone(&stop), Arc::clone(&counted), host.to_owned());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if let Err(error) = converse(kind, port, &host, &stop, &counted) {
                            counted.lost.lock().unwrap().push(format!("{kind:?}: {error}"));
                        }
                    }
                })
            })
            .collect();
        Load { stop, counted, threads }
    }

    pub fn answered(&self) -> u64 {
        self.counted.answered.load(Ordering::Relaxed)
    }

    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let lost = std::mem::take(&mut *self.counted.lost.lock().unwrap());
        Tally { answered: self.counted.answered.load(Ordering::Relaxed), lost }
    }
}

/// Messages of one WebSocket conversation, 10 ms apart: it spans a switch, and ends within the drain time.
const WEBSOCKET_MESSAGES: u32 = 50;

/// One connection's life. A close that the server announced (`connection: close`) is no loss.
fn converse(kind: Kind, port: u16, host: &str, stop: &AtomicBool, counted: &Counted) -> std::io::Result<()> {
    let mut connection = Connection::open(port, host)?;
    let count = || counted.answered.fetch_add(1, Ordering::Relaxed);
    match kind {
        Kind::Close => expect_ok(&connection.request("GET", "/", &[("connection", "close")], "")?.status).map(|()| {
            count();
        }),
        Kind::WebSocket => {
            connection.upgrade("/ws")?;
            for message in 0..WEBSOCKET_MESSAGES {
                let text = format!("message {message}");
                let answer = connection.echo_frame(&text)?;
                if answer != text {
                    return Err(std::io::Error::other(format!("echoed `{answer}`")));
                }
                count();
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Ok(())
        }
        Kind::KeepAlive | Kind::Streamed => {
            let path = if kind == Kind::Streamed { "/stream" } else { "/" };
            while !stop.load(Ordering::Relaxed) {
                let response = connection.get(path)?;
                expect_ok(&response.status)?;
                if kind == Kind::Streamed && response.body.lines().count() != 5 {
                    return Err(std::io::Error::other(format!("streamed only `{}`", response.body)));
                }
                count();
                if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            Ok(())
        }
    }
}

fn expect_ok(status: &u16) -> std::io::Result<()> {
    if *status == 200 { Ok(()) } else { Err(std::io::Error::other(format!("status {status}"))) }
}
