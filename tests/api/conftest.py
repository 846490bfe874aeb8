"""API tests: a real server on a port of its own, with a store of its own, spoken to by the clients people use."""
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CRIA = os.environ.get("CRIA_BIN", os.path.join(ROOT, "build", "cria"))
MODELS = os.environ.get("CRIA_TEST_MODELS", os.path.join(ROOT, "build", "models"))
SMOLLM2 = os.path.join(MODELS, "SmolLM2-135M-Instruct.Q4_1.gguf")
MINILM = os.path.join(MODELS, "all-MiniLM-L6-v2.f16.gguf")
GOLDEN = os.path.join(ROOT, "..", "shared", "golden")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def digest_of(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return "sha256:" + h.hexdigest()


class Server:
    """A cria server process. Everything it writes is below one temporary folder."""

    def __init__(self, env=None, prefix=()):
        self.dir = tempfile.mkdtemp(prefix="cria-test-")
        self.port = free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CRIA_"))}
        self.env.update(OLLAMA_HOST="127.0.0.1:%d" % self.port, OLLAMA_MODELS=os.path.join(self.dir, "models"),
                        CRIA_CACHE=os.path.join(self.dir, "cache"), HOME=self.dir, CRIA_AUTO_PULL="off")
        self.env.update(env or {})
        self.prefix = list(prefix)
        self.p = None

    def start(self):
        self.log = open(os.path.join(self.dir, "cria.log"), "ab")
        self.p = subprocess.Popen(self.prefix + [CRIA, "serve"], env=self.env, stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                urllib.request.urlopen(self.url + "/readyz", timeout=1)
                return self
            except OSError:
                if self.p.poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError("the server did not start:\n" + self.log_text()[-3000:])

    def stop(self, sig=signal.SIGTERM, timeout=20):
        if self.p and self.p.poll() is None:
            self.p.send_signal(sig)
            self.p.wait(timeout)
        return self.p.returncode if self.p else None

    def close(self):
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.p.kill()
            raise
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        with open(os.path.join(self.dir, "cria.log"), errors="replace") as f:
            return f.read()

    def call(self, method, path, body=None, headers=None, timeout=120):
        """(status, parsed JSON or text)"""
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        r = urllib.request.Request(self.url + path, data=data, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(r, timeout=timeout) as f:
                status, text = f.status, f.read()
        except urllib.error.HTTPError as e:
            status, text = e.code, e.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode("utf-8", "replace")

    def add_model(self, name, path, **more):
        digest = digest_of(path)
        with open(path, "rb") as f:
            r = urllib.request.Request(self.url + "/api/blobs/" + digest, data=f, method="POST",
                                       headers={"Content-Length": str(os.path.getsize(path))})
            assert urllib.request.urlopen(r, timeout=120).status in (200, 201)
        status, answer = self.call("POST", "/api/create", dict(model=name, files={os.path.basename(path): digest}, stream=False, **more))
        assert status == 200, answer
        return digest

    def children(self):
        out = subprocess.run(["ps", "-o", "pid=,stat=,args=", "--ppid", str(self.p.pid)], capture_output=True, text=True).stdout
        return [(int(l.split()[0]), l) for l in out.splitlines() if l.strip()]

    def unload_all(self):
        """Ends every runner, and says which models had one."""
        names = [m["name"] for m in self.call("GET", "/api/ps")[1]["models"]]
        for name in names:
            self.call("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False})
            self.call("POST", "/api/embed", {"model": name, "input": "x", "keep_alive": 0})
        return names

    def runners(self):
        return [pid for pid, line in self.children() if " runner" in line]

    def n_fd(self):
        return len(os.listdir("/proc/%d/fd" % self.p.pid))

    def cli(self, *args, stdin=None, timeout=120):
        return subprocess.run([CRIA] + list(args), env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout,
                              **({} if stdin is not None else {"stdin": subprocess.DEVNULL}))


def need(path):
    if not os.path.exists(path):
        pytest.skip("no model file %s (scripts/test fetches it)" % path)
    return path


@pytest.fixture(scope="session")
def server():
    s = Server()
    s.start()
    s.add_model("smollm2", need(SMOLLM2))
    s.cli("cp", "smollm2", "mistral")
    if os.path.exists(MINILM):
        s.add_model("all-minilm", MINILM)
    yield s
    s.close()


@pytest.fixture
def fresh():
    """A factory of servers for tests that break them; all are closed at the end."""
    made = []

    def make(env=None, models=True, prefix=()):
        s = Server(env, prefix)
        made.append(s)
        s.start()
        if models:
            s.add_model("smollm2", need(SMOLLM2))
        return s

    yield make
    for s in made:
        s.close()
