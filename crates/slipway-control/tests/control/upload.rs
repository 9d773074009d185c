//! Uploads over the wire: stored whole, or refused with nothing left behind. Each kind of refusal is tested beside the
//! check itself; here is what the API makes of it.

use crate::world::{World, archive, gzip};
use bytes::Bytes;
use http::Method;
use slipway_types::api::UploadView;
use std::path::Path;

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn tar(path: &str, kind: tar::EntryType, target: &str) -> Bytes {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, std::io::empty()).unwrap();
    gzip(&builder.into_inner().unwrap()).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_stored_under_its_digest() {
    let world = World::new().await;
    let send = || world.client.send(world.client.request(Method::POST, "/v1/uploads", archive()));
    let first: UploadView = send().await.json();
    let second: UploadView = send().await.json();
    assert_eq!(first, second);
    assert_eq!((first.files, first.bytes), (1, 2));
    assert_eq!(files(&world.path("uploads")), [format!("{}.tar.gz", first.upload)]);
    assert_eq!(std::fs::read(world.path(&format!("uploads/{}.tar.gz", first.upload))).unwrap(), archive());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_leaves_nothing() {
    let world = World::with(|config| config.upload_bytes_max = 4096).await;
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (body, expected) in [
        (tar("../evil", tar::EntryType::Regular, ""), (422, "upload-path-outside")),
        (tar("/etc/passwd", tar::EntryType::Regular, ""), (422, "upload-path-outside")),
        (tar("a", tar::EntryType::Symlink, "../../etc"), (422, "upload-link-outside")),
        (tar("a", tar::EntryType::Link, "/etc/shadow"), (422, "upload-special-file")),
        (tar("a", tar::EntryType::Fifo, ""), (422, "upload-special-file")),
        (tar("a", tar::EntryType::Char, ""), (422, "upload-special-file")),
        (gzip(&[0; 1024]).into(), (422, "upload-empty")),
        (Bytes::from_static(b"not an archive"), (422, "upload-not-an-archive")),
        (noise.into(), (413, "upload-too-large")),
    ] {
        let (status, code) = world.client.send(world.client.request(Method::POST, "/v1/uploads", body)).await.refusal();
        assert_eq!((status, code.as_str()), expected);
    }
    assert_eq!(files(&world.path("uploads")), Vec::<String>::new());
}
