use super::*;
use crate::site::{ARCHIVE_BOUNDS, SiteError, unpack};
use slipway_tree::archive::Writer;
use slipway_types::agent::{ArchiveTrouble, OUTPUT_CHUNK_BYTES_MAX};
use slipway_types::host::ExitFacts;
use std::collections::VecDeque;
use std::path::Path;

const BOUNDS: Bounds = Bounds { files_max: 100, bytes_max: 1 << 20, paths_bytes_max: 10_000, depth_max: 8 };
const SOON: Duration = Duration::from_secs(20);

fn output(stream: Stream, bytes: impl Into<Vec<u8>>) -> SandboxEvent {
    SandboxEvent::Output { task: ARCHIVE, stream, bytes: bytes.into() }
}

fn exited(code: i32) -> SandboxEvent {
    let facts = ExitFacts { code: Some(code), signal: None, out_of_memory: false };
    SandboxEvent::Exited { task: ARCHIVE, facts, disk_full: false }
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out).unwrap();
    for (path, content) in files {
        writer.file(path, content.len() as u64, *content).unwrap();
    }
    writer.end().unwrap();
    out
}

type Names = Vec<(String, usize)>;
type Received = Result<(Result<Names, ArchiveError>, ArchiveReport), PhaseEnd>;

/// Says what it is asked for; nothing any more, for ever, from the first None.
struct Script<F>(F);

impl<F: FnMut() -> Option<SandboxEvent> + Send> Said for Script<F> {
    async fn next(&mut self) -> Option<SandboxEvent> {
        match (self.0)() {
            Some(event) => Some(event),
            None => std::future::pending().await,
        }
    }
}

async fn receive_from(next: impl FnMut() -> Option<SandboxEvent> + Send, within: Duration) -> Received {
    let names = |incoming: Incoming| {
        let mut names = Vec::new();
        incoming.read(|path, _, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
            names.push((path.to_owned(), bytes.len()));
            Ok::<_, ArchiveError>(())
        })?;
        Ok(names)
    };
    receive(&mut Script(next), &CancellationToken::new(), BOUNDS, within, names).await
}

/// What a guest says, then nothing more, for ever.
async fn receive_all(events: Vec<SandboxEvent>) -> Received {
    let mut events = VecDeque::from(events);
    receive_from(|| events.pop_front(), SOON).await
}

fn why(end: PhaseEnd) -> String {
    let PhaseEnd::Failed(evidence) = end else { panic!("{end:?}") };
    let error = evidence.host_error.unwrap();
    assert_eq!(error.code, "sandbox-failed");
    error.message
}

#[tokio::test]
async fn an_archive_comes_in_any_pieces_with_the_guests_notes() {
    let bytes = archive(&[("a", b"one"), ("b/c", &[7; 1000])]);
    let mut events: Vec<_> = bytes.chunks(7).map(|piece| output(Stream::Stdout, piece)).collect();
    // What else runs in the sandbox is no part of it.
    events.insert(3, SandboxEvent::Output { task: 1, stream: Stream::Stdout, bytes: b"noise".to_vec() });
    let note = format!("one\u{1b}[31m\ntwo {}", "x".repeat(5000));
    let report = ArchiveReport { notes: vec![note; 500], trouble: None };
    let mut small = report.clone();
    small.notes.truncate(20);
    events.push(output(Stream::Stderr, serde_json::to_vec(&small).unwrap()));
    events.push(exited(0));
    let (names, report) = receive_all(events).await.unwrap();
    assert_eq!(names.unwrap(), [("a".to_owned(), 3), ("b/c".to_owned(), 1000)]);
    assert!(report.notes.len() == 20 && report.notes.iter().all(|note| note.chars().count() == NOTE_CHARS_MAX));
    assert!(report.notes[0].starts_with("one [31m two"), "{}", &report.notes[0][..40]);
}

#[tokio::test]
async fn what_is_wrong_in_the_guests_words_is_said() {
    let trouble = ArchiveTrouble { code: "site-too-large".into(), message: "much\ttoo large".into() };
    let said = serde_json::to_vec(&ArchiveReport { notes: vec![], trouble: Some(trouble) }).unwrap();
    let (names, report) = receive_all(vec![output(Stream::Stderr, said), exited(1)]).await.unwrap();
    assert!(matches!(names, Err(ArchiveError::Cut)));
    assert_eq!(report.trouble.unwrap().message, "much too large");
}

#[tokio::test]
async fn a_guest_that_lies_or_ends_too_early_gives_no_archive() {
    let whole = archive(&[("a", b"one")]);
    let ok = || output(Stream::Stderr, b"{}".to_vec());
    for (events, expected) in [
        (vec![exited(0)], "without a report"),
        (vec![output(Stream::Stderr, b"no json".to_vec()), exited(0)], "without a report"),
        (vec![ok(), exited(1)], "failed without a reason"),
        (vec![output(Stream::Stdout, whole.clone()), SandboxEvent::Gone { reason: "it died".into() }], "it died"),
        (vec![SandboxEvent::Refused { message: "no\nsuch command".into() }], "no such command"),
        (vec![SandboxEvent::StartFailed { task: ARCHIVE, errno: 1, message: "not now".into() }], "not now"),
    ] {
        let said = why(receive_all(events).await.unwrap_err());
        assert!(said.contains(expected), "{said}");
    }
    // It says that all is well, and is not.
    for cut in [0, 1, whole.len() - 1] {
        let events = vec![output(Stream::Stdout, &whole[..cut]), ok(), exited(0)];
        let (names, _) = receive_all(events).await.unwrap();
        assert!(matches!(names, Err(ArchiveError::Cut)), "{cut}");
    }
    let twice = [whole.as_slice(), whole.as_slice()].concat();
    let (names, _) = receive_all(vec![output(Stream::Stdout, twice), ok(), exited(0)]).await.unwrap();
    assert!(matches!(names, Err(ArchiveError::Trailing)));
}

