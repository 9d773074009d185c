// Notes in a PostgreSQL database: GET / lists them, POST / adds the body as one, GET /status says what runs.
import http from "node:http";
import pg from "pg";
import { databaseUrl } from "./database.js";

const STARTED_AT = new Date().toISOString();
const BODY_BYTES_MAX = 10_000;
const pool = new pg.Pool({ connectionString: databaseUrl(), max: 5 });
// A connection that breaks while idle is replaced at its next use.
pool.on("error", (error) => console.error(`a database connection broke: ${error.message}`));

const routes = {
  "GET /": async () => (await pool.query("SELECT * FROM notes ORDER BY id DESC LIMIT 100")).rows,
  "POST /": async (request) => {
    const { rows } = await pool.query("INSERT INTO notes (text) VALUES ($1) RETURNING *", [await body(request)]);
    return rows[0];
  },
  "GET /healthz": async () => (await pool.query("SELECT 1 AS ok")).rows[0],
  "GET /status": async () => {
    const { rows } = await pool.query("SELECT name, applied_at FROM schema_migrations ORDER BY name");
    return { started_at: STARTED_AT, migrations: rows };
  },
};

async function body(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > BODY_BYTES_MAX) throw new Error("the note is too long");
  }
  return text;
}

const server = http.createServer(async (request, response) => {
  const route = routes[`${request.method} ${request.url}`];
  response.setHeader("content-type", "application/json");
  try {
    response.statusCode = route ? 200 : 404;
    response.end(JSON.stringify(route ? await route(request) : { error: "no such path" }) + "\n");
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    response.end('{"error":"the database did not answer"}\n');
  }
});

process.on("SIGTERM", () => server.close(() => pool.end()));
server.listen(process.env.PORT ?? 3000, "0.0.0.0", () => console.log("listening"));
