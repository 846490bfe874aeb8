"""Many clients with a secret word each, some of which leave or read slowly: nobody gets what belongs to another.

CRIA_CANARY_SECONDS (60) is how long that goes on. What a short request takes meanwhile is printed; run pytest with -s to see it."""
import http.client
import json
import os
import random
import socket
import statistics
import threading
import time

import pytest

from test_process import SHORT, still_fine

SECONDS = float(os.environ.get("CRIA_CANARY_SECONDS", "60"))
N_CLIENT = 24
SOUNDS = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]

MALFORMED = [
    b"\r\n\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)), b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"POST /api/generate HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/generate HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhellox",
    b"POST /api/generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\nabc",
    b"POST /api/generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{\"model\": \"smollm2\",",
    b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n{\"model\": \"smollm2\", \"prompt\": \"",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 3000 + b"\r\n",
    b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x00", b"\x00" * 1000,
    b"DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n{\"model\": \"../../etc/passwd\"}\n",
]


class Client:
    """A secret word, the requests that make the model say it, and the answers to them when nobody else asks."""

    def __init__(self, i, word):
        self.word = word
        self.kind = ("patient", "leaving", "slow")[i % 3]
        self.prompt = ("The secret word is %s. " % word) * 4 + "The secret word is"
        self.options = [{"temperature": 0, "num_predict": 24}, {"temperature": 0.2, "seed": i, "num_predict": 40}]
        self.alone = []
        self.n_complete = self.n_left = 0

    def body(self, variant, stream):
        body = {"model": "smollm2", "raw": True, "prompt": self.prompt, "options": self.options[variant], "stream": stream}
        if self.kind == "slow":  # much to read for each token
            body.update(logprobs=True, top_logprobs=20)
        return body


class Storm:
    def __init__(self, server, clients):
        self.server, self.clients = server, clients
        self.wrong = []
        self.short_ms = []

    def run(self, seconds, with_trouble):
        """All clients for that long. Without trouble they all wait for their whole answers."""
        self.until = time.time() + seconds
        self.trouble = with_trouble
        threads = [threading.Thread(target=self.guarded, args=(self.client, c, i)) for i, c in enumerate(self.clients)]
        threads.append(threading.Thread(target=self.guarded, args=(self.short,)))
        if with_trouble:
            threads.append(threading.Thread(target=self.guarded, args=(self.malformed,)))
        [t.start() for t in threads]
        [t.join() for t in threads]
        ms, self.short_ms = self.short_ms, []
        return statistics.median(ms), len(ms)

    def guarded(self, what, *args):
        try:
            what(*args)
        except Exception as e:
            self.wrong.append("%s%r: %r" % (what.__name__, args[1:], e))

    def client(self, c, i):
        rng = random.Random(i)
        while time.time() < self.until:
            variant, stream = rng.randrange(2), rng.random() < 0.6
            kind = c.kind if self.trouble else "patient"
            text = self.ask(c, variant, stream or kind == "slow", kind, rng)
            for other in self.clients:
                if other is not c and other.word in text:
                    self.wrong.append("the answer to %s has the word of %s: %r" % (c.word, other.word, text))

    def ask(self, c, variant, stream, kind, rng):
        data = json.dumps(c.body(variant, stream)).encode()
        with socket.socket() as s:
            if kind == "slow":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.settimeout(120)
            s.connect(("127.0.0.1", self.server.port))
            s.sendall(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(data) + data)
            if kind == "leaving" and rng.random() < 0.8:
                return self.leave(c, s, rng)
            raw = b""
            while d := s.recv(1500 if kind == "slow" else 65536):
                raw += d
                if kind == "slow":
                    time.sleep(0.02)
        text, last = answer_of(raw)
        c.n_complete += 1
        if not (last.get("done") and text == c.alone[variant]):
            self.wrong.append("%s (%s): %r instead of %r, %r" % (c.word, kind, text, c.alone[variant], last))
        return raw.decode("utf-8", "replace")

    def leave(self, c, s, rng):
        """Goes away before the answer, or after a part of it, with or without saying goodbye."""
        s.settimeout(rng.choice([0.01, 0.1, 0.5, 1, 2]))
        c.n_left += 1
        raw = b""
        try:
            for _ in range(rng.randrange(1, 12)):
                raw += s.recv(4096)
        except TimeoutError:
            pass
        if rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets the connection
        return raw.decode("utf-8", "replace")

    def malformed(self):
        rng = random.Random(1)
        while time.time() < self.until:
            with socket.create_connection(("127.0.0.1", self.server.port)) as s:
                s.settimeout(0.2)
                try:
                    s.sendall(rng.choice(MALFORMED))
                    while s.recv(4096):
                        pass
                except OSError:
                    pass

    def short(self):
        while time.time() < self.until:
            self.short_ms.append(short_ms(self.server))
            time.sleep(0.1)


def answer_of(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[:int(size, 16)], rest[int(size, 16) + 2:]
    parts = [json.loads(line) for line in body.splitlines()]
    return "".join(p.get("response", "") for p in parts), parts[-1] if parts else {}


def short_ms(server):
    t = time.time()
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    c.request("POST", "/api/generate", json.dumps(SHORT))
    r = c.getresponse()
    assert r.status == 200 and json.loads(r.read())["done"]
    c.close()
    return (time.time() - t) * 1000


@pytest.fixture
def storm(fresh):
    server = fresh()
    rng = random.Random(5)
    words = set()
    while len(words) < N_CLIENT:
        words.add("".join(rng.choice(SOUNDS) for _ in range(4)))
    clients = [Client(i, w) for i, w in enumerate(sorted(words))]
    for c in clients:
        c.alone = [server.call("POST", "/api/generate", c.body(variant, False))[1]["response"] for variant in (0, 1)]
        assert c.word in c.alone[0], "the model does not repeat its word, so that the test would show nothing"
    return Storm(server, clients)


def test_nobody_gets_what_belongs_to_another(storm):
    n_fd = storm.server.n_fd()
    quiet = statistics.median(short_ms(storm.server) for _ in range(9))
    calm, n_calm = storm.run(SECONDS / 5, with_trouble=False)
    rough, n_rough = storm.run(SECONDS * 4 / 5, with_trouble=True)
    complete = sum(c.n_complete for c in storm.clients)
    print("\nA short request takes %.0f ms alone, %.0f ms among %d clients (%d times), %.0f ms when of these a third leaves, a third "
          "reads slowly and broken requests come in (%d times). %d answers were complete, %d were left."
          % (quiet, calm, N_CLIENT, n_calm, rough, n_rough, complete, sum(c.n_left for c in storm.clients)))
    assert not storm.wrong, "\n".join(storm.wrong[:20])
    assert complete >= N_CLIENT
    assert rough < 10_000
    still_fine(storm.server, n_fd)
