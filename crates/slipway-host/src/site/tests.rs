use super::*;
use slipway_layers::image;
use slipway_types::LayerKind;
use slipway_types::site::{FILES_DIRECTORY, MANIFEST_FILE, RULES_TEXT_BYTES_MAX, SiteManifest, SitePlan};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

const TEXT: &str = "a page that says the same thing over and over; ";

/// A source and what a build wrote above it, as real images, and a store for the site.
struct Bench {
    dir: tempfile::TempDir,
    store: LayerStore,
    layer: LayerRef,
    was_built: bool,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("slipway, site:").tempdir().unwrap();
        let store = LayerStore::open(dir.path().join("layers")).unwrap();
        image::create(&dir.path().join("source.img"), 64 << 20).unwrap();
        image::create(&dir.path().join("written.img"), 64 << 20).unwrap();
        Self { dir, store, layer: LayerRef::new(LayerKind::Site, "dpl-1"), was_built: false }
    }

    /// Changes the tree of an image.
    fn fill(self, name: &str, change: impl FnOnce(&Path)) -> Self {
        let at = self.dir.path().join("fill");
        let mounted = image::mount(&self.dir.path().join(format!("{name}.img")), &at, image::ReadWrite).unwrap();
        let app = mounted.upper().join("app");
        fs::create_dir_all(&app).unwrap();
        change(&app);
        mounted.unmount().unwrap();
        self
    }

    fn source(self, files: &[(&str, &str)]) -> Self {
        self.fill("source", |app| write_all(app, files))
    }

    fn written(mut self, files: &[(&str, &str)]) -> Self {
        self.was_built = true;
        self.fill("written", |app| write_all(app, files))
    }

    fn package(&self, root: &str, directory: &str, fallback: Option<&str>) -> Result<Packed, SiteError> {
        let image = |name: &str| self.dir.path().join(format!("{name}.img"));
        let written = image("written");
        let at = self.dir.path().join("view");
        let view = View::mount(&image("source"), self.was_built.then_some(written.as_path()), &at)?;
        let plan = SitePlan { directory: directory.to_owned(), fallback: fallback.map(str::to_owned) };
        let spec = SiteSpec { root: root.to_owned(), plan };
        package(&self.store, &self.layer, &view, &spec, &CancellationToken::new())
    }

    /// The manifest and all contents of the layer by name.
    fn packed(&self) -> (SiteManifest, BTreeMap<String, Vec<u8>>) {
        let at = self.dir.path().join("read");
        let mounted = image::mount(&self.store.path(&self.layer), &at, image::ReadOnly).unwrap();
        let manifest = serde_json::from_slice(&fs::read(mounted.upper().join(MANIFEST_FILE)).unwrap()).unwrap();
        let entries = fs::read_dir(mounted.upper().join(FILES_DIRECTORY)).unwrap().map(Result::unwrap);
        let contents = entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect();
        (manifest, contents)
    }

    fn paths(&self) -> Vec<String> {
        self.packed().0.files.into_keys().collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = self.dir.path().file_name().unwrap().to_str().unwrap().rsplit(':').next().unwrap().to_owned();
        assert!(!mounts.contains(&own) || std::thread::panicking(), "a mount is left:\n{mounts}");
    }
}

