"""Pull and push against a real registry (Debian's docker-registry), through a proxy that misbehaves, and against a mock of
ollama.com. Models here are random bytes: the server moves them without looking inside."""
import base64
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import pexpect
import pytest

from conftest import CRIA, SMOLLM2, Server, free_port, need
from registry_proxy import Faults, Proxy, SignedRegistry

MODEL, CONFIG = "application/vnd.ollama.image.model", "application/vnd.docker.container.image.v1+json"
BIG = 33 << 20  # three ranges


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def random_bytes(n, seed):
    return random.Random(seed).randbytes(n)


def make_manifest(layers):
    def layer(media, data):
        return {"mediaType": media, "digest": sha(data), "size": len(data)}
    config = json.dumps({"model_format": "gguf", "n": [len(x) for x in layers]}).encode()
    text = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                       "config": layer(CONFIG, config), "layers": [layer(MODEL, x) for x in layers]}) + "\n"
    return text.encode(), {sha(x): x for x in layers + [config]}


def blob_path(server, digest):
    return os.path.join(server.env["OLLAMA_MODELS"], "blobs", digest.replace(":", "-"))


def install(server, name, layers):
    """Puts a model into a server's store, as files."""
    text, blobs = make_manifest(layers)
    for digest, data in blobs.items():
        os.makedirs(os.path.dirname(blob_path(server, digest)), exist_ok=True)
        with open(blob_path(server, digest), "wb") as f:
            f.write(data)
    path = os.path.join(server.env["OLLAMA_MODELS"], "manifests", name.replace(":latest", "") + "/latest")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(text)
    return text, blobs


def lines(server, route, model, **more):
    """The lines of a streamed transfer."""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=90)
    c.request("POST", "/api/" + route, json.dumps(dict({"model": model, "insecure": True}, **more)))
    r = c.getresponse()
    assert r.status == 200 and r.getheader("Content-Type") == "application/x-ndjson"
    out = [json.loads(l) for l in r.read().splitlines()]
    c.close()
    return out


def complete(server, blobs):
    """Every blob is there and right, and nothing else that looks like one."""
    for digest, data in blobs.items():
        with open(blob_path(server, digest), "rb") as f:
            assert sha(f.read()) == digest and len(data) == os.path.getsize(blob_path(server, digest))
    assert not [f for f in os.listdir(os.path.join(server.env["OLLAMA_MODELS"], "blobs")) if "partial" in f]


def absent(server, digest):
    assert not os.path.exists(blob_path(server, digest))
    assert server.call("GET", "/api/tags")[1]["models"] == []


