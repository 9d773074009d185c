//! Commands about one service: its settings, its address, its end.

use super::args::GlobalOptions;
use super::{Session, pairs};
use crate::client::{Client, ServicePath};
use crate::failure::{Exit, Failure};
use crate::output;
use slipway_types::api::SettingsView;
use std::io::{self, BufRead, IsTerminal};
use std::process::Stdio;

pub(super) async fn set(global: &GlobalOptions, arguments: &[String]) -> Result<(), Failure> {
    let patch = pairs::settings(arguments)?;
    let session = Session::here(global)?;
    let stored = session.client.change_settings(session.path(), &SettingsView { settings: patch }).await?;
    if global.json {
        return output::json(&stored.settings);
    }
    output::say(&format!("{} is changed from its next deployment on", session.target));
    if let Some(effect) = strongest(arguments) {
        output::say(&effect.to_string());
    }
    Ok(())
}

/// What it takes for all of them.
fn strongest(arguments: &[String]) -> Option<slipway_pipeline::Effect> {
    let keys = arguments.iter().filter_map(|argument| argument.split_once('=')).map(|(key, _)| key);
    keys.filter_map(slipway_pipeline::setting_effect).max()
}

pub(super) async fn show(global: &GlobalOptions) -> Result<(), Failure> {
    let session = Session::here(global)?;
    let stored = session.client.settings(session.path()).await?;
    if global.json {
        return output::json(&stored.settings);
    }
    let text = toml::to_string(&stored.settings)
        .map_err(|error| Failure::server("cannot show the settings as TOML").caused_by(&error))?;
    if text.is_empty() {
        output::say(&format!("nothing is set for {}: `slipway.toml` and the defaults decide", session.target));
        return Ok(());
    }
    output::data(text.trim_end())
}

pub(super) async fn open(global: &GlobalOptions) -> Result<(), Failure> {
    let session = Session::here(global)?;
    let service = session.client.service(session.path()).await?;
    let url = service.url.ok_or_else(|| {
        Failure::usage(format!("{} has no address", session.target))
            .hint("a worker has none, and a web service once it is live")
    })?;
    if global.json {
        return output::json(&serde_json::json!({ "url": url }));
    }
    output::data(&url)?;
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if has_display {
        let mut command = std::process::Command::new("xdg-open");
        command.arg(&url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // The address is printed already; without a browser that is all.
        if command.spawn().is_err() {
            output::say("there is no `xdg-open` to open it with");
        }
    }
    Ok(())
}

pub(super) async fn destroy(global: &GlobalOptions, yes: bool) -> Result<(), Failure> {
    let session = Session::here(global)?;
    // Refused for a service that is not there, before the question.
    session.client.service(session.path()).await?;
    if !yes {
        confirm(&session.target.to_string())?;
    }
    session.client.destroy(session.path()).await?;
    if global.json {
        let target = &session.target;
        return output::json(
            &serde_json::json!({ "destroyed": { "project": target.project, "service": target.service } }),
        );
    }
    output::say(&format!("{} is destroyed", session.target));
    Ok(())
}

/// Every service of the server, one after the other; what a person removes before the server itself.
pub(super) async fn destroy_all(global: &GlobalOptions, yes: bool) -> Result<(), Failure> {
    let client = Client::discover(global)?;
    let services = client.services().await?;
    if !yes && !services.is_empty() {
        confirm(&format!("all {} services", services.len()))?;
    }
    for service in &services {
        client.destroy(ServicePath { project: &service.project, service: &service.service }).await?;
        output::say(&format!("{}/{} is destroyed", service.project, service.service));
    }
    Ok(())
}

fn confirm(name: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("destroying {name} needs a yes")).hint("add `--yes`"));
    }
    output::say(&format!("this removes {name} with its releases, variables and logs; type `{name}` to go on"));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == name => Ok(()),
        _ => Err(Failure::new(Exit::Usage, "nothing was destroyed")),
    }
}
