# A private package registry and git server: nothing is answered without the token. Prints `up` when it listens.
# Arguments: address, port, token, directory of bare git repositories.
import base64, hashlib, http.server, io, json, os, subprocess, sys, tarfile, urllib.parse

ADDRESS, PORT, TOKEN, REPOSITORIES = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
BASE = f"http://{ADDRESS}:{PORT}"
NAME, VERSION = "@private/lib", "1.0.0"


def package():
    files = {
        "package.json": json.dumps({"name": NAME, "version": VERSION, "main": "index.js"}),
        "index.js": "module.exports = 'from the private registry';\n",
    }
    blob = io.BytesIO()
    with tarfile.open(fileobj=blob, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo("package/" + name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return blob.getvalue()


TARBALL = package()
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(TARBALL).digest()).decode()
TARBALL_URL = f"{BASE}/npm/{NAME}/-/lib-{VERSION}.tgz"
PACKUMENT = {
    "name": NAME,
    "dist-tags": {"latest": VERSION},
    "versions": {VERSION: {"name": NAME, "version": VERSION, "dist": {"tarball": TARBALL_URL, "integrity": INTEGRITY}}},
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json", headers=()):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def allowed(self):
        basic = "Basic " + base64.b64encode(f"reader:{TOKEN}".encode()).decode()
        return self.headers.get("authorization") in (f"Bearer {TOKEN}", basic)

    def do_GET(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if not self.allowed():
            return self.answer(401, b'{"error":"credentials are wanted"}', headers=[("www-authenticate", 'Basic realm="private"')])
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        if path == f"/npm/{NAME}":
            return self.answer(200, json.dumps(PACKUMENT).encode())
        if BASE + path == TARBALL_URL:
            return self.answer(200, TARBALL, "application/octet-stream")
        if path.startswith("/git/"):
            return self.git(path.removeprefix("/git"), query, body)
        self.answer(404, b'{"error":"not found"}')

    do_POST = do_GET

    def git(self, path, query, body):
        env = dict(os.environ, GIT_PROJECT_ROOT=REPOSITORIES, GIT_HTTP_EXPORT_ALL="1", REMOTE_USER="reader", PATH_INFO=path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_TYPE=self.headers.get("content-type") or "",
                   CONTENT_LENGTH=str(len(body)), GIT_PROTOCOL=self.headers.get("git-protocol") or "",
                   HTTP_CONTENT_ENCODING=self.headers.get("content-encoding") or "")
        done = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        self.answer(status, content, headers.pop("Content-Type", "text/plain"), headers.items())


server = http.server.ThreadingHTTPServer((ADDRESS, PORT), Handler)
print("up", flush=True)
server.serve_forever()
