// Applies the files of migrations/ that were not applied yet, in the order of their names, all or none of them.
import fs from "node:fs";
import pg from "pg";
import { databaseUrl } from "./database.js";

// Any number, the same in every process that migrates this database.
const LOCK = 7_201_001;
// Shorter than `pre_deploy_timeout`, so that the reason is in the log.
const LOCK_TIMEOUT = process.env.MIGRATION_LOCK_TIMEOUT ?? "30s";

const client = new pg.Client({ connectionString: databaseUrl() });
await client.connect();
try {
  await client.query("BEGIN");
  await client.query(`SELECT set_config('lock_timeout', $1, true)`, [LOCK_TIMEOUT]);
  // Held until the end of the transaction: a second migration waits, then finds nothing left to do.
  await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
  await client.query(
    "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())",
  );
  const applied = new Set((await client.query("SELECT name FROM schema_migrations")).rows.map((row) => row.name));
  const files = fs.readdirSync("migrations").filter((name) => name.endsWith(".sql")).sort();
  for (const name of files.filter((name) => !applied.has(name))) {
    console.log(`applying ${name}`);
    await client.query(fs.readFileSync(`migrations/${name}`, "utf8"));
    await client.query("INSERT INTO schema_migrations (name) VALUES ($1)", [name]);
  }
  await client.query("COMMIT");
  console.log(`the schema is up to date: ${files.length} migrations`);
} catch (error) {
  console.error(`error: the migration failed and changed nothing: ${error.message}`);
  process.exitCode = 1;
} finally {
  await client.end();
}
