"""A proxy before a registry that does to answers what a test wants: cuts, corrupts, stalls, lies, redirects. And a mock of
ollama.com's registry with its signed tokens."""
import base64
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, address):
        pass  # clients that leave in the middle are what these tests are about


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, headers=(), body=b""):
        self.send_response_only(status)
        for k, v in headers:
            self.send_header(k, v)
        if not any(k.lower() == "content-length" for k, v in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def cut(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def request_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        self.server.app(self)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET


class Proxy:
    """Forwards to a registry. fault(handler, status, headers, body) answers in its own way and returns True, or returns None.
    Only blob downloads are given to it. bytes_out counts what it sent of blobs; seen holds (method, path, Authorization)."""

    def __init__(self, upstream_port, fault=None, rate=None):
        self.upstream, self.fault, self.rate = upstream_port, fault, rate
        self.bytes_out, self.seen, self.lock = 0, [], threading.Lock()
        self.uploads_to_cut = 0
        self.httpd = Server(("127.0.0.1", 0), Handler)
        self.httpd.app = self.answer
        self.port = self.httpd.server_address[1]
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()

    def forward(self, h, path, body):
        c = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=30)
        headers = {k: v for k, v in h.headers.items() if k.lower() not in ("connection",)}
        c.request(h.command, path, body or None, headers)
        r = c.getresponse()
        out = r.status, [(k, v) for k, v in r.getheaders() if k.lower() not in ("transfer-encoding", "connection")], r.read()
        c.close()
        return out

    def send(self, h, data):
        """Counts, and slows down when a rate is set."""
        step = 65536
        for i in range(0, len(data), step):
            h.wfile.write(data[i:i + step])
            with self.lock:
                self.bytes_out += len(data[i:i + step])
            if self.rate:
                time.sleep(step / self.rate)

    def answer(self, h):
        with self.lock:
            self.seen.append((h.command, h.path, h.headers.get("Authorization")))
        path = h.path.replace("/direct/", "/v2/", 1) if h.path.startswith("/direct/") else h.path
        if h.command == "PATCH" and self.uploads_to_cut:
            self.uploads_to_cut -= 1
            h.rfile.read(int(h.headers["Content-Length"]) // 2)
            return h.cut()
        status, headers, body = self.forward(h, path, h.request_body())
        if h.command == "GET" and "/blobs/" in h.path and status < 300:
            if self.fault and self.fault(self, h, status, headers, body):
                return
            h.send_response_only(status)
            for k, v in headers:
                h.send_header(k, v)
            h.end_headers()
            self.send(h, body)
        else:
            h.reply(status, [(k, v) for k, v in headers if h.command == "HEAD" or k.lower() != "content-length"], body)

    def n_seen(self, method, part):
        return sum(m == method and part in p for m, p, _ in self.seen)


def send_head(h, status, headers, change=()):
    change = dict(change)
    h.send_response_only(status)
    for k, v in headers:
        h.send_header(k, change.pop(k, v))
    for k, v in change.items():
        h.send_header(k, v)
    h.end_headers()


class Faults:
    """Each is a factory; once_per_range ones behave after they have struck."""

    @staticmethod
    def cut(every):
        def f(proxy, h, status, headers, body):
            if len(body) <= every:
                return None
            send_head(h, status, headers)
            proxy.send(h, body[:every])
            h.cut()
            return True
        return f

    @staticmethod
    def corrupt(times):
        left = [times]

        def f(proxy, h, status, headers, body):
            if left[0] <= 0 or len(body) < 1000:
                return None
            left[0] -= 1
            send_head(h, status, headers)
            at = len(body) // 2
            proxy.send(h, body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
            return True
        return f

    @staticmethod
    def stall(times):
        left = [times]

        def f(proxy, h, status, headers, body):
            if left[0] <= 0 or len(body) < 1000:
                return None
            left[0] -= 1
            send_head(h, status, headers)
            proxy.send(h, body[:len(body) // 3])
            time.sleep(4)
            h.cut()
            return True
        return f

    @staticmethod
    def header(change, times):
        """Content-Range or Content-Length say something else than is sent."""
        left = [times]

        def f(proxy, h, status, headers, body):
            if left[0] <= 0 or len(body) < 1000:
                return None
            left[0] -= 1
            send_head(h, status, headers, change(dict(headers)))
            try:
                proxy.send(h, body)
            finally:
                h.cut()
            return True
        return f

    @staticmethod
    def error(status_out, times):
        left = [times]

        def f(proxy, h, status, headers, body):
            if left[0] <= 0:
                return None
            left[0] -= 1
            h.reply(status_out, [], b"no")
            return True
        return f

    @staticmethod
    def no_ranges():
        def f(proxy, h, status, headers, body):
            if status != 206:
                return None
            h.headers.replace_header("Range", "bytes=0-")
            status, headers, body = proxy.forward(h, h.path, b"")
            send_head(h, 200, [x for x in headers if x[0] != "Content-Range"])
            proxy.send(h, body)
            return True
        return f

    @staticmethod
    def redirect(to):
        def f(proxy, h, status, headers, body):
            if h.path.startswith("/direct/"):
                return None
            h.reply(307, [("Location", to(proxy, h.path))])
            return True
        return f


def verify_ssh(public_b64, signature_b64, text):
    """Whether an ed25519 signature fits a public key as OpenSSH sends it; by the openssl program."""
    blob = base64.b64decode(public_b64)
    assert blob[:15] == b"\0\0\0\x0bssh-ed25519" and len(blob) == 51, blob
    der = bytes.fromhex("302a300506032b6570032100") + blob[19:]
    with tempfile.TemporaryDirectory() as d:
        for name, data in (("key", der), ("sig", base64.b64decode(signature_b64)), ("text", text.encode())):
            with open(os.path.join(d, name), "wb") as f:
                f.write(data)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin", "-in", "text",
                               "-sigfile", "sig"], cwd=d, capture_output=True).returncode == 0


class SignedRegistry:
    """What ollama.com does: a 401 with a realm, a token for a signed request, blobs behind a redirect to another host, uploads
    in parts that are sent to another host."""

    def __init__(self, realm=None):
        self.blobs, self.manifests, self.uploads = {}, {}, {}
        self.tokens, self.seen, self.problems, self.lock = set(), [], [], threading.Lock()
        self.parts_to_refuse = 0
        self.httpd = Server(("127.0.0.1", 0), Handler)
        self.httpd.app = self.answer
        self.port = self.httpd.server_address[1]
        self.host = "127.0.0.1:%d" % self.port
        self.realm = realm or "http://%s/token" % self.host
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()

    def answer(self, h):
        body = h.request_body()
        auth = h.headers.get("Authorization")
        with self.lock:
            self.seen.append((h.command, h.path, auth))
            if h.path.startswith("/token"):
                return self.token(h, auth)
            if h.path.startswith(("/direct/", "/part/")):
                if auth:
                    self.problems.append("a token came to another host: " + h.path)
                return self.direct(h, body)
            if auth is None or auth.removeprefix("Bearer ") not in self.tokens:
                return h.reply(401, [("WWW-Authenticate", 'Bearer realm="%s",service="ollama.com",scope="repository:me/x:pull,push"'
                                      % self.realm)])
            return self.v2(h, body)

    def token(self, h, auth):
        url = "http://%s%s" % (self.host, h.path)
        public, _, signature = (auth or "").partition(":")
        q = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        keys = [p.split("=")[0] for p in h.path.split("?")[1].split("&")]
        text = "GET,%s,%s" % (url, base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode())
        if not signature or not verify_ssh(public, signature, text):
            return h.reply(401)
        if keys != sorted(keys) or q["service"] != ["ollama.com"] or abs(int(q["ts"][0]) - time.time()) > 60 or \
                len(base64.urlsafe_b64decode(q["nonce"][0] + "==")) != 16 or q["scope"] != ["repository:me/x:pull,push"]:
            self.problems.append("token request: " + h.path)
        t = "t%d" % (len(self.tokens) + 1)
        self.tokens.add(t)
        h.reply(200, [("Content-Type", "application/json")], json.dumps({"token": t}).encode())

    def direct(self, h, body):
        if h.command == "PUT" and self.parts_to_refuse:
            self.parts_to_refuse -= 1
            return h.reply(503)
        if h.command == "PUT":
            self.uploads[h.path.rsplit("/", 1)[1]] += body
            return h.reply(200)
        data = self.blobs[h.path.rsplit("/", 1)[1]]
        first, last = re.match(r"bytes=(\d+)-(\d+)", h.headers["Range"]).groups()
        part = data[int(first):int(last) + 1]
        h.reply(206, [("Content-Range", "bytes %s-%d/%d" % (first, int(first) + len(part) - 1, len(data)))], part)

    def v2(self, h, body):
        url = urllib.parse.urlsplit(h.path)
        leaf = url.path.rsplit("/", 1)[1]
        other = "http://localhost:%d" % self.port
        if "/manifests/" in url.path and h.command == "GET":
            data = self.manifests.get(leaf)
            return h.reply(200 if data else 404, [], data or b"")
        if "/manifests/" in url.path:
            self.manifests[leaf] = body
            return h.reply(201)
        if url.path.endswith("/blobs/uploads/"):
            n = str(len(self.uploads))
            self.uploads[n] = b""
            return h.reply(202, [("Location", "/upload/" + n)])
        if url.path.startswith("/upload/") and h.command == "PATCH":
            if h.headers.get("X-Redirect-Uploads") != "1":
                self.problems.append("no X-Redirect-Uploads")
            return h.reply(307, [("Location", other + "/part/" + leaf), ("Docker-Upload-Location", "/upload/" + leaf)])
        if url.path.startswith("/upload/"):
            q = urllib.parse.parse_qs(url.query)
            data = self.uploads[leaf]
            good = q["digest"] == ["sha256:" + hashlib.sha256(data).hexdigest()] and \
                q["etag"] == [hashlib.md5(hashlib.md5(data).digest()).hexdigest() + "-1"]
            if good:
                self.blobs[q["digest"][0]] = data
            return h.reply(201 if good else 400)
        if h.command == "HEAD":
            return h.reply(200 if leaf in self.blobs else 404)
        if leaf not in self.blobs:
            return h.reply(404)
        h.reply(307, [("Location", other + "/direct/" + leaf)])
