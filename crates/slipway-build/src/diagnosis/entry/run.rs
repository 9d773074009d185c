//! Apps that end, or never get healthy.

super::catalogue! { RUN:
    PRE_DEPLOY_FAILED = User, "pre-deploy-failed", "The pre-deploy command failed",
        "The command that runs once before a release goes live, mostly a database migration, failed for a reason that is none of the well-known ones. What was live still is.", [
        "The last lines of its output are in the diagnosis; `slipway logs --build` shows all of them.",
        "It runs in the new image with the variables of the app, without a port.",
    ];
    APP_EXITED = User, "app-exited", "The app ended at its start",
        "The process ended before it was ready. What was live still is.", [
        "Read its last lines in the diagnosis, or all of them: `slipway logs`.",
        "Start it as it is started here: build first, then `NODE_ENV=production PORT=3000 npm start`.",
        "With status 0 it went to the background or had nothing to do: a server must stay in the foreground.",
    ];
    APP_MODULE_NOT_FOUND = User, "app-module-not-found", "The app misses a module at its start",
        "The app imports a package or a file that is not in the image.", [
        "A package: add it to `dependencies` and commit the lockfile, `npm install NAME`, `uv add NAME`, or a line in `requirements.txt`.",
        "A file: check that the build makes it and that the start command names the right path, such as `node dist/server.js`.",
    ];
    APP_IMPORT_FAILED = User, "app-import-failed", "The server does not find the app",
        "uvicorn, gunicorn or hypercorn is told `module:name`, and there is no such module, or no such name in it.", [
        "`uvicorn app.main:api` means: the object `api` in `app/main.py`, seen from the directory that the command runs in. Set `start_command` in `slipway.toml`.",
        "A factory needs its option: `uvicorn --factory app:create_app`, `gunicorn 'app:create_app()'`.",
    ];
    TYPESCRIPT_NOT_COMPILED = User, "typescript-not-compiled", "Node.js can't run this TypeScript",
        "The start command gives a TypeScript file to Node.js. Before version 22.18 it runs none; later it removes types, but does not compile `enum`, namespaces or parameter properties.", [
        "Compile it in the build, `\"build\": \"tsc\"`, and start what it makes: `\"start\": \"node dist/server.js\"`.",
        "Or start it with a tool that compiles: `npm install tsx` and `\"start\": \"tsx server.ts\"`.",
    ];
    BUILD_OUTPUT_MISSING = User, "build-output-missing", "The app was started without its build output",
        "The start command needs what a build command would have made.", [
        "Add a script `build` to `package.json`, or set `build.command` in `slipway.toml`.",
        "Build and start must use one directory: compare `distDir` or `outDir` with the start command.",
    ];
    CLIENT_NOT_GENERATED = User, "client-not-generated", "Prisma's client was not generated",
        "The code of the Prisma client is generated from the schema. It was not, or not for this system.", [
        "Generate it in the build: `\"build\": \"prisma generate && next build\"`, or `\"postinstall\": \"prisma generate\"`.",
        "`prisma` must be installed then: keep it in `devDependencies` at least.",
    ];
    DJANGO_SETTINGS = User, "django-settings", "Django's settings are incomplete",
        "Django refuses to start with a setting that is missing or wrong, mostly `SECRET_KEY`.", [
        "Let the settings read it, `SECRET_KEY = os.environ[\"SECRET_KEY\"]`, and set it: `slipway env set --secret SECRET_KEY=…`.",
        "If the build needs it too (`collectstatic`), set another value for builds: `slipway env set --build SECRET_KEY=only-for-the-build`.",
    ];
    DJANGO_ALLOWED_HOSTS = User, "django-allowed-hosts", "Django refuses the host name",
        "Django answers only for the names in `ALLOWED_HOSTS`, and refuses every other one with status 400, the health check's too.", [
        "Add the names of the service, and `localhost` for the health check: `ALLOWED_HOSTS = [\".example.com\", \"localhost\"]`. The edge passes on only names that lead to the service, so `ALLOWED_HOSTS = [\"*\"]` is safe behind it.",
    ];
    PORT_IN_USE = User, "port-in-use", "The app listens twice on one port",
        "A sandbox holds nothing but the app, so the port can only be taken by the app itself or another process of its start command.", [
        "Look for a second `listen`, or a second server in the start command.",
        "With `concurrently` or `&` only one process may take `PORT`; give the others a number of their own.",
    ];
    LISTENS_ON_LOOPBACK = User, "listens-on-loopback", "The app listens on 127.0.0.1 only",
        "The loopback address can't be reached from outside of the sandbox.", [
        "Listen on all addresses: `server.listen(process.env.PORT, \"0.0.0.0\")`.",
        "As an option: `--host 0.0.0.0` (Vite, uvicorn), `--hostname 0.0.0.0` (Next.js), `--bind 0.0.0.0:$PORT` (gunicorn).",
    ];
    LISTENS_ON_WRONG_PORT = User, "listens-on-wrong-port", "The app listens on another port",
        "The app is told its port by `PORT`, and listens on another one.", [
        "Let the app read it: `server.listen(process.env.PORT)`, `uvicorn main:app --port $PORT`.",
        "Or say where it listens: `port = 8080` in `slipway.toml`.",
    ];
    LISTENS_ON_NOTHING = User, "listens-on-nothing", "The app listens on no port",
        "The process runs, but no TCP socket listens.", [
        "Let it listen on the port in `PORT`, on `0.0.0.0`.",
        "A service without HTTP is a worker: `kind = \"worker\"` in `slipway.toml`.",
        "If it needs longer to start, raise `health.start_timeout`.",
    ];
    HEALTH_PATH_STATUS = User, "health-path-status", "The health path answers with an error",
        "The path of the health check must answer with a status of 200 to 399.", [
        "Let the path answer 200 without a login, or set another one: `health.path` in `slipway.toml`.",
        "With 500 and above the app fails at this path: `slipway logs` shows why.",
    ];
    HEALTH_NOT_HTTP = User, "health-not-http", "The health check got no HTTP",
        "The port accepts connections, but what comes back is no HTTP, or the connection breaks.", [
        "Serve plain HTTP/1.1 on this port: TLS is the edge's part.",
        "A service without HTTP is a worker: `kind = \"worker\"` in `slipway.toml`.",
    ];
    HEALTH_TIMEOUT = User, "health-timeout", "The app was not healthy in time",
        "The app listens, but gave no healthy answer before the time for its start was over.", [
        "If it only needs longer, raise `health.start_timeout` (the whole start) or `health.timeout` (one answer) in `slipway.toml`.",
        "If it waits for a database or another service, check that the sandbox may reach it.",
    ];
}
