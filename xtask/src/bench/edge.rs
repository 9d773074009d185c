//! Requests per second through the edge against nginx as reverse proxy: same cores, same upstream, same client, in turn.

use super::{median, row};
use anyhow::{Context, Result, ensure};
use slipway_edge::{EdgeConfig, EdgeListener};
use slipway_types::route::{Endpoint, Route, RouteTable, Target};
use slipway_types::{ProjectName, ReplicaId, ServiceName};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 5;
const SECONDS: &str = "4";
const CONNECTIONS: &str = "64";
const HOST: &str = "web-bench.localhost";
const START_BOUND: Duration = Duration::from_secs(10);

/// A child that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves one route to `upstream` until the process is ended.
pub(crate) fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = RouteTable {
        generation: 1,
        routes: vec![Route {
            host: HOST.to_owned(),
            project: ProjectName::parse("bench")?,
            service: ServiceName::parse("web")?,
            deployment: None,
            rules: Default::default(),
            targets: vec![Target { replica: ReplicaId::parse("upstream")?, at: Endpoint::Address(upstream) }],
            unavailable_because: None,
            sleep: None,
        }],
    };
    let (_tables, receiver) = tokio::sync::watch::channel(table);
    let (reports, mut reported) = tokio::sync::mpsc::channel(16);
    runtime.block_on(async {
        tokio::spawn(async move { while reported.recv().await.is_some() {} });
        let listener = EdgeListener::bind(listen)?;
        slipway_edge::run(EdgeConfig::default(), listener, receiver, reports, CancellationToken::new()).await?;
        Ok(())
    })
}

pub(crate) fn compare() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (upstream, nginx, edge) = (free_port()?, free_port()?, free_port()?);
    let _upstream = start_nginx(dir.path(), "upstream", &upstream_server(upstream))?;
    let _nginx = start_nginx(dir.path(), "proxy", &proxy_server(nginx, upstream))?;
    let own = std::env::current_exe()?;
    let _edge = Process(
        Command::new(own).args(["edge", &format!("127.0.0.1:{edge}"), &format!("127.0.0.1:{upstream}")]).spawn()?,
    );
    for port in [upstream, nginx, edge] {
        wait_for(port)?;
    }
    let (mut ratios, mut tails, mut speeds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (reference, measured) = (load(nginx)?, load(edge)?);
        ratios.push(measured.requests_per_second / reference.requests_per_second);
        tails.push((measured.p99_ms, reference.p99_ms));
        speeds.push(measured.requests_per_second);
    }
    let own_p99 = median(&tails.iter().map(|(own, _)| *own).collect::<Vec<_>>());
    let nginx_p99 = median(&tails.iter().map(|(_, nginx)| *nginx).collect::<Vec<_>>());
    row("edge requests/s ÷ nginx", &format!("{:.2} ({:.0}/s)", median(&ratios), median(&speeds)), "≥ 0.8");
    row("edge P99 against nginx's", &format!("{own_p99:.1} ms against {nginx_p99:.1} ms"), "reported");
    Ok(())
}

struct Figures {
    requests_per_second: f64,
    p99_ms: f64,
}

fn load(port: u16) -> Result<Figures> {
    let output = Command::new("wrk")
        .args(["-t1", "-c", CONNECTIONS, "-d", SECONDS, "--latency", "-H", &format!("Host: {HOST}")])
        .arg(format!("http://127.0.0.1:{port}/"))
        .output()
        .context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "requests failed:\n{text}");
    let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label).map(str::trim));
    Ok(Figures {
        requests_per_second: after("Requests/sec:").and_then(|n| n.parse().ok()).context("wrk's figure")?,
        p99_ms: after("99%").and_then(milliseconds).context("wrk's P99")?,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    units.into_iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.parse::<f64>().ok().map(|n| n * factor))
}

fn start_nginx(dir: &Path, name: &str, server: &str) -> Result<Process> {
    let file = dir.join(format!("{name}.conf"));
    let config = format!(
        "daemon off; worker_processes auto; pid {0}/{name}.pid; error_log stderr crit;\nevents {{ worker_connections 4096; }}\nhttp {{ access_log off; keepalive_requests 1000000; {server} }}\n",
        dir.display()
    );
    std::fs::write(&file, config)?;
    let child = Command::new("nginx").arg("-c").arg(&file).stdout(Stdio::null()).spawn().context("nginx")?;
    Ok(Process(child))
}

fn upstream_server(port: u16) -> String {
    format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 'a small answer\\n'; }} }}")
}

fn proxy_server(port: u16, upstream: u16) -> String {
    format!(
        "upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; }} server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id; }} }}"
    )
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for(port: u16) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(start.elapsed() < START_BOUND, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
