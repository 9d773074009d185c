//! `slipway debug bundle`: what somebody who helps has to see of a server, in one file.
//!
//! ```text
//! zstd( tar( slipway-debug/CONTENTS, versions.txt, doctor.json, server.json, ready.json, services.json, events.json,
//!            metrics.txt, config.toml, server.log, processes.txt, mounts.txt, networks.txt, disks.txt ) )
//! ```
//! Guarantees: it is made with whatever there is, and says what there is not: a server that is down is when it is needed most. No
//! value of a variable is asked for; credentials that lie in the data directory and in this process's environment are looked for in
//! each part and hidden ([`hide`]); and only its owner may read the file.

mod hide;
mod system;

use crate::cli::GlobalOptions;
use crate::client::{Client, ClientError, Query};
use crate::failure::Failure;
use crate::server::{self, Places};
use hide::Hider;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The newest, of all services: as many as the server gives at once.
const EVENTS_MAX: u32 = 1000;
/// A server that hangs must not hold up the rest.
const ASK_TIME_MAX: Duration = Duration::from_secs(10);
const DIRECTORY: &str = "slipway-debug";
const LEVEL: i32 = 3;

/// One file of the bundle; or why there is none.
struct Part {
    name: &'static str,
    content: Result<String, String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Bundle {
    pub(crate) file: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) parts: usize,
    /// Parts that could not be had, with the reason.
    pub(crate) missing: Vec<String>,
}

/// # Errors
/// When the file exists already or cannot be written.
pub(crate) async fn bundle(
    global: &GlobalOptions,
    config: Option<PathBuf>,
    file: Option<PathBuf>,
) -> Result<Bundle, Failure> {
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{DIRECTORY}-{}.tar.zst", now().as_secs())));
    let unwritable = |error: io::Error| {
        let hint = "name another file, or remove that one";
        Failure::usage(format!("cannot write `{}`", file.display())).caused_by(&error).hint(hint)
    };
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(unwritable)?;
    let places = Places::find(global, config.clone());
    let mut parts = of_server(global).await;
    parts.push(Part { name: "doctor.json", content: doctor(global, config).await });
    match &places {
        Ok(places) => parts.extend(of_machine(places).await),
        Err(failure) => parts.push(Part { name: "config.toml", content: Err(failure.in_one_line()) }),
    }
    let hider = Hider::of(places.as_ref().ok());
    let missing = parts.iter().filter_map(|part| Some(format!("{}: {}", part.name, part.content.as_ref().err()?)));
    let missing: Vec<String> = missing.map(|line| hider.hide(&line)).collect();
    let written = write(out, &parts, &missing, &hider).map_err(unwritable);
    if written.is_err() {
        let _ = std::fs::remove_file(&file);
    }
    Ok(Bundle { bytes: written?, parts: parts.len() - missing.len(), missing, file })
}

async fn of_server(global: &GlobalOptions) -> Vec<Part> {
    let names = ["server.json", "ready.json", "services.json", "events.json", "metrics.txt"];
    let client = match Client::discover(global) {
        Ok(client) => client,
        Err(error) => {
            let why = error.to_string();
            return names.into_iter().map(|name| Part { name, content: Err(why.clone()) }).collect();
        }
    };
    let mut newest = Query::default();
    newest.add("limit", &EVENTS_MAX.to_string());
    let [server, ready, services, events, metrics] = names;
    vec![
        Part { name: server, content: asked(async { Ok(pretty(&client.server().await?)) }).await },
        Part { name: ready, content: asked(client.readiness()).await },
        Part { name: services, content: asked(async { Ok(pretty(&client.services().await?)) }).await },
        Part { name: events, content: asked(async { Ok(pretty(&client.events(None, &newest).await?)) }).await },
        Part { name: metrics, content: asked(client.metrics()).await },
    ]
}

async fn asked(answer: impl Future<Output = Result<String, ClientError>>) -> Result<String, String> {
    match tokio::time::timeout(ASK_TIME_MAX, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the server did not answer within {} s", ASK_TIME_MAX.as_secs())),
    }
}

async fn doctor(global: &GlobalOptions, config: Option<PathBuf>) -> Result<String, String> {
    let checks = server::checks(global, config).await.map_err(|failure| failure.in_one_line())?;
    Ok(pretty(&checks))
}

async fn of_machine(places: &Places) -> Vec<Part> {
    let config = match &places.config_file {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| error.to_string()).and_then(|text| hide::config(&text))
        }
        None => Err("there is none: the defaults hold".to_owned()),
    };
    vec![
        Part { name: "config.toml", content: config },
        Part { name: "versions.txt", content: Ok(system::versions().await) },
        Part { name: "server.log", content: system::server_log().await },
        Part { name: "processes.txt", content: system::processes().await },
        Part { name: "mounts.txt", content: system::mounts(&places.data_dir, &places.layers_dir) },
        Part { name: "networks.txt", content: system::networks().await },
        Part { name: "disks.txt", content: system::disks(&places.data_dir, &places.layers_dir).await },
    ]
}

fn write(out: File, parts: &[Part], missing: &[String], hider: &Hider) -> io::Result<u64> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(out, LEVEL)?);
    let names = parts.iter().filter(|part| part.content.is_ok()).map(|part| format!("{}\n", part.name));
    let lacks = missing.iter().map(|line| format!("missing: {line}\n"));
    let contents: String = names.chain(lacks).collect();
    add(&mut tar, "CONTENTS", &contents)?;
    for part in parts {
        if let Ok(content) = &part.content {
            add(&mut tar, part.name, &hider.hide(content))?;
        }
    }
    let mut out = tar.into_inner()?.finish()?;
    out.flush()?;
    out.sync_all()?;
    Ok(out.metadata()?.len())
}

fn add(tar: &mut tar::Builder<impl Write>, name: &str, content: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(now().as_secs());
    tar.append_data(&mut header, Path::new(DIRECTORY).join(name), content.as_bytes())
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