fn write_all(app: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = app.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn what_the_build_left_is_published_not_what_it_removed() {
    let page = TEXT.repeat(100);
    let bench = Bench::new()
        .source(&[("web/dist/index.html", "old"), ("web/dist/gone.html", "x"), ("web/dist/kept.txt", "kept")])
        .written(&[("web/dist/index.html", &page), ("web/dist/img/a b.html", &page), ("web/dist/.well-known/x", "1")])
        .fill("written", |app| {
            let removed = app.join("web/dist/gone.html");
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            // How an overlay says that a file of a lower layer is gone.
            rustix::fs::mknodat(rustix::fs::CWD, &removed, rustix::fs::FileType::CharacterDevice, mode, 0).unwrap();
        });
    let packed = bench.package("web", "dist", Some("/index.html")).unwrap();
    assert_eq!((packed.facts.files, packed.facts.bytes), (4, 2 * page.len() as u64 + 5));
    assert!(packed.compressed_bytes < packed.facts.bytes / 4);
    let (manifest, contents) = bench.packed();
    assert_eq!(manifest.fallback.as_deref(), Some("index.html"));
    let paths: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
    assert_eq!(paths, [".well-known/x", "img/a b.html", "index.html", "kept.txt"]);
    let index = &manifest.files["index.html"];
    assert_eq!(*index, manifest.files["img/a b.html"], "one content stands once");
    assert_eq!(contents[&index.digest], page.as_bytes());
    assert_eq!(index.digest, blake3::hash(page.as_bytes()).to_hex().to_string());
    for (encoding, bytes) in compress::Encoding::ALL.into_iter().zip([index.brotli_bytes, index.gzip_bytes]) {
        let form = &contents[&format!("{}.{}", index.digest, encoding.extension())];
        assert_eq!(bytes, Some(form.len() as u64));
        assert!(encoding.is_of(form, page.as_bytes()));
    }
    assert_eq!(contents.len(), 5, "three contents, one of them with two forms: {:?}", contents.keys());
}

#[test]
fn links_lead_nowhere_but_into_what_was_built() {
    let bench = Bench::new()
        .source(&[("shared/logo.svg", "<svg/>"), (".env", "SECRET=1"), ("dist/a.txt", "a"), ("dist/sub/b.txt", "b")])
        .fill("source", |app| {
            let link = |to: &str, name: &str| symlink(to, app.join("dist").join(name)).unwrap();
            link("a.txt", "inside.txt");
            link("../shared", "shared");
            link("/app/shared/logo.svg", "absolute.svg");
            link("/etc/passwd", "passwd");
            link("../../../../../../etc/passwd", "passwd2");
            link("/proc/self/environ", "environ");
            link("../.env", "config");
            link("nowhere", "dangling");
            link(".", "sub/../loop");
            link("..", "sub/up");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                app.join("dist/pipe"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
        });
    let packed = bench.package("", "dist", None).unwrap();
    assert_eq!(
        bench.paths(),
        ["a.txt", "absolute.svg", "inside.txt", "shared/logo.svg", "sub/b.txt"],
        "{:?}",
        packed.notes
    );
    assert_eq!(packed.notes.into_lines().len(), 8);
}

#[test]
fn what_nobody_publishes_on_purpose_is_left_out() {
    let bench = Bench::new().source(&[
        ("index.html", "x"),
        (".git/config", "x"),
        (".env", "x"),
        (".env.local", "x"),
        (".environment", "x"),
        ("node_modules/a/i.js", "x"),
        ("docs/.env", "x"),
        ("docs/package.json", "{}"),
        (".npmrc", "token"),
        ("package.json", "{}"),
        ("slipway.toml", ""),
        ("netlify.toml", ""),
        ("Procfile", ""),
        ("_redirects", "/a /b\n"),
        ("_headers", "/*\n  X: y\n"),
        ("docs/_redirects", "a page of its own"),
    ]);
    let packed = bench.package("", "", None).unwrap();
    assert_eq!(packed.facts.redirects_text.as_deref(), Some("/a /b\n"));
    assert_eq!(packed.facts.headers_text.as_deref(), Some("/*\n  X: y\n"));
    assert_eq!(bench.paths(), [".environment", "docs/_redirects", "docs/package.json", "index.html"]);
}

/// Bundlers put the files that packages bring below a directory of that name.
#[test]
fn files_of_packages_that_a_build_wrote_are_published() {
    let bench = Bench::new().source(&[("dist/index.html", "x"), ("dist/assets/node_modules/a/font.ttf", "x")]);
    bench.package("", "dist", None).unwrap();
    assert_eq!(bench.paths(), ["assets/node_modules/a/font.ttf", "index.html"]);
}

#[test]
fn compressed_forms_of_the_build_are_taken_only_when_they_are_true() {
    let script = TEXT.repeat(100);
    let good = compress::Encoding::Brotli.compress(script.as_bytes(), compress::Effort::of_site(0)).unwrap();
    let bomb = compress::Encoding::Gzip.compress(&vec![0; 64 << 20], compress::Effort::of_site(0)).unwrap();
    let bench = Bench::new().source(&[("a.js", &script), ("alone.js.br", "no original"), ("p.png", "png")]).fill(
        "source",
        |app| {
            fs::write(app.join("a.js.br"), &good).unwrap();
            fs::write(app.join("a.js.gz"), &bomb).unwrap();
            fs::write(app.join("p.png.gz"), "no form of a picture").unwrap();
        },
    );
    let packed = bench.package("", ".", None).unwrap();
    let (manifest, contents) = bench.packed();
    let paths: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["a.js", "a.js.br", "a.js.gz", "alone.js.br", "p.png", "p.png.gz"]);
    let file = &manifest.files["a.js"];
    assert_eq!(contents[&format!("{}.br", file.digest)], good);
    let gzip = &contents[&format!("{}.gz", file.digest)];
    assert!(
        compress::Encoding::Gzip.is_of(gzip, script.as_bytes()),
        "made here, since the build's was another content"
    );
    assert_eq!(packed.notes.into_lines(), ["`a.js.gz` is no smaller form of `a.js`"]);
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let bench = Bench::new()
        .source(&[("web/index.html", "x")])
        .written(&[
            ("web/out/index.html", "x"),
            ("web/out/assets/a.js", "x"),
            ("web/tmp/log", "x"),
            ("web/empty/.env", "x"),
        ])
        .fill("written", |app| symlink("/etc", app.join("web/etc")).unwrap());
    let error = |directory: &str, fallback| bench.package("web", directory, fallback).unwrap_err();
    let missing = error("dist", None);
    assert_eq!(missing.code(), "site-directory-missing");
    let wrote = "the build wrote `out` (with an `index.html`), `tmp`, `out/assets`";
    let wrote = wrote.replace(", `tmp`, `out/assets`", ", `empty`, `tmp`, `out/assets`");
    assert_eq!(missing.to_string(), format!("there is no directory `dist` after the build; {wrote}"));
    assert_eq!(error("etc", None).code(), "site-directory-missing", "a link out of the tree is nothing");
    assert_eq!(error("../..", None).code(), "site-directory-missing");
    assert_eq!(error("empty", None).to_string(), format!("the directory `empty` holds no file to publish; {wrote}"));
    let fallback = error("out", Some("app.html"));
    assert_eq!(fallback.code(), "site-fallback-missing");
    assert_eq!(fallback.to_string(), "`app.html` is not among the 2 published files of `out`");
    assert!(!bench.store.contains(&bench.layer), "nothing is published of a failure");
}

#[test]
fn without_a_build_the_source_is_named() {
    let bench = Bench::new().source(&[("public/index.html", "x")]);
    let error = bench.package("", "dist", None).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no directory `dist` in the source, and there is no build command; the source has `public` (with an `index.html`)"
    );
}

