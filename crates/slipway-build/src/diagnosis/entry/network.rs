//! Other machines: services that a build or app talks to, databases first.

super::catalogue! { NETWORK:
    NETWORK_REFUSED = User, "network-refused", "A build can't reach a service",
        "A command of the build or the release asks a service that it can't reach: one on the loopback address, where nothing but the command itself runs, or one in a private network, which the sandbox is kept from.", [
        "Don't need it in the build: fetch on request, or deploy the service first and use its public address.",
        "A private network that builds may reach must be allowed by the server: `allow = [\"10.1.2.0/24\"]` under `[sandbox]` of its configuration.",
    ];
    FONT_UNREACHABLE = User, "font-unreachable", "A font can't be fetched",
        "`next/font/google` fetches its fonts from Google while it builds. The network that builds run in does not reach it, or only through a proxy.", [
        "Keep the font's file in the source and load it by `next/font/local`: the build needs no network for it, and visitors wait for nobody else.",
        "Where the network has a proxy, give it to the build: `slipway env set --build HTTPS_PROXY=http://proxy.example:3128`.",
        "If the network was away for a moment, deploy again.",
    ];
    HOST_NAME_UNKNOWN = User, "host-name-unknown", "A host name has no address",
        "The name of a server that the program wants to reach has no address here. Names of a compose file, such as `db` or `redis`, exist only there.", [
        "Set the URL to a name that exists for everybody: `slipway env set --secret DATABASE_URL=…`.",
        "If the name is right, deploy again: a resolver may fail once. Names of a private zone need a resolver that knows them: `dns` under `[sandbox]` of the server's configuration.",
    ];
    MISSING_DATABASE_URL = User, "missing-database-url", "DATABASE_URL is not set",
        "The program looks for its database in `DATABASE_URL` and finds nothing.", [
        "Set it, also for the pre-deploy command: `slipway env set --secret DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/NAME`.",
        "If the build only generates a client, any value of the right form will do: `slipway env set --build DATABASE_URL=postgres://localhost/none`.",
    ];
    DATABASE_UNREACHABLE = User, "database-unreachable", "The database does not answer",
        "Nothing accepts a connection at the database's address. In a sandbox, `localhost` is the sandbox itself, which runs no database.", [
        "Set the address that the database has in the network: `slipway env set --secret DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/NAME`.",
        "A database in a private network must be allowed by the server: `allow = [\"10.1.2.0/24\"]` under `[sandbox]` of its configuration.",
        "Check that it listens on that address and lets it through its firewall: `pg_isready -h HOST -p 5432` from another machine.",
    ];
    DATABASE_REFUSED = User, "database-refused", "The database refuses the login",
        "The database answers, but refuses the user, the password, the name of the database or a connection without TLS.", [
        "Check user, password and name in the URL with the same client: `psql \"$DATABASE_URL\"`. Characters such as `@`, `/` and `#` in a password must be percent-encoded.",
        "A database that must be made first: `createdb NAME`.",
        "Where it wants TLS, add `?sslmode=require` to the URL.",
    ];
    MIGRATION_LOCKED = User, "migration-locked", "Another migration holds the lock",
        "The migration tool takes a lock in the database so that only one runs at a time, and something else holds it: a migration that still runs, or one that ended without giving it back.", [
        "Wait until the other one has ended, and deploy again.",
        "See who holds it: `select pid, query from pg_stat_activity join pg_locks using (pid) where locktype = 'advisory'`; end a stale one with `select pg_terminate_backend(PID)`.",
        "Tools that keep the lock in a table have a command for it: `npx knex migrate:unlock`. A pooler in transaction mode can't hold such locks: give the migration the database's own address.",
    ];
    MIGRATION_FAILED = User, "migration-failed", "A migration failed",
        "A migration stopped with an error of the database, or an earlier one is recorded as failed and blocks all later ones. The release was not made live; what the migration had already changed may stay changed.", [
        "Correct the migration, or write a new one, and deploy again.",
        "Prisma: after mending the database say so: `npx prisma migrate resolve --applied NAME` or `--rolled-back NAME`.",
        "Write migrations that the old release survives: add first, remove with a later deployment.",
    ];
}
