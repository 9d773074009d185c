export const dynamic = "force-dynamic";

export function GET() {
  return Response.json({
    now: new Date().toISOString(),
    motd: process.env.MOTD ?? null,
    hasSecret: Boolean(process.env.API_SECRET),
  });
}

export async function POST(request: Request) {
  const body = await request.text();
  return Response.json({ bytes: body.length });
}
