//! A server that restarts on a socket that outlives it, and one that becomes another version.

use crate::{BINARY, up};
use slipway_testing::load::{Kind, Load};
use slipway_testing::{App, TestServer, wait};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(30);

/// That and nothing else. A server answers a moment before it says that it is ready.
fn until_told(server: &TestServer, expected: &[&str]) {
    let mut told = Vec::new();
    wait::until(&format!("{expected:?}"), BOUND, || {
        told.extend(server.told());
        (told.len() >= expected.len()).then_some(())
    });
    assert_eq!(told, expected);
}

#[test]
fn no_connection_is_refused_while_the_server_restarts_on_a_socket_that_is_handed_over() {
    let mut server = TestServer::start(BINARY);
    server.stop_process();
    server.hold_edge_socket();
    server.start_process();
    until_told(&server, &["READY=1"]);
    let app = App::node("held", "v1");
    up(&server, app.path());
    let load = Load::start(server.edge_port(), "web-held.localhost", &[Kind::Close, Kind::Close, Kind::Close]);
    for _ in 0..3 {
        let answered = load.answered();
        wait::until("requests before the restart", BOUND, || (load.answered() > answered + 20).then_some(()));
        server.stop_process();
        server.start_process();
    }
    let answered = load.answered();
    wait::until("requests after the last one", BOUND, || (load.answered() > answered + 20).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.lost, Vec::<String>::new(), "{} were answered\n{}", tally.answered, server.log());
    until_told(&server, &["STOPPING=1", "READY=1"].repeat(3));
    // A deployment goes on as ever on such a socket.
    app.set_version("v2");
    up(&server, app.path());
    assert_eq!(server.get("web-held.localhost", "/").body, "v2\n");
}

/// Both programs of a version in a directory of their own; `mark` makes it another version than the others.
fn version(dir: &Path, name: &str, mark: &str) -> PathBuf {
    let place = dir.join(name);
    fs::create_dir_all(place.join("libexec")).unwrap();
    let built = Path::new(BINARY).parent().unwrap();
    for file in ["slipway", "libexec/slipway-agent"] {
        fs::copy(built.join(file), place.join(file)).unwrap();
    }
    // What stands after the end of a program is not read when it is run.
    let mut program = fs::File::options().append(true).open(place.join("slipway")).unwrap();
    program.write_all(mark.as_bytes()).unwrap();
    place.join("slipway")
}

#[test]
fn another_version_takes_the_server_s_place_and_no_request_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let installed = version(dir.path(), "installed", "1");
    let layers = Path::new(BINARY).parent().unwrap().join("test-shared/layers");
    let server = TestServer::start_on(installed.to_str().unwrap(), &layers, "keep_free = \"512MB\"", "", |_| {});
    let app = App::node("upgraded", "v1");
    up(&server, app.path());
    let sandboxes = server.sandboxes();
    let load = Load::start(server.edge_port(), "web-upgraded.localhost", &[Kind::Close, Kind::Close, Kind::Close]);
    let running = || fs::metadata(format!("/proc/{}/exe", server.pid())).unwrap().ino();
    for mark in ["2", "3"] {
        let new = version(dir.path(), &format!("new-{mark}"), mark);
        let (before, answered) = (running(), load.answered());
        wait::until("requests before the upgrade", BOUND, || (load.answered() > answered + 20).then_some(()));
        let dry = server.run(&["upgrade", "--dry-run", new.to_str().unwrap()]);
        assert_eq!((dry.code, running()), (0, before), "{dry:?}");
        let upgraded = server.run(&["upgrade", new.to_str().unwrap()]);
        assert_eq!(upgraded.code, 0, "{upgraded:?}\n{}", server.log());
        assert!(upgraded.stderr.contains("took over in"), "{upgraded:?}");
        assert_ne!(running(), before);
        assert_eq!(fs::read(&installed).unwrap(), fs::read(&new).unwrap());
        let again = server.run(&["upgrade", new.to_str().unwrap()]);
        assert!(again.code == 0 && again.stderr.contains("runs already"), "{again:?}");
    }
    // One that cannot read what there is is found out before anything is changed.
    let broken = version(dir.path(), "broken", "");
    fs::write(
        &broken,
        "#!/bin/sh\n[ \"$1\" = --version ] && echo slipway 9.9.9 && exit\necho cannot read it >&2\nexit 3\n",
    )
    .unwrap();
    let before = running();
    let refused = server.run(&["upgrade", broken.to_str().unwrap()]);
    assert_eq!((refused.code, running()), (2, before), "{refused:?}");
    assert!(refused.stderr.contains("would not take over") && refused.stderr.contains("cannot read it"), "{refused:?}");
    let answered = load.answered();
    wait::until("requests after the last one", BOUND, || (load.answered() > answered + 20).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.lost, Vec::<String>::new(), "{} were answered\n{}", tally.answered, server.log());
    assert_eq!(server.sandboxes(), sandboxes, "the app went on");
    app.set_version("v2");
    up(&server, app.path());
    assert_eq!(server.get("web-upgraded.localhost", "/").body, "v2\n");
}

#[test]
fn a_version_that_ends_in_the_server_s_place_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let installed = version(dir.path(), "installed", "");
    let layers = Path::new(BINARY).parent().unwrap().join("test-shared/layers");
    let mut server = TestServer::start_on(installed.to_str().unwrap(), &layers, "keep_free = \"512MB\"", "", |_| {});
    let (before, broken) = (fs::read(&installed).unwrap(), version(dir.path(), "broken", ""));
    // It passes its trial, which is what the last two arguments ask for.
    fs::write(
        &broken,
        "#!/bin/sh\ncase $* in --version) echo slipway 9.9.9 ;; *--try-database*) ;; *) exit 4 ;; esac\n",
    )
    .unwrap();
    let failed = server.run(&["upgrade", broken.to_str().unwrap()]);
    assert_eq!(failed.code, 3, "{failed:?}");
    assert!(
        failed.stderr.contains("ended before it was ready") && failed.stderr.contains("in place again"),
        "{failed:?}"
    );
    assert_eq!(fs::read(&installed).unwrap(), before);
    assert!(server.data().join("before-upgrade.db").is_file());
    server.has_ended();
    server.start_process();
    assert_eq!(server.run(&["ps"]).code, 0);
}
