//! A TCP proxy that breaks what passes through it, as networks and servers do.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is read at once: small, so that faults come where they are meant to.
const PIECE_BYTES: usize = 16 * 1024;

/// What happens to the answers of the server. Numbers of bytes count for each connection by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Connections are accepted, and nothing is ever answered.
    Silent,
    /// Connections are reset as soon as something is asked.
    Reset,
    /// Every request is answered with this status.
    Status(u16),
    /// The connection is closed after so many bytes.
    Cut(u64),
    /// The byte there is changed.
    Corrupt(u64),
    /// Bytes a second.
    Throttle(u64),
}

/// Ends when it is dropped, with all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    fault: Mutex<Fault>,
    ended: AtomicBool,
    answered_bytes: AtomicU64,
    asked_bytes: AtomicU64,
    connections: AtomicU64,
    open: Mutex<HashMap<u64, TcpStream>>,
    opened: AtomicU64,
}

impl FaultProxy {
    /// `upstream`: host and port.
    pub fn start(upstream: &str) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            fault: Mutex::new(Fault::None),
            ended: AtomicBool::new(false),
            answered_bytes: AtomicU64::new(0),
            asked_bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open: Mutex::default(),
            opened: AtomicU64::new(0),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || accept(&listener, &accepting));
        FaultProxy { address, shared }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on; connections that are open are closed.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
        self.close_all();
    }

    /// Bytes that the server answered since the last call.
    pub fn take_answered_bytes(&self) -> u64 {
        self.shared.answered_bytes.swap(0, Ordering::SeqCst)
    }

    /// Bytes that clients sent since the last call.
    pub fn take_asked_bytes(&self) -> u64 {
        self.shared.asked_bytes.swap(0, Ordering::SeqCst)
    }

    /// Connections since the last call.
    pub fn take_connections(&self) -> u64 {
        self.shared.connections.swap(0, Ordering::SeqCst)
    }

    fn close_all(&self) {
        for (_, stream) in self.shared.open.lock().unwrap().drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.close_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = shared.clone();
        std::thread::spawn(move || {
            let number = shared.remember(&client);
            serve(&client, &shared);
            // The last handle but one: dropping that closes the connection.
            shared.open.lock().unwrap().remove(&number);
        });
    }
}

impl Shared {
    fn remember(&self, stream: &TcpStream) -> u64 {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        self.open.lock().unwrap().insert(number, stream.try_clone().unwrap());
        number
    }
}

fn serve(mut client: &TcpStream, shared: &Shared) {
    let fault = *shared.fault.lock().unwrap();
    match fault {
        Fault::Silent => while client.read(&mut [0; PIECE_BYTES]).is_ok_and(|bytes| bytes > 0) {},
        Fault::Reset => {
            let _ = client.read(&mut [0; PIECE_BYTES]);
            reset_on_close(client);
        }
        Fault::Status(status) => {
            let _ = client.read(&mut [0; PIECE_BYTES]);
            let body = "<Error><Code>InternalError</Code></Error>";
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status} Broken\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            let _ = client.write_all(answer.as_bytes());
        }
        _ => pass(client, fault, shared),
    }
}

/// Both ways, until one side ends.
fn pass(client: &TcpStream, fault: Fault, shared: &Shared) {
    let Ok(server) = TcpStream::connect(&shared.upstream) else { return };
    let number = shared.remember(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| ask(client, &server, shared));
        answer(client, &server, fault, shared);
        for stream in [client, &server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    shared.open.lock().unwrap().remove(&number);
}

fn ask(mut client: &TcpStream, mut server: &TcpStream, shared: &Shared) {
    let mut piece = [0; PIECE_BYTES];
    while let Ok(bytes @ 1..) = client.read(&mut piece) {
        shared.asked_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
        if server.write_all(&piece[..bytes]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

fn answer(mut client: &TcpStream, mut server: &TcpStream, fault: Fault, shared: &Shared) {
    let (mut piece, mut passed) = ([0; PIECE_BYTES], 0_u64);
    loop {
        let Ok(bytes) = server.read(&mut piece) else { return };
        if bytes == 0 {
            return;
        }
        let mut sent = &mut piece[..bytes];
        match fault {
            Fault::Cut(after) if passed + bytes as u64 > after => sent = &mut sent[..(after - passed) as usize],
            Fault::Corrupt(at) if (passed..passed + bytes as u64).contains(&at) => sent[(at - passed) as usize] ^= 0x40,
            Fault::Throttle(rate) => std::thread::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)),
            _ => {}
        }
        passed += bytes as u64;
        shared.answered_bytes.fetch_add(sent.len() as u64, Ordering::SeqCst);
        if client.write_all(sent).is_err() || sent.len() < bytes {
            return;
        }
    }
}

fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the descriptor is `stream`'s, and `linger` outlives the call, which reads so many bytes of it.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        );
    }
}
