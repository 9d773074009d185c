//! `slipway server` up to where it would begin to work: what it refuses, and how it says so.

use crate::slipway::{Run, command, finish};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

fn server(data: &Path, arguments: &[&str]) -> Run {
    let mut command = command(Path::new("/"), &["server", "--data"]);
    command.arg(data).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}

#[test]
fn a_taken_port_names_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port();
    for (arguments, key) in [
        (["--listen", &address, "--edge-listen", "127.0.0.1:0"], "api.listen"),
        (["--edge-listen", &address, "--listen", "127.0.0.1:0"], "edge.listen"),
    ] {
        let run = server(dir.path(), &arguments);
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        assert!(run.stderr.starts_with(&format!("error: port {port} of 127.0.0.1 is in use\n")), "{}", run.stderr);
        assert!(
            run.stderr.contains(&format!("hint: choose another by `{}`, or `{key}`", arguments[0])),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_second_server_of_a_data_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lock = fs::File::create(dir.path().join("server.lock")).unwrap();
    lock.try_lock().unwrap();
    let run = server(dir.path(), &[]);
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.starts_with("error: another server runs in the data directory"), "{}", run.stderr);
}

#[test]
fn a_bad_file_is_refused_before_the_data_directory_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("slipway-server.toml"), dir.path().join("data"));
    fs::write(&file, "[api]\nport = 1\n").unwrap();
    let run = server(&data, &["--config", file.to_str().unwrap()]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("unknown field `port`") && run.stderr.contains("line 2"), "{}", run.stderr);
    assert!(!data.exists());
}