class Registry:
    """A docker-registry process."""

    def __init__(self, folder, tls=None, users=None):
        self.port = free_port()
        self.host = "127.0.0.1:%d" % self.port
        cfg = "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp:\n  addr: %s\n" % (
            folder, self.host)
        if tls:
            cfg += "  tls: {certificate: %s/crt.pem, key: %s/key.pem}\n" % (tls, tls)
        if users:
            cfg += "auth: {htpasswd: {realm: test, path: %s}}\n" % users
        path = os.path.join(folder, "cfg.yml")
        with open(path, "w") as f:
            f.write(cfg)
        self.p = subprocess.Popen(["docker-registry", "serve", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                http.client.HTTPConnection("127.0.0.1", self.port, timeout=1).connect()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("docker-registry did not start")

    def close(self):
        self.p.kill()
        self.p.wait()


def need_registry():
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed (scripts/test installs it)")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A registry that holds models/big (one large layer, one small) and models/small."""
    need_registry()
    r = Registry(str(tmp_path_factory.mktemp("registry")))
    s = Server()
    s.start()
    r.models = {}
    for name, layers in (("big", [random_bytes(BIG, 1), b"small layer"]), ("small", [b"x" * 1000])):
        r.models[name] = install(s, "%s/models/%s:latest" % (r.host, name), layers)
        assert lines(s, "push", "%s/models/%s" % (r.host, name))[-1] == {"status": "success"}
    s.close()
    yield r
    r.close()


@pytest.fixture
def cria(fresh):
    def make(**env):
        return fresh(dict({"CRIA_TRANSFER_STALL": "5s"}, **env), models=False)
    return make


@pytest.fixture
def proxies():
    made = []

    def make(*args, **more):
        made.append(Proxy(*args, **more))
        return made[-1]
    yield make
    for p in made:
        p.close()


def test_pull_lines_and_files(registry, cria):
    s = cria()
    name = registry.host + "/models/big"
    text, blobs = registry.models["big"]
    out = lines(s, "pull", name)
    assert out[0] == {"status": "pulling manifest"}
    assert out[-3:] == [{"status": "verifying sha256 digest"}, {"status": "writing manifest"}, {"status": "success"}]
    order = [l["digest"] for l in json.loads(text)["layers"]] + [json.loads(text)["config"]["digest"]]
    seen = []
    for l in out[1:-3]:
        assert l["status"] == "pulling " + l["digest"][7:19] and l["total"] == len(blobs[l["digest"]])
        assert list(l) == ["status", "digest", "total", "completed"][:len(l)] and 0 < l.get("completed", 1) <= l["total"]
        if l["digest"] not in seen:
            seen.append(l["digest"])
    assert seen == order
    complete(s, blobs)
    path = os.path.join(s.env["OLLAMA_MODELS"], "manifests", registry.host, "models", "big", "latest")
    with open(path, "rb") as f:
        assert f.read() == text  # byte for byte
    again = lines(s, "pull", name)
    assert [l.get("completed") for l in again if "digest" in l] == [len(blobs[d]) for d in order]
    assert s.call("POST", "/api/pull", {"model": name, "insecure": True, "stream": False}) == (200, {"status": "success"})


def test_push_again_sends_nothing(registry, cria, proxies):
    s = cria()
    p = proxies(registry.port)
    text, blobs = install(s, "127.0.0.1:%d/copies/big:latest" % p.port, [random_bytes(BIG, 2)])
    name = "127.0.0.1:%d/copies/big" % p.port
    out = lines(s, "push", name)
    assert out[0] == {"status": "retrieving manifest"} and out[-2:] == [{"status": "pushing manifest"}, {"status": "success"}]
    n = len(p.seen)
    again = lines(s, "push", name)
    assert [m for m, _, _ in p.seen[n:]] == ["HEAD", "HEAD", "PUT"]
    assert [l["completed"] for l in again if "digest" in l] == [len(blobs[l["digest"]]) for l in again if "digest" in l]


def test_push_over_a_bad_line(registry, cria, proxies):
    s = cria()
    p = proxies(registry.port)
    p.uploads_to_cut = 2
    name = "127.0.0.1:%d/copies/cut" % p.port
    text, blobs = install(s, name + ":latest", [random_bytes(5 << 20, 4)])
    assert lines(s, "push", name)[-1] == {"status": "success"}, s.log_text()
    s.call("DELETE", "/api/delete", {"model": name})
    assert lines(s, "pull", name)[-1] == {"status": "success"}
    complete(s, blobs)
    p.uploads_to_cut = 1000
    install(s, name + ":latest", [b"never arrives" * 1000])
    assert lines(s, "push", name)[-1]["error"].startswith("max retries exceeded: ")


def test_errors_in_words(registry, cria):
    s = cria()
    gone = "pull model manifest: file does not exist"
    assert lines(s, "pull", registry.host + "/models/nope")[-1] == {"error": gone}
    assert s.call("POST", "/api/pull", {"model": registry.host + "/models/nope", "insecure": True, "stream": False}) == (500, {"error": gone})
    refused = 'pull model manifest: Get "https://127.0.0.1:9/v2/library/nope/manifests/latest": dial tcp 127.0.0.1:9: connect: connection refused'
    assert s.call("POST", "/api/pull", {"model": "http://127.0.0.1:9/library/nope", "stream": False}) == (500, {"error": refused})
    assert lines(s, "push", "a b")[-1] == {"error": "unqualified name: registry.ollama.ai/library/a b:latest"}
    # a TLS client at a port without TLS
    assert "error" in lines(s, "pull", registry.host + "/models/big", insecure=False)[-1]


def test_passwords(tmp_path, cria):
    need_registry()
    users = tmp_path / "htpasswd"
    hashed = subprocess.run(["htpasswd", "-nbB", "anna", "s3cret"], capture_output=True, text=True)
    users.write_text(hashed.stdout.strip() + "\n")
    r = Registry(str(tmp_path), users=str(users))
    try:
        s = cria()
        name = r.host + "/models/small"
        _, blobs = install(s, name + ":latest", [b"y" * 5000])
        assert lines(s, "push", name)[-1]["error"].startswith("unauthorized: access denied")
        os.makedirs(os.path.join(s.dir, ".docker"))
        with open(os.path.join(s.dir, ".docker", "config.json"), "w") as f:
            json.dump({"auths": {r.host: {"auth": base64.b64encode(b"anna:s3cret").decode()}}}, f)
        assert lines(s, "push", name)[-1] == {"status": "success"}
        s.call("DELETE", "/api/delete", {"model": name})
        assert lines(s, "pull", name)[-1] == {"status": "success"}
        complete(s, blobs)
    finally:
        r.close()


def test_tls_with_own_authority(tmp_path, cria):
    need_registry()

    def openssl(*words):
        subprocess.run(["openssl"] + list(words), cwd=tmp_path, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca-key.pem", "-out", "ca.pem",
            "-subj", "/CN=Test authority", "-days", "2")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj",
            "/CN=127.0.0.1")
    (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "ext",
            "-out", "crt.pem")
    r = Registry(str(tmp_path), tls=str(tmp_path))
    try:
        s = cria(CRIA_CA_FILE=str(tmp_path / "ca.pem"))
        name = r.host + "/models/small"
        _, blobs = install(s, name + ":latest", [random_bytes(BIG, 3)])
        assert lines(s, "push", name, insecure=False)[-1] == {"status": "success"}
        s.call("DELETE", "/api/delete", {"model": name})
        assert lines(s, "pull", name, insecure=False)[-1] == {"status": "success"}
        complete(s, blobs)
        stranger = cria()
        assert "tls: failed to verify certificate" in lines(stranger, "pull", name, insecure=False)[-1]["error"]
    finally:
        r.close()


# ---- a bad line ----

def total_lie(headers):
    return {"Content-Range": headers["Content-Range"].rsplit("/", 1)[0] + "/99"} if "Content-Range" in headers else {"Content-Length": "99"}


def shifted(headers):
    m = re.match(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", "bytes 0-9/10"))
    return {"Content-Range": "bytes %d-%s/%s" % (int(m[1]) + 1, m[2], m[3])}


SURVIVED = {
    "cut": lambda: Faults.cut(3 << 20),
    "corrupt": lambda: Faults.corrupt(2),
    "stall": lambda: Faults.stall(2),
    "total": lambda: Faults.header(total_lie, 1),
    "shifted": lambda: Faults.header(shifted, 1),
    "too-long": lambda: Faults.header(lambda h: {"Content-Length": str(int(h["Content-Length"]) + 10)}, 3),
    "gzip": lambda: Faults.header(lambda h: {"Content-Encoding": "gzip"}, 1),
    "503": lambda: Faults.error(503, 2),
    "no-ranges": Faults.no_ranges,
    "redirect": lambda: Faults.redirect(lambda p, path: "http://localhost:%d%s" % (p.port, path.replace("/v2/", "/direct/", 1))),
}


@pytest.mark.parametrize("kind", SURVIVED)
def test_survives(registry, cria, proxies, kind):
    s = cria(CRIA_TRANSFER_STALL="1s" if kind == "stall" else "5s")
    p = proxies(registry.port, SURVIVED[kind]())
    out = lines(s, "pull", "127.0.0.1:%d/models/big" % p.port)
    assert out[-1] == {"status": "success"}, out[-1]
    complete(s, registry.models["big"][1])
    if kind == "corrupt":
        assert p.bytes_out < 2.3 * BIG and "fetching the range" in s.log_text()  # the range, not the file, came again


FATAL = {
    "corrupt": (lambda: Faults.corrupt(1000), "digest mismatch, file must be downloaded again: want sha256:"),
    "404": (lambda: Faults.error(404, 1000), "the registry has no blob sha256:"),
    "loop": (lambda: Faults.redirect(lambda p, path: "http://localhost:%d%s" % (p.port, path)), "stopped after 5 redirects"),
    "file": (lambda: Faults.redirect(lambda p, path: "file:///etc/passwd"), "leads to no usable address"),
    "user": (lambda: Faults.redirect(lambda p, path: "http://a:b@localhost/"), "leads to no usable address"),
}


@pytest.mark.parametrize("kind", FATAL)
def test_refuses(registry, cria, proxies, kind):
    s = cria()
    fault, text = FATAL[kind]
    p = proxies(registry.port, fault())
    out = lines(s, "pull", "127.0.0.1:%d/models/big" % p.port)
    assert text in out[-1].get("error", ""), out[-1]
    absent(s, sha(random_bytes(BIG, 1)))
    if kind == "corrupt":
        assert not [f for f in os.listdir(os.path.join(s.env["OLLAMA_MODELS"], "blobs")) if "partial" in f]


def test_hostile_manifests(cria, proxies):
    s = cria()
    good, blobs = make_manifest([b"data"])
    m = json.loads(good)

    def bad(**change):
        return json.dumps(dict(m, **change)).encode()
    cases = [b"", b"[]", b"nonsense", b"{}", b"{\"layers\": 5}", b"x" * (5 << 20), bad(layers=[{"digest": "sha256:../../etc", "size": 1}]),
             bad(layers=[dict(m["layers"][0], digest="sha256:" + "g" * 64)]), bad(layers=[dict(m["layers"][0], size=-1)]),
             bad(layers=[dict(m["layers"][0], size=1 << 62)]), bad(layers=[dict(m["layers"][0], digest="sha512:" + "0" * 64)]),
             bad(layers=[m["layers"][0], dict(m["layers"][0], size=5)]), b"[" * 100000]
    for text in cases:
        p = proxies(1)
        p.forward = lambda h, path, body, text=text: (200, [], text)
        out = lines(s, "pull", "127.0.0.1:%d/models/x" % p.port)
        assert out[-1].get("error", "").startswith("pull model manifest: "), (text[:80], out)
    assert s.call("GET", "/api/tags")[1]["models"] == [] and s.p.poll() is None


def test_public_registry_may_not_lead_inside(cria, proxies):
    """By way of an HTTP proxy, which makes any name reachable here."""
    p = proxies(1)
    _, blobs = make_manifest([b"z" * 5000])
    p.forward = lambda h, path, body: (307, [("Location", "http://127.0.0.1:%d/secret" % p.port)], b"")
    s = cria(http_proxy="http://127.0.0.1:%d" % p.port)
    out = lines(s, "pull", "registry.example/models/x")
    assert "leads to the private address 127.0.0.1" in out[-1]["error"]
    assert [path for _, path, _ in p.seen] == ["http://registry.example/v2/models/x/manifests/latest"]


# ---- interruptions ----

def test_resume_after_kill(registry, proxies):
    """kill -9 at 20 random points; what has arrived is not fetched again."""
    p = proxies(registry.port, rate=1.5 * (1 << 20))
    s = Server({"CRIA_TRANSFER_STALL": "5s"})
    rnd = random.Random(7)
    body = json.dumps({"model": "127.0.0.1:%d/models/big" % p.port, "insecure": True})
    try:
        for _ in range(20):
            s.start()
            c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=30)
            c.request("POST", "/api/pull", body)
            time.sleep(rnd.uniform(0.05, 0.8))
            s.p.kill()
            s.p.wait()
            c.close()
            for d in registry.models["big"][1]:
                if os.path.exists(blob_path(s, d)):
                    with open(blob_path(s, d), "rb") as f:
                        assert sha(f.read()) == d
        p.rate = None
        s.start()
        assert lines(s, "pull", "127.0.0.1:%d/models/big" % p.port)[-1] == {"status": "success"}
        complete(s, registry.models["big"][1])
        assert p.bytes_out < 1.5 * BIG, "runs fetched again what was there"
    finally:
        s.close()


def test_leaving_client_stops_and_joining_clients_share(registry, cria, proxies):
    p = proxies(registry.port, rate=8 << 20)
    s = cria()
    model = "127.0.0.1:%d/models/big" % p.port
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=30)
    c.request("POST", "/api/pull", json.dumps({"model": model, "insecure": True}))
    while p.bytes_out < 1 << 20:
        time.sleep(0.02)
    c.sock.close()
    c.close()
    time.sleep(1.5)
    before = p.bytes_out
    time.sleep(0.5)
    assert p.bytes_out == before < BIG, "the transfer goes on without a client"
    p.rate = 24 << 20
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(lines(s, "pull", model)[-1])) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert ends == [{"status": "success"}] * 5
    complete(s, registry.models["big"][1])
    assert p.bytes_out < 1.5 * BIG


