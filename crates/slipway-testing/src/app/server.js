// A web service without dependencies: plain, streamed and WebSocket answers, each naming the version.
const http = require("node:http");
const crypto = require("node:crypto");

const VERSION = "@VERSION@";
const WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455, section 1.3

// Variables: those of the start, or, told by signal, what they are now.
let values = process.env;
process.on("SIGUSR1", () => { values = JSON.parse(require("node:fs").readFileSync(process.env.SLIPWAY_ENV_FILE, "utf8")); });

const server = http.createServer((request, response) => {
  const path = request.url.split("?")[0];
  if (path === "/stream") return stream(response);
  if (path === "/headers") return response.end(JSON.stringify(request.headers));
  if (path === "/env") return response.end(String(values[new URLSearchParams(request.url.split("?")[1]).get("name")] ?? ""));
  if (path === "/echo") return request.pipe(response);
  if (path === "/whoami") return response.end(JSON.stringify({ uid: process.getuid(), pid: process.pid, cwd: process.cwd() }));
  if (path === "/address") return response.end(ownAddress());
  if (path === "/get") return fetchOutside(request, response);
  if (path === "/crash") process.exit(7);
  response.end(VERSION + "\n");
});

function stream(response) {
  let sent = 0;
  const timer = setInterval(() => {
    response.write(`${VERSION} ${++sent}\n`);
    if (sent === 5) {
      clearInterval(timer);
      response.end();
    }
  }, 20);
}

function ownAddress() {
  const addresses = Object.values(require("node:os").networkInterfaces()).flat();
  return addresses.find((address) => !address.internal && address.family === "IPv4").address;
}

// Says whether a TCP connection to ?host=&port= opens: what a sandbox may reach.
function fetchOutside(request, response) {
  const query = new URLSearchParams(request.url.split("?")[1]);
  const socket = require("node:net").connect({ host: query.get("host"), port: Number(query.get("port")), timeout: 2000 });
  const answer = (text) => { socket.destroy(); if (!response.writableEnded) response.end(text); };
  socket.on("connect", () => answer("open"));
  socket.on("timeout", () => answer("timeout"));
  socket.on("error", (error) => answer(error.code));
}

server.on("upgrade", (request, socket) => {
  const accept = crypto.createHash("sha1").update(request.headers["sec-websocket-key"] + WEBSOCKET_GUID).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let pending = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  // A client that leaves without a close frame: without this the socket stays half open and holds the process.
  socket.on("end", () => socket.end());
  socket.on("data", (data) => {
    pending = Buffer.concat([pending, data]);
    // Short masked text frames only: two header bytes, four of mask, up to 125 of text.
    while (pending.length >= 2 && pending.length >= 6 + (pending[1] & 0x7f)) {
      const length = pending[1] & 0x7f;
      const opcode = pending[0] & 0x0f;
      const mask = pending.subarray(2, 6);
      const text = Buffer.from(pending.subarray(6, 6 + length).map((byte, i) => byte ^ mask[i % 4]));
      pending = pending.subarray(6 + length);
      if (opcode === 8) return socket.end(Buffer.concat([Buffer.from([0x88, text.length]), text]));
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
    }
  });
});

// Graceful: finish what is in flight, then go.
process.on("SIGTERM", () => {
  console.log("stopping " + VERSION);
  server.close(() => process.exit(0));
});

server.listen(Number(process.env.PORT), "0.0.0.0", () => console.log(`${VERSION} listens on ${process.env.PORT}`));
