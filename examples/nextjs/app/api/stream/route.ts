export const dynamic = "force-dynamic";

const CHUNKS = 5;
const INTERVAL_MS = 100;

/** Sends one line every 100 ms: a proxy that buffers would deliver them all at the end. */
export function GET() {
  const encoder = new TextEncoder();
  const body = new ReadableStream({
    async start(controller) {
      for (let chunk = 1; chunk <= CHUNKS; chunk++) {
        controller.enqueue(encoder.encode(`chunk ${chunk} of ${CHUNKS}\n`));
        await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
      }
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/plain; charset=utf-8" } });
}