def test_two_servers_on_one_store(registry, cria, proxies):
    p = proxies(registry.port, rate=16 << 20)
    a = cria()
    b = cria(OLLAMA_MODELS=a.env["OLLAMA_MODELS"])
    ends = []
    model = "127.0.0.1:%d/models/big" % p.port
    threads = [threading.Thread(target=lambda s=s: ends.append(lines(s, "pull", model)[-1])) for s in (a, b)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert ends == [{"status": "success"}] * 2
    complete(a, registry.models["big"][1])
    assert p.bytes_out < 1.5 * BIG, "both fetched all"
    assert [m["name"] for m in b.call("GET", "/api/tags")[1]["models"]] == [model + ":latest"]


# ---- other registries ----

def test_signed_tokens(cria):
    r = SignedRegistry()
    try:
        s = cria()
        name = r.host + "/me/x"
        text, blobs = install(s, name + ":latest", [random_bytes(3 << 20, 5), b"text"])
        r.parts_to_refuse = 2
        assert lines(s, "push", name)[-1] == {"status": "success"}, s.log_text()
        assert r.blobs == blobs and r.manifests == {"latest": text}
        s.call("DELETE", "/api/delete", {"model": name})
        assert lines(s, "pull", name)[-1] == {"status": "success"}
        complete(s, blobs)
        assert r.problems == []
        assert any(p.startswith("/direct/") for _, p, _ in r.seen) and any(p.startswith("/part/") for _, p, _ in r.seen)
        key = os.path.join(s.dir, ".ollama", "id_ed25519")
        assert os.stat(key).st_mode & 0o777 == 0o600
        if shutil.which("ssh-keygen"):
            derived = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True)
            assert derived.stdout.split()[:2] == open(key + ".pub").read().split()[:2], derived.stderr
    finally:
        r.close()