#[test]
fn rules_are_bounded_and_a_later_build_replaces() {
    let long = "#".repeat(usize::try_from(RULES_TEXT_BYTES_MAX).unwrap() + 1);
    let bench = Bench::new().source(&[("a/index.html", "1"), ("b/index.html", "2"), ("c/_headers", &long)]);
    assert_eq!(bench.package("", "c", None).unwrap_err().code(), "site-too-large");
    bench.package("", "a", None).unwrap();
    bench.package("", "b", None).unwrap();
    assert_eq!(bench.packed().1.into_values().collect::<Vec<_>>(), [b"2"]);
}

#[test]
fn a_large_file_is_copied_as_it_is() {
    let bench = Bench::new().source(&[("big.json", &"[1]".repeat(6 << 20))]);
    bench.package("", "", None).unwrap();
    let (manifest, contents) = bench.packed();
    let file = &manifest.files["big.json"];
    assert_eq!((file.bytes, file.brotli_bytes, file.gzip_bytes), (18 << 20, None, None));
    assert_eq!(
        contents.keys().collect::<Vec<_>>(),
        [&blake3::hash("[1]".repeat(6 << 20).as_bytes()).to_hex().to_string()]
    );
}

#[test]
fn a_canceled_build_publishes_nothing() {
    let bench = Bench::new().source(&[("index.html", "x")]);
    let view = View::mount(&bench.dir.path().join("source.img"), None, &bench.dir.path().join("view")).unwrap();
    let spec = SiteSpec { root: String::new(), plan: SitePlan { directory: String::new(), fallback: None } };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = package(&bench.store, &bench.layer, &view, &spec, &cancel).unwrap_err();
    assert!(matches!(error, SiteError::Canceled));
    drop(view);
    assert!(!bench.store.contains(&bench.layer));
}
