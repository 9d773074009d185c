//! What is no fault of the source.

super::catalogue! { PLATFORM:
    SANDBOX_FAILED = Platform, "sandbox-failed", "The sandbox could not be started",
        "The isolated environment of a build or replica could not be made.", [
        "`slipway doctor` says what is missing on the machine.",
        "Deploy again; nothing of the source is to blame.",
    ];
    LAYER_FAILED = Platform, "layer-failed", "A layer could not be used",
        "An image layer could not be made, mounted or published.", [
        "`slipway doctor` says what is missing on the machine.",
        "Deploy again; nothing of the source is to blame.",
    ];
    HOST_DISK_FULL = Host, "host-disk-full", "The machine's disk is full",
        "There is no room left where Slipway keeps its data.", [
        "`df -h` shows which file system is full; free space there, then deploy again.",
    ];
    DISK_NEARLY_FULL = Host, "disk-nearly-full", "The machine's disk is nearly full",
        "A build would leave less room on the disk than what runs may need, so it does not begin. What runs goes on.", [
        "`slipway cache ls` shows what the layers take and why they stay; `slipway cache gc` and `slipway cache clear` remove what may go.",
        "`layers.quota` and `layers.keep_releases` of the server keep it from coming back; a larger disk does too.",
    ];
    BUILD_MEMORY_OVER_BUDGET = User, "build-memory-over-budget", "The build may take more memory than all builds together",
        "The build's memory limit is larger than what the server gives to all builds together, so it could never begin.", [
        "Lower `build.memory` in `slipway.toml`: it is a limit, not a wish. Where there is a pre-deploy command, `resources.memory` counts too.",
        "Or raise `build.memory` of the server, where the machine has more.",
    ];
    RELEASE_GONE = Host, "release-gone", "Layers of the release are gone",
        "The release was built long ago, and its layers were removed to make room; or the directory of layers lost them.", [
        "`slipway redeploy --rebuild` builds the newest source again; `slipway deploy --git URL --ref COMMIT` builds any other.",
        "`layers.keep_releases` of the server says how many releases stay.",
    ];
    DRIVER_CHANGED = Host, "driver-changed", "The release was built by another driver",
        "The release was built in virtual machines, and the server now runs containers. The kernel of the host never mounts a file \
         system that a virtual machine wrote, since it may have been made to break it.", [
        "`slipway redeploy --rebuild` builds it again, with the driver that the server has now.",
        "Start the server with the driver that built it: `--driver`, or `driver` of its configuration.",
    ];
    HOST_ERROR = Platform, "host-error", "The host could not do its part",
        "Something failed outside of the source and of its commands; the message says what.", [
        "Deploy again; if it stays, look at the server's log.",
    ];
    INTERRUPTED_PRE_DEPLOY = Platform, "interrupted-pre-deploy", "The pre-deploy command was interrupted",
        "The server stopped, or lost its build worker, while the command ran, so it is not known whether it completed. It is not run twice by itself.", [
        "Check what the command has changed, then run `slipway redeploy`.",
    ];
    PHASE_TIMED_OUT = Host, "phase-timed-out", "A phase did not end in time",
        "The build worker neither finished nor reported a failure.", [
        "Run `slipway redeploy`; the server's log has the worker's last words.",
    ];
    START_TIMED_OUT = Host, "start-timed-out", "The replicas were not heard of in time",
        "The host reported neither readiness nor a failure of every replica.", [
        "Run `slipway redeploy`; the server's log says what the host did last.",
    ];
    INTERNAL = Platform, "internal", "The server could not do its part",
        "Something failed in Slipway itself: its database, its keys or its own files.", [
        "The server's log has the cause. Run `slipway redeploy` once it is mended.",
    ];
    UNKNOWN_FAILURE = Platform, "unknown-failure", "Failed without a known reason",
        "There is no evidence of what went wrong, which is a fault of Slipway.", [
        "Deploy again; if it stays, look at the server's log.",
    ];
}
