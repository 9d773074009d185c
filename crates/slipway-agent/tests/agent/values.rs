//! Variables as a file, and the word to the app that they are others.

use crate::host::{Agent, Host};
use slipway_types::Secret;
use slipway_types::agent::{AgentCommand, AgentEvent, LINE_BYTES_MAX, Stream, TaskSignal, ValuesSpec};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

const USER: u32 = 10001;

/// A directory that everybody may write to, as `/dev/shm` is.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    directory
}

fn values(path: &Path, revision: u64, value: &str, signal: Option<TaskSignal>) -> ValuesSpec {
    let is_root = rustix::process::getuid().is_root();
    let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let (uid, gid) = if is_root { (USER, USER) } else { own };
    let values = BTreeMap::from([("A".to_owned(), Secret::new(value))]);
    ValuesSpec { revision, path: path.to_str().unwrap().to_owned(), values, uid, gid, signal }
}

fn written(host: &mut Host, spec: &ValuesSpec) -> Option<String> {
    host.send(&AgentCommand::WriteValues(spec.clone()));
    match host.next() {
        AgentEvent::ValuesWritten { revision, trouble } if revision == spec.revision => trouble,
        other => panic!("{other:?}"),
    }
}

fn read(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn values_are_written_whole_for_their_user_alone_and_the_app_is_told() {
    let (agent, directory) = (Agent::start(), directory());
    let path = directory.path().join("env.json");
    let mut host = agent.connect();
    let first = values(&path, 1, "one \"two\"\nthree", None);
    assert_eq!(written(&mut host, &first), None);
    assert_eq!(read(&path), serde_json::json!({"A": "one \"two\"\nthree"}));
    let facts = std::fs::metadata(&path).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.uid(), facts.gid()), (0o400, first.uid, first.gid));

    // A reader that has the file open goes on reading the old one: it is another file that gets the name.
    let script = "trap 'echo told' USR1; sleep 60 & echo ready; while :; do wait; done";
    host.shell(1, script);
    assert_eq!(host.output(), (Stream::Stdout, b"ready\n".to_vec()));
    let signal = Some(TaskSignal { task: 1, signal: libc::SIGUSR1 });
    assert_eq!(written(&mut host, &values(&path, 2, "new", signal)), None);
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), facts.ino());
    // Its child would have been ended by it: the signal is for the process alone.
    assert_eq!(host.output(), (Stream::Stdout, b"told\n".to_vec()));
    assert_eq!(read(&path), serde_json::json!({"A": "new"}));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn nothing_in_the_way_leads_elsewhere_and_the_former_values_stay() {
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED: whose rights count can be seen only as root");
        return;
    }
    let (agent, directory) = (Agent::start(), directory());
    let mut host = agent.connect();
    let path = directory.path().join("env.json");
    let precious = directory.path().join("precious");
    std::fs::write(&precious, "mine").unwrap();
    symlink(&precious, &path).unwrap();
    // The directory is sticky and the link is root's: the app's user may not replace it.
    let trouble = written(&mut host, &values(&path, 1, "x", None)).unwrap();
    assert!(trouble.contains("cannot write"), "{trouble}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "nothing half written is left");

    let path = directory.path().join("other.json");
    assert_eq!(written(&mut host, &values(&path, 2, "good", None)), None);
    let gone = Some(TaskSignal { task: 9, signal: libc::SIGUSR1 });
    assert_eq!(written(&mut host, &values(&path, 3, "newer", gone)).as_deref(), Some("task 9 does not run"));
    let missing = directory.path().join("no/such/directory");
    assert!(written(&mut host, &values(&missing, 4, "x", None)).unwrap().contains("cannot write"));
    // The agent is root again.
    host.shell(1, "echo still here");
    assert_eq!(host.outcome(1).stdout(), "still here\n");
    let large = values(&path, 5, &"x".repeat(LINE_BYTES_MAX - 4096), None);
    assert_eq!(written(&mut host, &large), None);
    assert_eq!(read(&path)["A"].as_str().unwrap().len(), LINE_BYTES_MAX - 4096);
}