/// Endless in every way; each ends by itself, long before the time does.
#[tokio::test]
async fn floods_end_at_their_bounds() {
    let chunk = || vec![b'F'; OUTPUT_CHUNK_BYTES_MAX];
    let said = receive_from(|| Some(output(Stream::Stderr, chunk())), SOON).await;
    assert!(why(said.unwrap_err()).contains("its report is too long"));

    let (names, _) = receive_from(|| Some(output(Stream::Stdout, chunk())), SOON).await.unwrap();
    assert!(matches!(names, Err(ArchiveError::NoArchive)));

    // A file of more than everything, then its content for ever.
    let mut head = archive(&[("a", b"")]);
    head.truncate(22);
    head.extend((BOUNDS.bytes_max + 1).to_le_bytes());
    let mut first = Some(head);
    let next = || Some(output(Stream::Stdout, first.take().unwrap_or_else(chunk)));
    let (names, _) = receive_from(next, SOON).await.unwrap();
    assert!(matches!(names, Err(ArchiveError::TooManyBytes(_))));

    // Empty files for ever.
    let (mut number, mut begun) = (0, false);
    let next = || {
        number += 1;
        let mut one = archive(&[(&format!("{number}"), b"")]);
        one.truncate(one.len() - 9);
        Some(output(Stream::Stdout, if std::mem::replace(&mut begun, true) { one.split_off(18) } else { one }))
    };
    let (names, _) = receive_from(next, SOON).await.unwrap();
    assert!(matches!(names, Err(ArchiveError::TooManyFiles(100))));
}

#[tokio::test]
async fn a_guest_that_never_ends_is_given_up() {
    let soon = Duration::from_millis(100);
    let said = receive_from(|| None, soon).await;
    assert!(why(said.unwrap_err()).contains("not done within"));
    let mut whole = Some(archive(&[("a", b"1")]));
    let next = || whole.take().map(|whole| output(Stream::Stdout, whole));
    assert!(why(receive_from(next, soon).await.unwrap_err()).contains("not done within"));

    let cancel = CancellationToken::new();
    cancel.cancel();
    let take = |incoming: Incoming| incoming.read(|_, _, _| Ok::<_, ArchiveError>(()));
    let canceled = receive(&mut Script(|| None), &cancel, BOUNDS, SOON, take).await;
    assert!(matches!(canceled, Err(PhaseEnd::Canceled)));
}

/// Unpacks into an image of 8 MB: the error, and whether anything stands outside of the image.
async fn unpacked(files: &[(&str, &[u8])]) -> Result<(), SiteError> {
    let dir = tempfile::tempdir().unwrap();
    let (image, at) = (dir.path().join("site.img"), dir.path().join("at"));
    let mut events = VecDeque::from([output(Stream::Stdout, archive(files)), output(Stream::Stderr, b"{}"), exited(0)]);
    let take = move |incoming: Incoming| unpack(&image, &at, 8 << 20, |sink| incoming.read(sink));
    let received =
        receive(&mut Script(|| events.pop_front()), &CancellationToken::new(), ARCHIVE_BOUNDS, SOON, take).await;
    let own = dir.path().to_str().unwrap();
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(own), "a mount is left");
    let mut left: Vec<_> = std::fs::read_dir(own).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["at", "site.img"]);
    assert_eq!(std::fs::read_dir(Path::new(own).join("at")).unwrap().count(), 0);
    received.unwrap().0
}

#[tokio::test]
async fn a_hostile_site_stays_in_its_image() {
    unpacked(&[("index.html", b"1"), ("a/b/c.txt", b"2")]).await.unwrap();
    for path in ["../x", "/etc/x", "a/../../x", "a//b", ""] {
        let error = unpacked(&[(path, b"x")]).await.unwrap_err();
        assert!(matches!(error, SiteError::Archive(ArchiveError::Refused { .. })), "{path}: {error}");
        assert_eq!(error.code(), "sandbox-failed");
    }
    // The same name twice, a file in place of a directory and the other way round.
    for files in [[("a", b"1".as_slice()), ("a", b"2")], [("a", b"1"), ("a/b", b"2")], [("a/b", b"1"), ("a", b"2")]] {
        assert!(unpacked(&files).await.is_err(), "{files:?}");
    }
    let error = unpacked(&[("large", &vec![1; 16 << 20])]).await.unwrap_err();
    assert_eq!(error.code(), "disk-full", "{error}");
}
