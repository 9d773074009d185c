// The address comes from the variable DATABASE_URL alone; it is a secret of the service.
export function databaseUrl() {
  const url = process.env.DATABASE_URL;
  if (!url) {
    console.error("error: the environment variable DATABASE_URL is not set");
    process.exit(1);
  }
  return url;
}
