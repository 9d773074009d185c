//! The whole way in virtual machines: QEMU's, translated where the machine has no KVM, which is slow and must be right all the same.

use crate::{BINARY, up};
use slipway_testing::{App, TestServer, wait};
use std::path::Path;
use std::time::Duration;

/// Room for a processor that is translated, with tests beside it.
const SETTINGS: &str = "[build]\ncommand = \"mkdir -p out && cp server.js out/ && uname -r > out/kernel.txt && cat /proc/mounts > out/mounts.txt\"\n\
    [health]\npath = \"/\"\ninterval = \"500ms\"\ntimeout = \"20s\"\nstart_timeout = \"180s\"\nstable_window = \"500ms\"\n[run]\nreload = \"signal\"";

const STOP_BOUND: Duration = Duration::from_secs(60);

/// With the `qemu` driver, or why there is none. Its kernel is fetched once for all tests.
fn server() -> Result<TestServer, String> {
    let shared = Path::new(BINARY).parent().unwrap().join("test-shared");
    let vsock = shared.join("tools/vhost-device-vsock/bin/vhost-device-vsock");
    if !vsock.is_file() {
        return Err(format!("`{}` is missing, `./x test` installs it", vsock.display()));
    }
    if std::process::Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
        return Err("`qemu-system-x86_64` is missing, `./x test` installs it".to_owned());
    }
    let lines = format!("driver = \"qemu\"\nvhost_device_vsock = \"{}\"", vsock.display());
    let guest = shared.join("guest");
    std::fs::create_dir_all(&guest).unwrap();
    let prepare = |data: &Path| {
        std::fs::create_dir_all(data).unwrap();
        std::os::unix::fs::symlink(&guest, data.join("guest")).unwrap();
    };
    Ok(TestServer::start_on(BINARY, &shared.join("layers"), "keep_free = \"512MB\"", &lines, prepare))
}

#[test]
fn an_app_is_built_in_one_machine_and_runs_in_another() {
    let server = match server() {
        Ok(server) => server,
        Err(why) => {
            let required = std::env::var("SLIPWAY_TEST_DRIVERS").unwrap_or_default();
            assert!(!required.split(' ').any(|name| name == "qemu"), "{why}");
            eprintln!("SKIPPED: no deployment in virtual machines is tested: {why}");
            return;
        }
    };
    let app = App::node("machine", "one").settings(SETTINGS);
    app.write("package.json", r#"{"name":"machine","private":true,"scripts":{"start":"node out/server.js"}}"#);
    let body = || server.get("web-machine.localhost", "/").body;

    up(&server, app.path());
    assert_eq!(body(), "one\n");
    let replicas = server.sandboxes();
    assert_eq!(replicas.len(), 1, "the machine of the build is gone: {replicas:?}");
    assert!(runs_in_qemu(&server, &replicas[0]));

    app.set_version("two");
    up(&server, app.path());
    assert_eq!(body(), "two\n");
    assert!(server.run_in(app.path(), &["rollback", "v1"]).expect_code(0).stderr.contains("v1"));
    assert_eq!(body(), "one\n");

    let before =
        wait::until("the others to be gone", STOP_BOUND, || Some(server.sandboxes()).filter(|all| all.len() == 1));
    let set = server.run_in(app.path(), &["env", "set", "COLOUR=blue"]).expect_code(0).stderr;
    assert!(set.contains("1 replica has the new values"), "{set}");
    wait::until("the new value", STOP_BOUND, || {
        (server.get("web-machine.localhost", "/env?name=COLOUR").body == "blue").then_some(())
    });
    assert_eq!(server.sandboxes(), before, "told while it runs");
    let doctor = server.run(&["doctor"]).stdout;
    assert!(doctor.contains("in sandboxes of the qemu driver") && doctor.contains("driver qemu"), "{doctor}");
}

/// Whether the sandbox's process is a QEMU.
fn runs_in_qemu(server: &TestServer, sandbox: &str) -> bool {
    let state = std::fs::read(server.data().join("sandboxes").join(sandbox).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let program = std::fs::read_link(format!("/proc/{}/exe", state["init"]["pid"])).unwrap();
    program.file_name().unwrap().to_string_lossy().starts_with("qemu-system-")
}
