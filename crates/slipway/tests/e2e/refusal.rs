//! Input that is refused: a clear error, the right exit code, nothing stored.

use crate::BINARY;
use slipway_testing::{App, TestServer};

#[test]
fn names_that_are_no_host_names_and_bad_toml_are_usage_errors() {
    let server = TestServer::start(BINARY);
    let app = App::node("fine", "v1");
    for args in
        [&["up", "--project", "Not_A_Host"][..], &["up", "--service=-web"], &["up", "--project", &"x".repeat(80)]]
    {
        let run = server.run_in(app.path(), args).expect_code(2);
        assert!(run.stderr.contains("host name"), "{}", run.stderr);
    }
    app.write("slipway.toml", "project = \"fine\nport = ");
    let run = server.run_in(app.path(), &["up"]).expect_code(2);
    assert!(run.stderr.contains("slipway.toml"), "{}", run.stderr);
    assert!(!server.run(&["ps"]).stdout.contains("fine"));
}

#[test]
fn hostile_uploads_are_refused_and_leave_nothing() {
    let server = TestServer::start_with(BINARY, "");
    let client: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(server.data().join("client.json")).unwrap()).unwrap();
    let script = r"
import io, sys, tarfile
kind, path = sys.argv[1:]
with tarfile.open(path, 'w:gz') as tar:
    def add(name, **fields):
        info = tarfile.TarInfo(name)
        data = fields.pop('data', b'')
        for key, value in fields.items(): setattr(info, key, value)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    if kind == 'traversal': add('../evil', data=b'x')
    if kind == 'absolute': add('/etc/evil', data=b'x')
    if kind == 'link': add('out', type=tarfile.SYMTYPE, linkname='../../etc/passwd')
    if kind == 'absolute-link': add('out', type=tarfile.SYMTYPE, linkname='/etc/passwd')
    if kind == 'hard-link': add('out', type=tarfile.LNKTYPE, linkname='../../etc/passwd')
    if kind == 'device': add('null', type=tarfile.CHRTYPE)
";
    for kind in ["traversal", "absolute", "link", "absolute-link", "hard-link", "device"] {
        let archive = server.data().join(format!("{kind}.tar.gz"));
        let made = std::process::Command::new("python3").args(["-c", script, kind]).arg(&archive).status().unwrap();
        assert!(made.success());
        let answer = std::process::Command::new("curl")
            .args([
                "-s",
                "-w",
                "\n%{http_code}",
                "-H",
                &format!("authorization: Bearer {}", client["token"].as_str().unwrap()),
            ])
            .args(["--data-binary", &format!("@{}", archive.display())])
            .arg(format!("{}/v1/uploads", client["url"].as_str().unwrap().trim_end_matches('/')))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(text.ends_with("422") && text.contains("\"code\":\"upload-"), "{kind}: {text}");
    }
    assert_eq!(std::fs::read_dir(server.data().join("uploads")).unwrap().count(), 0, "nothing is stored");
}