def test_key_of_openssh_is_used(cria):
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    r = SignedRegistry()
    try:
        s = cria()
        key = os.path.join(s.dir, ".ollama", "id_ed25519")
        os.makedirs(os.path.dirname(key), exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "who@where", "-f", key], check=True)
        install(s, r.host + "/me/x:latest", [b"text"])
        assert lines(s, "push", r.host + "/me/x")[-1] == {"status": "success"}, s.log_text()
        public = open(key + ".pub").read().split()[1]
        assert [a.split(":")[0] for _, p, a in r.seen if p.startswith("/token")] == [public]
    finally:
        r.close()


def test_identity_stays_at_home(cria):
    """A realm on another host gets neither key nor signature."""
    other = SignedRegistry()
    r = SignedRegistry(realm="http://localhost:%d/token" % other.port)
    try:
        s = cria()
        out = lines(s, "pull", r.host + "/me/x")
        assert "realm host \"localhost\" does not match original host \"127.0.0.1\"" in out[-1]["error"]
        assert other.seen == []
    finally:
        r.close()
        other.close()


def test_mirror_first(registry, cria):
    s = cria(CRIA_REGISTRY_MIRRORS="http://127.0.0.1:9,http://%s" % registry.host)
    assert lines(s, "pull", "models/big", insecure=False)[-1] == {"status": "success"}
    complete(s, registry.models["big"][1])
    assert s.call("GET", "/api/tags")[1]["models"][0]["name"] == "models/big:latest"


