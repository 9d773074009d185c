//! Against real repositories, over `file://` and `git daemon`, and a server that refuses.

use super::*;
use slipway_types::Secret;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LineSink for Lines {
    async fn line(&self, _: Stream, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

fn git_in(dir: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(["-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Two commits on `main`, a branch `next`, a tag `v1` on the first commit.
struct Remote {
    dir: tempfile::TempDir,
    first: String,
    second: String,
    next: String,
}

fn remote() -> Remote {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let commit = |text: &str| {
        std::fs::write(path.join("file"), text).unwrap();
        git_in(path, &["add", "."]);
        git_in(path, &["commit", "-qm", text]);
        git_in(path, &["rev-parse", "HEAD"])
    };
    git_in(path, &["init", "-q"]);
    let first = commit("first");
    git_in(path, &["tag", "-a", "v1", "-m", "one"]);
    let second = commit("second");
    git_in(path, &["checkout", "-qb", "next"]);
    let next = commit("next");
    git_in(path, &["checkout", "-q", "main"]);
    Remote { dir, first, second, next }
}

struct Outcome {
    result: Result<String, GitError>,
    branches: Branches,
    file: Option<String>,
    has_git: bool,
    log: String,
}

async fn fetch_from(url: &str, reference: Option<&str>, credential: Option<&str>) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let repository = repository_beside(dir.path());
    std::fs::create_dir(&tree).unwrap();
    std::fs::create_dir(&repository).unwrap();
    let source = GitSource {
        url: url.to_owned(),
        reference: reference.map(str::to_owned),
        credential: credential.map(Secret::new),
    };
    let lines = Lines::default();
    let checkout = Checkout { repository: &repository, work_tree: &tree };
    let result = fetch(&source, &checkout, &CancellationToken::new(), &lines).await;
    Outcome {
        branches: result.as_ref().map(|fetched| fetched.branches.clone()).unwrap_or_default(),
        result: result.map(|fetched| fetched.commit),
        file: std::fs::read_to_string(tree.join("file")).ok(),
        has_git: tree.join(".git").exists(),
        log: lines.0.into_inner().unwrap().join("\n"),
    }
}

#[tokio::test]
async fn a_branch_a_tag_a_commit_and_the_default_are_fetched() {
    let remote = remote();
    let url = format!("file://{}", remote.dir.path().display());
    for (reference, commit, text, branch) in [
        (None, &remote.second, "second", None),
        (Some("main"), &remote.second, "second", Some("main")),
        (Some("next"), &remote.next, "next", Some("next")),
        (Some("refs/heads/next"), &remote.next, "next", Some("next")),
        (Some("v1"), &remote.first, "first", None),
        (Some(remote.first.as_str()), &remote.first, "first", None),
        (Some(&remote.first[..8]), &remote.first, "first", None),
    ] {
        let fetched = fetch_from(&url, reference, None).await;
        assert_eq!(fetched.result.as_ref().unwrap(), commit, "{reference:?}");
        assert_eq!(fetched.file.as_deref(), Some(text), "{reference:?}");
        assert!(!fetched.has_git);
        let default = Some("main".to_owned());
        assert_eq!(fetched.branches, Branches { asked: branch.map(str::to_owned), default }, "{reference:?}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_a_missing_reference() {
    let remote = remote();
    let url = format!("file://{}", remote.dir.path().display());
    for reference in ["nope", "0123456789", &"a".repeat(40), "--upload-pack=x", "a..b", "x:y"] {
        let fetched = fetch_from(&url, Some(reference), None).await;
        assert_eq!(fetched.result.unwrap_err().code(), "git-reference-missing", "{reference}\n{}", fetched.log);
    }
    let empty = tempfile::tempdir().unwrap();
    git_in(empty.path(), &["init", "-q"]);
    let fetched = fetch_from(&format!("file://{}", empty.path().display()), None, None).await;
    assert_eq!(fetched.result.unwrap_err().code(), "git-reference-missing");
}

#[tokio::test]
async fn a_remote_that_is_not_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in [
        "file:///nowhere/at/all".to_owned(),
        format!("http://127.0.0.1:{port}/x.git"),
        format!("git://127.0.0.1:{port}/x.git"),
        "https://no-such-host.invalid/x.git".to_owned(),
    ] {
        let fetched = fetch_from(&url, None, None).await;
        let error = fetched.result.unwrap_err();
        assert_eq!(error.code(), "git-unreachable", "{url}: {error:?}");
        assert!(!fetched.log.is_empty(), "git's own words are in the log");
    }
}

#[tokio::test]
async fn other_transports_are_refused() {
    let fetched = fetch_from("ext::sh -c 'touch /tmp/owned'", None, None).await;
    assert_eq!(fetched.result.unwrap_err().code(), "git-failed", "{}", fetched.log);
    let fetched = fetch_from("--upload-pack=touch", None, None).await;
    assert_eq!(fetched.result.unwrap_err().code(), "git-failed");
}

#[tokio::test]
async fn a_server_that_wants_a_credential_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", listener.local_addr().unwrap());
    let requests = std::sync::Arc::new(Mutex::new(String::new()));
    let heard = std::sync::Arc::clone(&requests);
    // Git comes twice: for the commit and for the names of branches. The thread ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap();
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..count]));
            let refusal = "HTTP/1.1 401 No\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(refusal.as_bytes());
        }
    });
    let fetched = fetch_from(&url, None, Some("t0ken-value")).await;
    let error = fetched.result.unwrap_err();
    assert_eq!(error.code(), "git-authentication", "{error:?}");
    assert!(!format!("{error:?}{}", fetched.log).contains("t0ken-value"));
    // Without TLS the credential is not sent at all.
    assert!(!requests.lock().unwrap().to_ascii_lowercase().contains("authorization"));
}

