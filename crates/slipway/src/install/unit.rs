//! The files of an installation as text.
//!
//! A server of Slipway mounts images, makes namespaces, devices and cgroups, and what it starts inherits its restrictions: many
//! directives that suit other services would break it. Those that are left out are named in `docs/operating.md` with the reason.

use std::net::SocketAddr;

pub(super) const BINARY: &str = "/usr/local/lib/slipway/slipway";
pub(super) const AGENT: &str = "/usr/local/lib/slipway/libexec/slipway-agent";
pub(super) const LINK: &str = "/usr/local/bin/slipway";
pub(super) const CONFIG: &str = "/etc/slipway/slipway-server.toml";
pub(super) const FIREWALL: &str = "/etc/slipway/firewall.nft";
pub(super) const SERVICE: &str = "/etc/systemd/system/slipway.service";
pub(super) const SOCKET: &str = "/etc/systemd/system/slipway-edge.socket";
pub(super) const FIREWALL_SERVICE: &str = "/etc/systemd/system/slipway-firewall.service";
pub(super) const JOURNAL: &str = "/etc/systemd/journald@slipway.conf";

/// Of the kernel's queue: as many as the edge asks for itself.
const BACKLOG: i32 = slipway_edge::limits::ACCEPT_BACKLOG;

pub(super) fn service() -> String {
    format!(
        r#"# Written by `slipway install`. Changes of your own belong into `systemctl edit slipway`.
[Unit]
Description=Slipway: deployments, apps and their reverse proxy
# Apps reach out from their first moment on, and no moment without rules.
Wants=network-online.target
After=network-online.target slipway-firewall.service
# The socket outlives the server: while it restarts, connections wait instead of being refused.
Requires=slipway-edge.socket
After=slipway-edge.socket
# Restart for ever: whoever gives up takes every app's updates with it.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={BINARY} server --config {CONFIG}
# The first start makes the base system of all sandboxes.
TimeoutStartSec=30min
Restart=always
RestartSec=1
# Apps are held by processes of their own, and go on while the server is stopped, replaced or dead.
KillMode=process
# Builds end within 20 s, requests within 30 s.
TimeoutStopSec=60
# Each sandbox is a cgroup that the server makes, limits and removes.
Delegate=yes
TasksMax=infinity
# Each connection of the edge is two files.
LimitNOFILE=1048576
# When memory runs out, an app goes first; what the server starts for apps does not inherit this.
OOMScoreAdjust=-900
# A journal of its own: `journalctl --namespace slipway`. Its bounds are in {JOURNAL}.
LogNamespace=slipway
SyslogIdentifier=slipway

# No program that it or an app starts gains rights by a file's owner or capabilities.
NoNewPrivileges=yes
# Capabilities that neither mounts nor namespaces nor networks need: reboot, clock, kernel modules, kernel log, audit, policies.
CapabilityBoundingSet=~CAP_SYS_BOOT CAP_SYS_TIME CAP_SYS_MODULE CAP_SYSLOG CAP_SYS_PACCT CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_SYS_TTY_CONFIG
# No real-time scheduling, by which one process could hold a core.
RestrictRealtime=yes
# No other personality of the kernel than Linux's own.
LockPersonality=yes
# No system calls of another architecture, whose filters are weaker.
SystemCallArchitectures=native
# Keys of the kernel's keyring are not shared with other services.
KeyringMode=private

[Install]
WantedBy=multi-user.target
"#
    )
}

pub(super) fn socket(edge: SocketAddr) -> String {
    format!(
        r"# Written by `slipway install`. Its address is `edge.listen` of {CONFIG}: run `slipway install` again after a change.
[Unit]
Description=Slipway: the socket of the reverse proxy

[Socket]
ListenStream={edge}
FileDescriptorName=edge
Service=slipway.service
Backlog={BACKLOG}

[Install]
WantedBy=sockets.target
"
    )
}

pub(super) fn firewall_service() -> String {
    format!(
        r"# Written by `slipway install`. The rules are in {FIREWALL}; `systemctl disable --now slipway-firewall` takes them away.
[Unit]
Description=Slipway: firewall
# Before there is a network, and gone after it.
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {FIREWALL}
ExecReload=/usr/sbin/nft -f {FIREWALL}
ExecStop=/usr/sbin/nft delete table inet {table}

[Install]
WantedBy=sysinit.target
",
        table = super::firewall::TABLE
    )
}

pub(super) fn journal() -> String {
    "# Written by `slipway install`: bounds of the server's log, which the journal rotates by itself.\n\
     [Journal]\nStorage=persistent\nSystemMaxUse=1G\nSystemMaxFileSize=64M\nMaxRetentionSec=90day\n\
     RateLimitIntervalSec=30s\nRateLimitBurst=20000\n"
        .to_owned()
}

pub(super) fn config(domain: Option<&str>) -> String {
    let domain = match domain {
        Some(domain) => format!("domain = \"{domain}\"\n"),
        None => "# Services are at <service>-<project>.<domain>.\n# domain = \"apps.example.com\"\n".to_owned(),
    };
    format!("# See docs/configuration.md.\n\n[edge]\nlisten = \"0.0.0.0:80\"\n{domain}")
}
