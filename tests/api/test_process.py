"""What can go wrong with processes: after each the server answers, no child or descriptor is left, memory is back."""
import http.client
import json
import os
import resource
import signal
import socket
import threading
import time

import pytest

from conftest import SMOLLM2, need

LONG = {"model": "smollm2", "prompt": "Write a very long story.", "stream": True, "options": {"num_predict": 3000, "num_ctx": 8192}}
SHORT = {"model": "smollm2", "prompt": "Hi", "stream": False, "options": {"num_predict": 2, "temperature": 0}}


def wait_for(what, seconds=10):
    deadline = time.time() + seconds
    while time.time() < deadline:
        v = what()
        if v:
            return v
        time.sleep(0.05)
    return what()


class Stream:
    """A raw streaming request whose socket the test holds in its hand."""

    def __init__(self, server, body, path="/api/generate"):
        data = json.dumps(body).encode()
        self.s = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.s.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)
        self.got = b""

    def read_until(self, text, seconds=60):
        self.s.settimeout(seconds)
        while text not in self.got:
            d = self.s.recv(65536)
            if not d:
                break
            self.got += d
        return self.got

    def close(self):
        self.s.close()


def still_fine(server, n_fd_before):
    status, r = server.call("POST", "/api/generate", SHORT)
    assert status == 200 and r["done"], r
    assert wait_for(lambda: server.n_fd() <= n_fd_before + 2), "descriptors: %d before, %d now" % (n_fd_before, server.n_fd())
    assert len(server.runners()) == 1
    assert not [l for _, l in server.children() if " Z" in l or "<defunct>" in l]


@pytest.fixture
def warm(fresh):
    s = fresh()
    assert s.call("POST", "/api/generate", SHORT)[0] == 200
    return s


def active(server):
    """Sequences the runner works on, from the CPU time it uses: idle runners use none."""
    pid = server.runners()[0]
    ticks = lambda: sum(int(x) for x in open("/proc/%d/stat" % pid).read().split()[13:15])
    a = ticks()
    time.sleep(0.5)
    return ticks() - a > 10


def test_runner_killed_while_streaming(warm):
    n = warm.n_fd()
    st = Stream(warm, LONG)
    st.read_until(b'"response"')
    os.kill(warm.runners()[0], signal.SIGKILL)
    text = st.read_until(b'"error"', 20)
    assert b'"error":"model runner has unexpectedly stopped' in text, text[-300:]
    st.close()
    still_fine(warm, n)


def test_runner_killed_before_the_first_byte_is_retried(warm):
    n = warm.n_fd()
    st = Stream(warm, dict(LONG, prompt="word " * 6000, options={"num_predict": 2, "num_ctx": 8192}))
    time.sleep(0.2)
    os.kill(warm.runners()[0], signal.SIGKILL)
    text = st.read_until(b'"done":true', 120)
    assert b'"done":true' in text and b'"error"' not in text, text[-300:]
    st.close()
    still_fine(warm, n)


def test_runner_stopped_is_found_and_replaced(warm):
    n = warm.n_fd()
    st = Stream(warm, LONG)
    st.read_until(b'"response"')
    os.kill(warm.runners()[0], signal.SIGSTOP)
    text = st.read_until(b'"error"', 40)
    assert b'"error":"model runner has unexpectedly stopped' in text, text[-300:]
    st.close()
    still_fine(warm, n)


@pytest.mark.parametrize("when", ["prefill", "decode", "queue"])
def test_client_vanishes(warm, when):
    n = warm.n_fd()
    body = dict(LONG)
    if when != "decode":
        body["prompt"] = "word " * 7000
    streams = [Stream(warm, body) for _ in range(1 if when != "queue" else 12)]
    if when == "decode":
        streams[0].read_until(b'"response"')
    else:
        time.sleep(0.5)
    assert active(warm)
    for st in streams:
        st.close()
    assert wait_for(lambda: not active(warm), 15), "the runner goes on for clients that are gone"
    still_fine(warm, n)


