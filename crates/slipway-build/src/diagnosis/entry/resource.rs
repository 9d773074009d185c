//! Limits that were reached.

super::catalogue! { RESOURCE:
    HEAP_OUT_OF_MEMORY = User, "heap-out-of-memory", "JavaScript ran out of heap",
        "The heap of Node.js reached its own limit, which is below the memory of the sandbox. The kernel killed nothing.", [
        "Raise the heap: `slipway env set --build NODE_OPTIONS=--max-old-space-size=3072`, about three quarters of the sandbox's memory in MB.",
        "Raise the memory with it: `build.memory` or `resources.memory` in `slipway.toml`.",
    ];
    OUT_OF_MEMORY = User, "out-of-memory", "The sandbox ran out of memory",
        "The kernel killed a process because the sandbox reached its memory limit.", [
        "Raise `build.memory` (builds) or `resources.memory` (the app) in `slipway.toml`.",
        "Or make the work smaller: fewer parallel workers, no source maps, a lower `--max-old-space-size`.",
    ];
    DISK_FULL = User, "disk-full", "The sandbox ran out of disk",
        "The writable layer reached its limit. Caches and build output count, dependencies from an unchanged lockfile do not.", [
        "Raise `build.disk` (builds) or `resources.disk` (the app) in `slipway.toml`.",
        "Write less: old caches, source maps and downloaded browsers are the usual bulk.",
    ];
    TIMED_OUT = User, "timed-out", "A command took too long",
        "The command was ended when its time was over.", [
        "Check that it ends by itself: a watcher (`vite`, `tsc --watch`), a server or a question on the terminal never does.",
        "Raise `build.timeout` or `pre_deploy_timeout` in `slipway.toml`.",
    ];
    TOO_MANY_OPEN_FILES = User, "too-many-open-files", "Too many files are open",
        "The process has as many files and connections open as it may (`EMFILE`).", [
        "Close what is opened: streams, connections and watchers. A number that only grows is a leak.",
        "Open fewer at a time: a queue with a bound instead of `Promise.all` over every file; a smaller pool of connections.",
    ];
    WATCH_LIMIT = User, "watch-limit", "Too many files are watched",
        "The program watches files for changes, and the kernel's limit for it is reached. A deployed app has no changes to wait for.", [
        "Start the app for production: `next start` instead of `next dev`, `node` instead of `nodemon`, no `--watch`, no `--reload`.",
        "If watching is needed, poll: `CHOKIDAR_USEPOLLING=1`.",
    ];
    TOO_MANY_PROCESSES = User, "too-many-processes", "Too many processes or threads",
        "The sandbox has as many processes and threads as it may, and the next one was refused (`EAGAIN`).", [
        "Start fewer workers: many tools take the number of processors of the whole machine. Name it, such as `--max-workers=2`, `WEB_CONCURRENCY=2`.",
        "Raise `build.processes_max` or `resources.processes_max` in `slipway.toml`.",
    ];
    PATH_NOT_WRITABLE = User, "path-not-writable", "A path can't be written",
        "The program writes where it may not. Builds and apps run without root; `/app`, `/tmp` and the home directory are theirs.", [
        "Write below `/app` or `/tmp`. What is written is gone with the replica: keep data in a database or an object store.",
        "A program that wants to install itself for the whole system must be told a place of its own, such as `npm install --prefix /app/tools`.",
    ];
}
