//! Machine code that can't be made or loaded.

super::catalogue! { NATIVE:
    NATIVE_BUILD_FAILED = User, "native-build-failed", "Native code could not be compiled",
        "A package has parts in C, C++ or Rust and no ready-made binary for this system and runtime, so it is compiled at the install. A tool, the headers of the runtime or of a library are missing, or the code does not fit this version of the runtime.", [
        "Use a version of the package that brings binaries: `npm install NAME@latest`; for Python one with wheels, such as `psycopg[binary]` instead of `psycopg2`.",
        "Or choose a runtime for which there are binaries, mostly the current long-term support line: `build.node_version`, `build.python_version`.",
        "The base image has a C and C++ compiler, make, pkg-config and Python 3; headers of other libraries are not in it.",
    ];
    OPTIONAL_NATIVE_PACKAGE_MISSING = User, "optional-native-package-missing", "The Linux binary of a package was not installed",
        "Packages such as esbuild, Rollup, SWC, Lightning CSS or sharp keep their machine code in optional packages, one per system. The one for Linux is not there: the lockfile was written on another system and does not name it, or optional packages were left out.", [
        "Write the lockfile anew: `rm -rf node_modules package-lock.json && npm install`, and commit it. npm forgot the packages of other systems when `node_modules` was there.",
        "Don't leave optional packages out: no `--omit=optional`, `--no-optional` or `optional=false`.",
        "Never send `node_modules`: it must be in `.gitignore`.",
    ];
    WRONG_ARCHITECTURE = User, "wrong-architecture", "A program is for another kind of machine",
        "A file of machine code is for another operating system or processor: mostly `node_modules` or a binary from macOS or Windows that was committed or uploaded.", [
        "Take it out of the source: `git rm -r --cached node_modules && echo node_modules >> .gitignore`.",
        "A binary that must be in the source must be the one for Linux; `file PATH` says what it is for.",
    ];
    GLIBC_TOO_OLD = User, "glibc-too-old", "A binary needs a newer C library",
        "A ready-made binary was built on a newer system: it asks for a version of glibc that the base image does not have.", [
        "Use an older version of the package, or let it compile here: `npm rebuild NAME --build-from-source`.",
        "Or choose a newer base: `suite` under `[base]` of the server's configuration.",
    ];
    SHARED_LIBRARY_MISSING = User, "shared-library-missing", "A system library is not there",
        "A binary needs a shared library (`lib….so`) of the operating system that is not in the base image.", [
        "Use a package that brings the library with it, such as `sharp` or `psycopg[binary]`.",
        "Or add the Debian package to `packages` under `[base]` of the server's configuration; `apt-file search libNAME.so` names it.",
    ];
    NATIVE_MODULE_VERSION = User, "native-module-version", "A native module is for another Node.js",
        "A compiled module carries the number of the Node.js that it was built for (`NODE_MODULE_VERSION`), and that is not the one that runs.", [
        "Take `node_modules` out of the source, so that it is installed here: `git rm -r --cached node_modules`.",
        "If the install makes it, rebuild it for this Node.js: `npm rebuild NAME`; and build and start with the same `build.node_version`.",
    ];
    CRASHED = User, "crashed", "A program crashed",
        "The process was ended by a signal that stands for a fault in machine code (SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGABRT), not by an error of the program's own language.", [
        "Update packages with native code first: `npm outdated`, `pip list --outdated`.",
        "SIGILL is a processor instruction that this machine lacks: use a build of the package for older processors.",
        "`node --report-on-fatalerror` or `python -X faulthandler` in the start command says where it was.",
    ];
}
