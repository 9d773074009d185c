//! Sandboxes: each driver that this machine has beside the others, in one run, on the same empty layer.
//!
//! A driver that cannot run here has one row that says why. What a promise needs and the machine lacks (the processor's help) is
//! said in the row too: a figure of a translated machine is not held against a goal for a real one.

mod driver;
mod memory;

use super::{median, percentile, row, slipway};
use anyhow::{Context, Result, ensure};
use driver::Driver;
use slipway_layers::image;
use slipway_sandbox::{
    DriverConfig, NetworkConfig, Sandbox, SandboxConfig, SandboxSpec, Sandboxes, WarmConfig, WritableSpec,
};
use slipway_testing::slot::Slot;
use slipway_types::settings::{ByteSize, ResourceLimits};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const IMAGE_BYTES: u64 = 16 << 20;
const MEMORY_MEBIBYTES: u32 = 256;

/// Each boot claims it, and the next one waits until there is another.
const ONE_AHEAD: WarmConfig = WarmConfig { idle: Some(1), ..WarmConfig::STANDARD };
const WARM_GOAL: &str = "P50 ≤ 30 ms";

pub(crate) fn compare() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let target = slipway()?.parent().context("own directory")?.to_owned();
    for driver in driver::all(&target) {
        match &driver.config {
            Err(why) => row(&format!("`{}`{}", driver.name, driver.how), &format!("not measured: {why}"), driver.goal),
            Ok(config) => {
                for warm in [WarmConfig::OFF, ONE_AHEAD] {
                    let measured = runtime.block_on(measure(&driver, config, warm, &target));
                    measured.with_context(|| format!("the driver `{}`", driver.name))?;
                }
            }
        }
    }
    Ok(())
}

/// What came of all rounds of one driver.
#[derive(Default)]
struct Figures {
    ready: Vec<f64>,
    stop: Vec<f64>,
    steps: BTreeMap<String, Vec<f64>>,
    /// Names of the steps as they follow each other.
    order: Vec<String>,
    memory: Vec<memory::Use>,
}

async fn measure(driver: &Driver, config: &DriverConfig, warm: WarmConfig, target: &Path) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("bench-sandbox-").tempdir_in(target)?;
    let layer = dir.path().join("layer.img");
    image::create(&layer, IMAGE_BYTES)?;
    image::mount(&layer, &dir.path().join("mounted"), image::ReadWrite)?.unmount()?;
    let slot = Slot::claim("servers");
    let config = SandboxConfig {
        sandboxes_dir: dir.path().join("sandboxes"),
        shim_program: slipway()?,
        agent_program: target.join("libexec/slipway-agent"),
        runtime: driver.runtime,
        driver: config.clone(),
        network: NetworkConfig { subnet: slot.subnet().parse()?, ..NetworkConfig::default() },
        ca_bundle: None,
        warm,
    };
    std::fs::create_dir_all(&config.sandboxes_dir)?;
    let sandboxes = Sandboxes::open(config.clone()).await?;
    let mut figures = Figures::default();
    // The first one makes what all others find: pages of the disk's cache, a snapshot where these are used, and the size of what is
    // booted ahead.
    for round in 0..=driver.rounds {
        sandboxes.prepared().await;
        let id = format!("bench-{round}");
        let begun = Instant::now();
        let sandbox = sandboxes.boot(spec(dir.path(), &layer, &id)).await?;
        let ready = begun.elapsed();
        let used = memory::of(&config.sandboxes_dir.join(&id), u64::from(MEMORY_MEBIBYTES) << 20)?;
        let begun = Instant::now();
        sandbox.stop(Duration::from_secs(1)).await?;
        if round > 0 {
            figures.add(&sandbox, ready, begun.elapsed(), used);
        }
    }
    sandboxes.close().await;
    if config.warm == WarmConfig::OFF {
        figures.print(driver);
    } else {
        figures.print_claims(driver);
    }
    Ok(())
}

fn spec(dir: &Path, layer: &Path, id: &str) -> SandboxSpec {
    SandboxSpec {
        id: id.to_owned(),
        layers: vec![layer.to_owned()],
        writable: WritableSpec::scratch(dir.join(format!("{id}.img")), IMAGE_BYTES),
        cache: None,
        limits: ResourceLimits {
            memory: ByteSize::mebibytes(MEMORY_MEBIBYTES.into()),
            cpus: 1.0,
            processes_max: 64,
            disk: ByteSize(IMAGE_BYTES),
        },
        hostname: "bench".to_owned(),
    }
}

fn two(values: &[f64]) -> String {
    format!("P50 {:.1} ms, P95 {:.1} ms", median(values), percentile(values, 0.95))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Figures {
    fn add(&mut self, sandbox: &Sandbox, ready: Duration, stop: Duration, used: memory::Use) {
        self.ready.push(ms(ready));
        self.stop.push(ms(stop));
        self.memory.push(used);
        for (step, micros) in sandbox.boot_steps() {
            if !self.order.contains(step) {
                self.order.push(step.clone());
            }
            self.steps.entry(step.clone()).or_default().push(*micros as f64 / 1000.0);
        }
    }

    fn print_claims(&self, driver: &Driver) {
        let (name, rounds) = (driver.title(), self.ready.len());
        row(&format!("{name}: one that was booted ahead, to agent ready ({rounds})"), &two(&self.ready), WARM_GOAL);
        self.print_steps(&name);
    }

    fn print_steps(&self, name: &str) {
        let parts: Vec<String> =
            self.order.iter().map(|step| format!("{step} {:.1}", median(&self.steps[step]))).collect();
        row(&format!("{name}: where that goes (P50, ms)"), &parts.join(", "), "");
    }

    fn print(&self, driver: &Driver) {
        let (name, rounds) = (driver.title(), self.ready.len());
        row(&format!("{name}: to agent ready ({rounds} boots)"), &two(&self.ready), driver.goal);
        self.print_steps(&name);
        if let Some(slots) = self.steps.get("slot") {
            let figure = format!("P50 {:.3} ms, P95 {:.3} ms", median(slots), percentile(slots, 0.95));
            row(&format!("{name}: claim of a network slot"), &figure, "≤ 1 ms");
        }
        row(&format!("{name}: stop of an idle sandbox"), &two(&self.stop), "");
        let mebibytes = |part: fn(&memory::Use) -> u64| {
            let values: Vec<f64> = self.memory.iter().map(|used| part(used) as f64 / f64::from(1 << 20)).collect();
            median(&values)
        };
        let figure = format!(
            "{:.1} MB (shim {:.1}, machine monitor {:.1}, its devices {:.1}); agent or guest: {:.1} MB",
            mebibytes(memory::Use::overhead),
            mebibytes(|used| used.shim),
            mebibytes(|used| used.monitor),
            mebibytes(|used| used.devices),
            mebibytes(|used| used.guest),
        );
        row(&format!("{name}: the host's memory beside the guest's, idle"), &figure, "");
    }
}

/// Of a row that would otherwise be a silent gap.
fn found(what: &str, file: &Path) -> Result<(), String> {
    let there = || -> Result<()> {
        ensure!(file.is_file(), "{what} `{}` is missing", file.display());
        Ok(())
    };
    there().map_err(|error| error.to_string())
}