/// `git daemon` is two processes and more: its group ends when this is dropped.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_raw(self.0.id().cast_signed()).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn the_git_protocol_works() {
    let remote = remote();
    // As a test server, whose ports nobody else takes.
    let slot = slipway_testing::slot::Slot::claim("servers");
    let [port, _] = slot.ports();
    let mut daemon = std::process::Command::new("git");
    let daemon = std::os::unix::process::CommandExt::process_group(&mut daemon, 0)
        .args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", remote.dir.path().display()))
        .arg(remote.dir.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let _daemon = Daemon(daemon);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(std::time::Instant::now() < deadline, "the daemon does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let fetched = fetch_from(&format!("git://127.0.0.1:{port}/"), Some(&remote.first), None).await;
    let short = fetch_from(&format!("git://127.0.0.1:{port}/"), Some(&remote.next[..7]), None).await;
    assert_eq!(fetched.result.unwrap(), remote.first);
    assert_eq!(short.result.unwrap(), remote.next, "{}", short.log);
}

#[test]
fn the_credential_is_bound_to_the_address_and_goes_over_tls_only() {
    let cancel = CancellationToken::new();
    let lines = Lines::default();
    let checkout = Checkout { repository: Path::new("/r"), work_tree: Path::new("/w") };
    let arguments_and_header = |url: &str, credential: &str| {
        let source = GitSource { url: url.into(), reference: None, credential: Some(Secret::new(credential)) };
        let git = Git { source: &source, checkout: &checkout, cancel: &cancel, sink: &lines };
        git.settings().into_iter().find(|(key, _)| key.ends_with("extraHeader"))
    };
    let (key, header) = arguments_and_header("https://example.org/a.git", "tok").unwrap();
    assert_eq!(key, "http.https://example.org/a.git.extraHeader");
    assert_eq!(header, "Authorization: Basic eC1hY2Nlc3MtdG9rZW46dG9r");
    let (_, header) = arguments_and_header("https://example.org/a.git", "me:pw").unwrap();
    assert_eq!(header, "Authorization: Basic bWU6cHc=");
    assert!(arguments_and_header("http://example.org/a.git", "tok").is_none());
}