def test_64_clients(warm):
    n = warm.n_fd()
    got = []

    def one(i):
        got.append(warm.call("POST", "/api/generate", dict(SHORT, prompt="Say %d" % i, options={"num_predict": 8, "temperature": 0})))
    ts = [threading.Thread(target=one, args=(i,)) for i in range(64)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    assert len(got) == 64 and all(s == 200 and r["done"] for s, r in got)
    still_fine(warm, n)


def test_slow_reader_holds_nobody_up(warm):
    n = warm.n_fd()
    slow = Stream(warm, LONG)
    slow.read_until(b'"response"')  # then never reads again
    t = time.time()
    for _ in range(3):
        assert warm.call("POST", "/api/generate", SHORT)[0] == 200
    assert time.time() - t < 20
    slow.close()
    still_fine(warm, n)


def test_half_requests(warm):
    n = warm.n_fd()
    parts = [b"", b"POST /api/gen", b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n",
             b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"mod"]
    socks = []
    for p in parts:
        s = socket.create_connection(("127.0.0.1", warm.port))
        s.sendall(p)
        socks.append(s)
    assert warm.call("POST", "/api/generate", SHORT)[0] == 200
    [s.close() for s in socks]
    still_fine(warm, n)


def test_truncated_model_file(fresh):
    s = fresh(models=False)
    cut = os.path.join(s.dir, "cut.gguf")
    with open(need(SMOLLM2), "rb") as f, open(cut, "wb") as o:
        o.write(f.read(20_000_000))
    with open(cut, "rb") as f:
        from conftest import digest_of
        d = digest_of(cut)
        status, _ = s.call("POST", "/api/blobs/" + d, f.read())
        assert status == 201
    status, r = s.call("POST", "/api/create", {"model": "cut", "files": {"cut.gguf": d}, "stream": False})
    assert status >= 400 and r["error"], r
    s.add_model("smollm2", SMOLLM2)
    assert s.call("POST", "/api/generate", SHORT)[0] == 200


def test_model_file_cut_after_it_was_installed(fresh):
    s = fresh()
    blobs = os.path.join(s.env["OLLAMA_MODELS"], "blobs")
    big = max((os.path.join(blobs, b) for b in os.listdir(blobs)), key=os.path.getsize)
    os.truncate(big, 30_000_000)
    status, r = s.call("POST", "/api/generate", SHORT)
    assert status == 500 and r["error"], r
    assert s.call("GET", "/api/tags")[0] == 200
    assert wait_for(lambda: not s.runners())


def test_out_of_memory_is_a_clear_error(fresh):
    """The server's limit on address space, which runners inherit, is too small for the model."""
    s = fresh()
    resource.prlimit(s.p.pid, resource.RLIMIT_AS, (600 << 20, 600 << 20))
    status, r = s.call("POST", "/api/generate", SHORT)
    assert status == 500 and r["error"], r
    assert s.call("GET", "/api/tags")[0] == 200
    assert wait_for(lambda: not s.runners())


def test_keep_alive_zero_gives_memory_back(warm):
    n = warm.n_fd()
    status, r = warm.call("POST", "/api/generate", {"model": "smollm2", "keep_alive": 0, "stream": False})
    assert status == 200 and r["done_reason"] == "unload"
    assert wait_for(lambda: not warm.runners())
    assert warm.call("GET", "/api/ps")[1]["models"] == []
    still_fine(warm, n)


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_threads_are_as_asked_and_idle_ones_use_no_cpu(warm):
    """num_thread counts when a request loads the model; whoever comes later takes the runner as it is."""
    warm.call("POST", "/api/generate", dict(model="smollm2", keep_alive=0))
    assert wait_for(lambda: not warm.runners())
    for n in (5, 2):
        status, r = warm.call("POST", "/api/generate", dict(SHORT, options=dict(SHORT["options"], num_thread=n)))
        assert status == 200 and r["done"], r
    assert "threads=5" in warm.log_text() and "threads=2 " not in warm.log_text().rsplit("threads=5", 1)[1]
    pid = warm.runners()[0]
    time.sleep(0.5)
    before = cpu_ticks(pid)
    time.sleep(2)
    assert cpu_ticks(pid) - before <= 2  # of 200


def test_sigterm_ends_streams_and_children(warm):
    st = Stream(warm, LONG)
    st.read_until(b'"response"')
    runner = warm.runners()[0]
    t = time.time()
    assert warm.stop() == 0
    assert time.time() - t < 15
    st.read_until(b"\0never\0", 5)
    assert not os.path.exists("/proc/%d" % runner)


def test_kill_9_of_the_server_leaves_no_runner(warm):
    runner = warm.runners()[0]
    warm.p.kill()
    warm.p.wait()
    assert wait_for(lambda: not os.path.exists("/proc/%d" % runner))


def test_port_taken_says_who_and_what_to_do(warm):
    import subprocess
    from conftest import CRIA
    r = subprocess.run([CRIA, "serve"], env=warm.env, capture_output=True, text=True, timeout=20)
    assert r.returncode == 1
    assert "Ollama is running" in r.stderr and "OLLAMA_HOST" in r.stderr, r.stderr


def test_request_after_request_on_one_connection(warm):
    c = http.client.HTTPConnection("127.0.0.1", warm.port, timeout=30)
    for _ in range(20):
        c.request("POST", "/api/generate", json.dumps(SHORT), {"Content-Type": "application/json"})
        r = c.getresponse()
        assert r.status == 200 and json.loads(r.read())["done"]
    c.close()
