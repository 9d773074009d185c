use super::*;
use slipway_layers::ColdCredentials;
use slipway_sandbox::Runtime;
use slipway_sandbox::guest::KernelSource;

fn global(data: Option<&str>) -> GlobalOptions {
    GlobalOptions { data: data.map(PathBuf::from), url: None, token: None, project: None, service: None, json: false }
}

fn options(config: Option<&Path>) -> ServerOptions {
    ServerOptions { config: config.map(Path::to_owned), ..ServerOptions::default() }
}

fn resolve(text: &str, data: Option<&str>, change: impl FnOnce(&mut ServerOptions)) -> Result<ServerConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slipway-server.toml");
    std::fs::write(&path, text).unwrap();
    let mut options = options(Some(&path));
    change(&mut options);
    ServerConfig::resolve(&global(data), &options).map_err(|failure| format!("{failure:?}"))
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = resolve("", None, |_| {}).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/slipway"));
    assert_eq!(config.api_listen.to_string(), "127.0.0.1:7700");
    assert_eq!(config.edge_listen.to_string(), "127.0.0.1:8080");
    assert_eq!((config.domain.as_str(), config.driver), ("localhost", Driver::Auto));
    assert_eq!(config.host.layers_dir, Path::new("/var/lib/slipway/layers"));
    assert_eq!(config.host.sandbox.sandboxes_dir, Path::new("/var/lib/slipway/sandboxes"));
    assert_eq!(config.host.sandbox.agent_program.file_name().unwrap(), "slipway-agent");
    assert_eq!(config.host.sandbox.network.subnet.to_string(), "10.201.0.0/16");
    assert!(config.host.workers >= 1);
    assert_eq!(config.host.sandbox.warm, WarmConfig::STANDARD);
}

