//! What comes before and after an app's own build: detection, environment, and the packing of a site.

use super::{median, percentile, phase_ms, row, slipway};
use anyhow::{Result, ensure};
use slipway_testing::{App, TestServer};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Files of the repository that is detected.
const FILES: usize = 10_000;
/// One package per so many files, as in a large workspace.
const FILES_PER_PACKAGE: usize = 200;
const DETECTIONS: usize = 20;
const DEPLOYMENTS: usize = 10;
/// Pages of the documentation site, each about this large, and its pictures.
const PAGES: usize = 2500;
const PAGE_WORDS: usize = 2600;
const PICTURES: usize = 64;
const PICTURE_BYTES: usize = 128 * 1024;
const SITE_DEPLOYMENTS: usize = 3;

/// `slipway plan` of a large repository: walking it, reading what says something, deciding.
pub(crate) fn detection() -> Result<()> {
    let app = repository();
    let times = (0..DETECTIONS).map(|_| plan_ms(app.path())).collect::<Result<Vec<f64>>>()?;
    let figure = format!("{:.0} ms, P95 {:.0} ms", median(&times), percentile(&times, 0.95));
    row(&format!("`slipway plan` of {FILES} files"), &figure, "≤ 100 ms");
    Ok(())
}

/// What a deployment waits for until its own commands may run: the plan, and the environment with its toolchain at hand.
pub(crate) fn environment() -> Result<()> {
    let server = TestServer::start(&slipway()?.to_string_lossy());
    let app = App::node("environment", "v1");
    // Makes the toolchain's layers, if they are not there.
    let _ = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    let mut times = Vec::new();
    for round in 0..DEPLOYMENTS {
        app.set_version(&format!("v{round}"));
        let run = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
        times.push(plan_ms(app.path())? + phase_ms(&run, "environment")?);
    }
    let figure = format!("{:.0} ms, P95 {:.0} ms", median(&times), percentile(&times, 0.95));
    row("plan and environment, toolchain at hand", &figure, "≤ 150 ms");
    Ok(())
}

/// A site of documentation without a build command: its build phase is the packing and nothing else.
pub(crate) fn site() -> Result<()> {
    let server = TestServer::start(&slipway()?.to_string_lossy());
    let app = App::empty("docs").settings("kind = \"static\"\n[site]\ndirectory = \"public\"");
    let bytes = write_site(&app)?;
    let megabytes = bytes as f64 / f64::from(1 << 20);
    let mut times = Vec::new();
    for round in 0..SITE_DEPLOYMENTS {
        app.write("public/round.txt", &round.to_string());
        let run = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
        times.push(phase_ms(&run, "build")?);
    }
    let seconds = median(&times) / 1000.0;
    let figure = format!("{:.0} MB/s ({seconds:.1} s)", megabytes / seconds);
    row(&format!("packing a site of {megabytes:.0} MB in {} files", PAGES + PICTURES), &figure, "≤ 5 s");
    Ok(())
}

fn plan_ms(dir: &Path) -> Result<f64> {
    let start = Instant::now();
    let status = Command::new(slipway()?).arg("plan").arg(dir).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "`slipway plan` ended with {status}");
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// A workspace of many packages, with sources that say nothing to detection.
fn repository() -> App {
    let lines = r#"{"name":"large","workspaces":["packages/*"],"scripts":{"build":"next build","start":"next start"},"dependencies":{"next":"16.0.0"}}"#;
    let app = App::empty("large").with("package.json", lines).with("package-lock.json", "{\"lockfileVersion\":3}");
    let own = 3;
    for number in 0..FILES - own {
        let package = number / FILES_PER_PACKAGE;
        match number % FILES_PER_PACKAGE {
            0 => app.write(
                &format!("packages/p{package}/package.json"),
                &format!("{{\"name\":\"p{package}\",\"dependencies\":{{\"react\":\"19.0.0\"}}}}"),
            ),
            file => app.write(
                &format!("packages/p{package}/src/d{}/f{file}.ts", file % 10),
                &format!("export const value{file} = {number};\n"),
            ),
        }
    }
    app
}

/// Returns how many bytes it wrote.
fn write_site(app: &App) -> Result<usize> {
    let mut noise = Noise(1);
    let mut bytes = 0;
    for number in 0..PAGES {
        let mut page =
            format!("<!doctype html><html lang=\"en\"><head><title>Page {number}</title></head><body><main>");
        for _ in 0..PAGE_WORDS / 20 {
            let words: Vec<String> = (0..20).map(|_| noise.word()).collect();
            page.push_str(&format!(
                "<p class=\"text\"><a href=\"/p{}\">{}</a></p>\n",
                noise.next() % 2500,
                words.join(" ")
            ));
        }
        page.push_str("</main></body></html>");
        bytes += page.len();
        app.write(&format!("public/p{number}/index.html"), &page);
    }
    std::fs::create_dir_all(app.path().join("public/img"))?;
    for number in 0..PICTURES {
        let picture: Vec<u8> = (0..PICTURE_BYTES).map(|_| noise.next().to_le_bytes()[1]).collect();
        bytes += picture.len();
        std::fs::write(app.path().join(format!("public/img/{number}.png")), picture)?;
    }
    Ok(bytes)
}

/// The same text in every run.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    /// Of a vocabulary whose first words are far more frequent than its last, as in any language.
    fn word(&mut self) -> String {
        let rank = self.next() % 4000;
        let rank = rank * rank / 4000;
        let letters = u64::from(rank) * 2_654_435_761;
        let length = 2 + rank % 8;
        (0..length).map(|place| char::from(b'a' + ((letters >> (place * 3)) % 26) as u8)).collect()
    }
}