def test_create_from_registry(registry, cria):
    s = cria(CRIA_REGISTRY_MIRRORS="http://%s" % registry.host)
    status, text = s.call("POST", "/api/create", {"model": "mine", "from": "models/nope"})
    assert "pull model manifest: " in text or "pull model manifest: " in json.dumps(text)


# ---- models that are not there ----

@pytest.fixture(scope="module")
def smol_registry(registry):
    """The registry holds models/smol too, a model that runs."""
    need(SMOLLM2)
    s = Server()
    s.start()
    s.add_model("127.0.0.1:%d/models/smol" % registry.port, SMOLLM2, parameters={"num_predict": 4, "temperature": 0})
    assert lines(s, "push", registry.host + "/models/smol")[-1] == {"status": "success"}
    s.close()
    return registry


def test_missing_model_is_pulled_once(smol_registry, cria):
    s = cria(CRIA_REGISTRY_MIRRORS="http://%s" % smol_registry.host, CRIA_AUTO_PULL="on")
    q = {"model": "models/smol", "messages": [{"role": "user", "content": "Hi"}]}
    out = [json.loads(l) for l in s.call("POST", "/api/chat", dict(q, stream=True))[1].splitlines()]
    told = [l for l in out if "status" in l]
    assert told and all(l["message"] == {"role": "assistant", "content": ""} and l["done"] is False for l in told)
    assert out[-1]["done"] is True and out[-1]["done_reason"] and "".join(l["message"]["content"] for l in out)
    again = [json.loads(l) for l in s.call("POST", "/api/chat", dict(q, stream=True))[1].splitlines()]
    assert not [l for l in again if "status" in l]
    s.call("DELETE", "/api/delete", {"model": "models/smol"})
    both = []
    threads = [threading.Thread(target=lambda: both.append(s.call("POST", "/api/generate", {"model": "models/smol", "prompt": "Hi",
                                                                                            "stream": False}))) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [x[0] for x in both] == [200] * 3 and both[0][1]["response"]
    s.call("DELETE", "/api/delete", {"model": "models/smol"})
    r = s.call("POST", "/v1/chat/completions", dict(q, stream=True))[1]
    assert ": pulling " in r and r.endswith("data: [DONE]\n\n") and "error" not in r


def test_missing_everywhere_stays_404(smol_registry, cria):
    s = cria(CRIA_REGISTRY_MIRRORS="http://%s" % smol_registry.host, CRIA_AUTO_PULL="on")
    for _ in range(2):
        assert s.call("POST", "/api/chat", {"model": "x.invalid/models/nope", "messages": [{"role": "user", "content": "x"}]}) == \
            (404, {"error": "model 'x.invalid/models/nope' not found"})
    assert s.log_text().count("pulling a model that is not installed") == 1  # not tried again for a while
    assert s.call("POST", "/api/generate", {"model": "models/smol", "keep_alive": 0})[0] == 404  # unloading pulls nothing
    off = cria(CRIA_REGISTRY_MIRRORS="http://%s" % smol_registry.host, CRIA_AUTO_PULL="off")
    assert off.call("POST", "/api/generate", {"model": "models/smol", "prompt": "x"}) == (404, {"error": "model 'models/smol' not found"})


# ---- command line ----

def test_command_line(registry, cria, tmp_path):
    s = cria()
    name = registry.host + "/models/big"
    text, blobs = registry.models["big"]
    r = s.cli("pull", "--insecure", name)
    assert r.returncode == 0 and r.stdout == ""
    words = r.stderr.splitlines()
    assert words[0] == "pulling manifest" and words[-1] == "success" and words[1] == "pulling " + sha(random_bytes(BIG, 1))[7:19]
    r = s.cli("push", "--insecure", name)
    assert r.returncode == 0 and r.stderr.splitlines()[-1] == "success" and "You can find" not in r.stderr
    r = s.cli("pull", "127.0.0.1:9/library/nope")
    assert r.returncode == 1 and r.stderr == ('pulling manifest\nError: pull model manifest: Get "https://127.0.0.1:9/v2/library/nope/manifests/'
                                              'latest": dial tcp 127.0.0.1:9: connect: connection refused\n')
    assert s.cli("pull", "a b").stderr == "Error: 400 Bad Request: invalid model name\n"
    assert s.cli("pull").stderr == "Error: accepts 1 arg(s), received 0\n"
    r = s.cli("push", "127.0.0.1:9/me/nope")
    assert r.stderr.splitlines()[:2] == ["retrieving manifest", "couldn't retrieve manifest"] and "no such file or directory" in r.stderr


def test_bars_on_a_terminal(registry, cria):
    s = cria()
    p = pexpect.spawn(CRIA, ["pull", "--insecure", registry.host + "/models/big"], env=dict(s.env, TERM="xterm"), encoding="utf-8",
                      timeout=30, dimensions=(24, 100))
    p.expect(r"pulling [0-9a-f]{12}: +\d+% ▕█* *▏ ")
    p.expect("success")
    p.expect(pexpect.EOF)
    p.wait()
    assert p.exitstatus == 0


def test_save_and_load(registry, cria, tmp_path):
    a, b = cria(), cria()
    name = registry.host + "/models/big"
    text, blobs = registry.models["big"]
    assert lines(a, "pull", name)[-1] == {"status": "success"}
    bundle = str(tmp_path / "big.tar")
    assert a.cli("save", name, "-o", bundle).returncode == 0
    listed = subprocess.run(["tar", "tf", bundle], capture_output=True, text=True).stdout.split()
    assert listed[-1] == "manifests/%s/models/big/latest" % registry.host and len(listed) == len(blobs) + 1
    r = b.cli("load", "-i", bundle)
    assert r.returncode == 0 and r.stdout == "loaded '%s:latest'\n" % name
    complete(b, blobs)
    assert b.call("POST", "/api/export", {"model": name})[1]["manifest"].encode() == text
    data = bytearray(open(bundle, "rb").read())
    c = cria()
    for at, what in ((5 << 20, "digest mismatch"), (100, "no tar file")):
        broken = bytearray(data)
        broken[at] ^= 1
        (tmp_path / "broken.tar").write_bytes(broken)
        r = c.cli("load", "-i", str(tmp_path / "broken.tar"))
        assert r.returncode == 1 and what in r.stderr, r.stderr
    (tmp_path / "short.tar").write_bytes(data[:10 << 20])
    assert c.cli("load", "-i", str(tmp_path / "short.tar")).returncode == 1
    assert c.call("GET", "/api/tags")[1]["models"] == []
    subprocess.run(["tar", "xf", bundle, "-C", c.env["OLLAMA_MODELS"]], check=True)
    assert [m["name"] for m in c.call("GET", "/api/tags")[1]["models"]] == [name + ":latest"]