#[test]
fn every_key_of_the_file_counts() {
    let text = r#"
        data = "/srv/slipway"
        upload_bytes_max = "64MB"
        drain_timeout = "5s"
        api.listen = "127.0.0.1:1"
        edge = { listen = "0.0.0.0:80", domain = "apps.example.org", proxy_allow = ["10.0.0.0/8", "fd00::/8"] }
        build.workers = 3
        [layers]
        dir = "/srv/layers"
        quota = "50GB"
        service_quota = "5GB"
        keep_free = "3GB"
        keep_releases = 4
        [logs]
        service_bytes = "64MB"
        deployment_bytes = "2MB"
        server_bytes = "1GB"
        replica_rate = "2MB"
        [layers.cold]
        endpoint = "http://s3.example:8333"
        bucket = "layers"
        prefix = "/a/b/"
        region = "eu-1"
        credentials = "/dev/../etc/hostname"
        concurrency = 3
        bytes_per_second = "10MB"
        allow_http = true
        [sandbox]
        driver = "oci"
        runtime = "crun"
        warm = { idle = 3, memory = "512MB" }
        subnet = "10.99.0.0/16"
        allow = ["192.168.1.0/24"]
        dns = ["1.1.1.1"]
        ca_bundle = "/dev/../etc/hostname"
        agent = "/opt/agent"
        firecracker = "/dev/../etc/hostname"
        jailer = "/dev/../etc/hostname"
        qemu = "/dev/../etc/passwd"
        vhost_device_vsock = "/dev/../etc/group"
        kernel = "/dev/../etc/hostname"
        kernel_modules = "/etc"
        kernel_words = "quiet"
        snapshots = true
        io = { disk_bytes_per_second = "10MB", network_packets_per_second = 7 }
        [base]
        suite = "trixie"
        mirror = "http://mirror.example/debian"
        packages = ["git"]
        image = "/srv/base.img"
        [node]
        source = "nodejs-org"
        url = "https://mirror.example/node"
        npm = "/opt/npm"
        [python]
        pip = "/opt/pip"
        mirror = "file:///srv/python"
        list = "/srv/python.json"
    "#;
    let config = resolve(text, None, |_| {}).unwrap();
    let host = &config.host;
    assert_eq!(config.data_dir, Path::new("/srv/slipway"));
    assert_eq!((config.upload_bytes_max, config.drain_timeout), (64 << 20, Duration::from_secs(5)));
    assert_eq!((config.api_listen.port(), config.edge_listen.port()), (1, 80));
    assert_eq!((config.domain.as_str(), config.driver), ("apps.example.org", Driver::Oci));
    let warm = &config.host.sandbox.warm;
    assert_eq!((warm.idle, warm.memory_bytes), (Some(3), ByteSize::mebibytes(512).0));
    let allow = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    assert_eq!((config.proxy.allow, config.proxy.ca_bundle), (allow.to_vec(), host.sandbox.ca_bundle.clone()));
    assert_eq!((host.workers, host.layers_dir.to_str()), (3, Some("/srv/layers")));
    assert_eq!((config.keep_releases, host.layers.quota), (4, Some(50 << 30)));
    assert_eq!((host.layers.service_quota, host.layers.keep_free), (Some(5 << 30), Some(3 << 30)));
    let logs = config.logs;
    assert_eq!((logs.service_bytes, logs.deployment_bytes, logs.server_bytes), (64 << 20, 2 << 20, 1 << 30));
    assert_eq!((host.replica_rate.bytes_per_second, host.replica_rate.burst_bytes), (2 << 20, 16 << 20));
    let cold = host.layers.cold.clone().unwrap();
    assert_eq!((cold.endpoint.as_deref(), cold.region.as_deref()), (Some("http://s3.example:8333"), Some("eu-1")));
    assert_eq!((cold.bucket.as_str(), cold.prefix.as_str(), cold.concurrency), ("layers", "a/b", 3));
    assert_eq!((cold.bytes_per_second, cold.allow_http), (Some(10 << 20), true));
    assert_eq!(cold.credentials, ColdCredentials::File("/dev/../etc/hostname".into()));
    assert_eq!(cold.ca_bundle, host.sandbox.ca_bundle, "without its own it trusts what sandboxes trust");
    let programs = &config.machines.programs;
    assert_eq!(programs.qemu.as_deref(), Some(Path::new("/dev/../etc/passwd")));
    assert_eq!(programs.vhost_device_vsock.as_deref(), Some(Path::new("/dev/../etc/group")));
    assert!(programs.firecracker == programs.jailer && programs.jailer.is_some());
    let kernel = KernelSource::Files { kernel: "/dev/../etc/hostname".into(), modules: Some("/etc".into()) };
    assert_eq!((&config.machines.kernel, config.machines.kernel_words.as_str()), (&kernel, "quiet"));
    let limits = config.machines.limits;
    assert_eq!((limits.disk_bytes_per_second, limits.network_packets_per_second), (Some(10 << 20), Some(7)));
    assert_eq!((limits.disk_operations_per_second, config.machines.snapshots), (None, true));
    assert_eq!(host.sandbox.runtime, Runtime::Crun);
    assert_eq!(host.sandbox.network.allow[0].to_string(), "192.168.1.0/24");
    assert_eq!(host.sandbox.network.dns[0].to_string(), "1.1.1.1");
    assert_eq!(host.sandbox.agent_program, Path::new("/opt/agent"));
    assert_eq!((host.base.suite.as_str(), host.base.packages.len()), ("trixie", 1));
    assert_eq!(host.node, NodeSource::NodejsOrg { base_url: "https://mirror.example/node".into() });
    assert_eq!(host.npm_program, Path::new("/opt/npm"));
    let python = (host.python.pip_program.to_str(), host.python.mirror.as_deref(), host.python.list.as_deref());
    assert_eq!(python, (Some("/opt/pip"), Some("file:///srv/python"), Some("/srv/python.json")));
    assert!(resolve("python.mirror = \"/srv/python\"", None, |_| {}).is_err(), "a path is no URL");
}

#[test]
fn flags_win_over_the_file() {
    let text = "data = \"/a\"\napi.listen = \"127.0.0.1:1\"\nedge.domain = \"a\"";
    let config = resolve(text, Some("/b"), |options| {
        options.listen = Some("127.0.0.1:2".parse().unwrap());
        options.domain = Some("b".into());
    });
    let config = config.unwrap();
    assert_eq!(config.data_dir, Path::new("/b"));
    assert_eq!((config.api_listen.port(), config.domain.as_str()), (2, "b"));
}

