import { connection } from "next/server";

/** Rendered on the server for each request, so run-time values are read when it is asked for. */
export default async function Home() {
  await connection();
  return (
    <main>
      {/* Plain img: the asset is served as it is, without the image optimizer. */}
      {/* eslint-disable-next-line @next/next/no-img-element */}
      <img src="/slipway.svg" alt="Slipway" width={160} height={48} />
      <h1>It is live</h1>
      <dl>
        <dt>Rendered at</dt>
        <dd data-testid="rendered-at">{new Date().toISOString()}</dd>
        <dt>NEXT_PUBLIC_GREETING, baked at build</dt>
        <dd data-testid="greeting">{process.env.NEXT_PUBLIC_GREETING ?? "not set"}</dd>
        <dt>MOTD, read at run time</dt>
        <dd data-testid="motd">{process.env.MOTD ?? "not set"}</dd>
        <dt>API_SECRET, read at run time and never shown</dt>
        <dd data-testid="secret">{process.env.API_SECRET ? `set, ${process.env.API_SECRET.length} characters` : "not set"}</dd>
      </dl>
    </main>
  );
}
