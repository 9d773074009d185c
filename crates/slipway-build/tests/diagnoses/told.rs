//! What tools print that can't be run in these tests, as their users have seen it.

use crate::Checked;
use crate::case::{built, released, running};

pub(crate) fn says(checked: &mut Checked) {
    let build = "`npm run build` in the phase `build`";
    checked.check(
        built("npm run build", 1, &["\u{2718} [ERROR] bundle initial exceeded maximum budget. Budget 1.00 kB was not met by 216.24 kB with a total of 217.24 kB."]),
        ("budget-exceeded", "angular.json", "217.24 kB", "maximumError"),
    );
    checked.check(
        built(
            "npm run build",
            1,
            &["Error: ENOSPC: System limit for number of file watchers reached, watch '/app/src'"],
        ),
        ("watch-limit", build, "file watchers", "next start"),
    );
    checked.check(
        built(
            "npm run build",
            1,
            &[
                "Error occurred prerendering page \"/posts\". Read more: x",
                "PrismaClientInitializationError:",
                "Can't reach database server at `localhost:5432`",
            ],
        ),
        ("database-unreachable", "localhost:5432", "loopback", "env set --build --secret DATABASE_URL"),
    );
    let migrate = "npx prisma migrate deploy";
    let place = "`npx prisma migrate deploy` in the phase `pre-deploy`";
    checked.check(
        released(
            migrate,
            &[
                "Error: P3009",
                "",
                "migrate found failed migrations in the target database, new migrations will not be applied.",
            ],
        ),
        ("migration-failed", place, "failed migrations", "migrate resolve"),
    );
    checked.check(
        released(migrate, &["Error: P1002", "Context: Timed out trying to acquire a postgres advisory lock (select pg_advisory_lock(72707369)). Elapsed: 10000ms."]),
        ("migration-locked", place, "advisory lock", "pg_terminate_backend"),
    );
    checked.check(
        released(
            migrate,
            &[
                "Error: Prisma schema validation - (get-config wasm)",
                "Error code: P1012",
                "error: Environment variable not found: DATABASE_URL.",
            ],
        ),
        ("missing-database-url", place, "DATABASE_URL", "env set --secret DATABASE_URL"),
    );
    checked.check(
        running("node server.js", Some(132), &["Illegal instruction"]),
        ("crashed", "`node server.js` in the phase `health`", "SIGILL", "older processors"),
    );
}