#[test]
fn what_cannot_be_is_refused() {
    for (text, part) in [
        ("dta = 1", "unknown field `dta`"),
        ("[edge]\nport = 1", "unknown field `port`"),
        ("edge.domain = \"A.b\"", "not a usable domain"),
        ("edge.domain = \"a..b\"", "not a usable domain"),
        ("edge.listen = \"8080\"", "socket address"),
        ("edge.proxy_allow = [\"10.0.0.0/33\"]", "is no network"),
        ("build.workers = 0", "1 to 64"),
        ("upload_bytes_max = \"1GB\"", "larger than"),
        ("sandbox.subnet = \"10.0.0.0\"", "choose a prefix"),
        ("sandbox.subnet = \"10.0.0\"", "10.0.0"),
        ("sandbox.ca_bundle = \"/missing\"", "no certificate bundle"),
        ("sandbox.driver = \"docker\"", "unknown variant"),
        ("sandbox.warm.idle = 17", "0 to 16"),
        ("sandbox.qemu = \"/missing\"", "no file `/missing`"),
        ("sandbox.kernel_modules = \"/lib\"", "goes with `sandbox.kernel`"),
        ("sandbox = { kernel = \"/etc/hostname\", kernel_modules = \"/missing\" }", "no directory `/missing`"),
        ("node = { source = \"npm\", url = \"x\" }", "node.url"),
        ("layers.keep_releases = 0", "1 to 1000"),
        ("logs.service_bytes = 1000", "too small"),
        ("logs.replica_rate = \"1KB\"", "16 KB to 16 MB"),
        ("layers.quota = \"10MB\"", "is too small"),
        ("layers.service_quota = \"many\"", "is not a size"),
        ("layers.cold = {}", "is not the name of a bucket"),
        ("layers.cold = { bucket = \"B\" }", "is not the name of a bucket"),
        ("layers.cold = { bucket = \"abc\", endpoint = \"s3.example\" }", "is not a URL"),
        ("layers.cold = { bucket = \"abc\", endpoint = \"http://s3.example\" }", "allow_http"),
        ("layers.cold = { bucket = \"abc\", endpoint = \"https://a:b@s3.example\" }", "must not hold credentials"),
        ("layers.cold = { bucket = \"abc\", credentials = \"/missing\" }", "no file `/missing`"),
        ("layers.cold = { bucket = \"abc\", ca_bundle = \"/missing\" }", "no file `/missing`"),
        ("layers.cold = { bucket = \"abc\", concurrency = 99 }", "1 to 64"),
        ("layers.cold = { bucket = \"abc\", bytes_per_second = \"1KB\" }", "too slow"),
        ("layers.cold = { bucket = \"abc\", secret = \"x\" }", "unknown field `secret`"),
        ("x", "TOML parse error"),
    ] {
        let refusal = resolve(text, None, |_| {}).unwrap_err();
        assert!(refusal.contains(part), "{text}: {refusal}");
    }
    let missing = options(Some(Path::new("/missing.toml")));
    assert!(ServerConfig::resolve(&global(None), &missing).is_err());
}

#[test]
fn a_release_of_firecracker_is_named_whole() {
    let digest = "0123456789abcdef".repeat(4);
    let table = |version: &str, sha256: &str| format!("version = \"{version}\"\nsha256 = \"{sha256}\"\n");
    let release = |text: &str| resolve(&format!("[sandbox.firecracker_release]\n{text}"), None, |_| {});
    let config = release(&table("1.12.1", &digest)).unwrap();
    let programs = &config.machines.programs;
    assert!(programs.jailer.as_ref().unwrap().ends_with("firecracker/1.12.1/jailer"), "{programs:?}");
    assert!(config.machines.release.unwrap().url.contains("{version}"));
    for bad in [table("../1.12", &digest), table("1.12.1", "abc"), "version = \"1.12.1\"".to_owned()] {
        assert!(release(&bad).is_err(), "{bad}");
    }
    let known = release(&format!("version = \"{}\"", slipway_sandbox::RELEASE_VERSION)).unwrap();
    assert_eq!(known.machines.release.unwrap().sha256.len(), 64, "its digest is known");
    let unset = resolve("", None, |_| {}).unwrap().machines;
    assert!(unset.fetches_unasked && unset.release.is_none());
    assert!(!resolve("sandbox.firecracker_release = false", None, |_| {}).unwrap().machines.fetches_unasked);
    for (bad, part) in [("true", "leave it out"), ("\"1.17.0\"", "expected `false`")] {
        let refusal = resolve(&format!("sandbox.firecracker_release = {bad}"), None, |_| {}).unwrap_err();
        assert!(refusal.contains(part), "{bad}: {refusal}");
    }
    assert!(resolve("[sandbox.io]\ndisk_bytes_per_second = 0", None, |_| {}).is_err());
}
