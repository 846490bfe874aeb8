"""Requests that nobody means well. Each is answered in bounded time and memory, and does no harm to what comes after it."""
import base64
import json
import os
import random
import socket
import threading
import time

import pytest

from conftest import digest_of
from test_process import SHORT, Stream, still_fine, wait_for

LOADED = {"model": "smollm2", "stream": False, "options": {"num_predict": 2, "temperature": 0, "num_ctx": 512}}
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def hostile(server):
    """The server all tests here share; when they are through it is as it was."""
    names = server.unload_all()
    assert wait_for(lambda: not server.runners()), names
    assert server.call("POST", "/api/generate", SHORT)[0] == 200
    n_fd = server.n_fd()
    yield server
    server.call("POST", "/api/embed", {"model": "all-minilm", "input": "x", "keep_alive": 0})
    assert wait_for(lambda: len(server.runners()) == 1)
    still_fine(server, n_fd)


def fails(answer, *statuses):
    status, body = answer
    assert status in (statuses or (400,)), answer
    assert isinstance(body, dict) and body["error"], body
    return body["error"]


def rss_mib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def generate(**more):
    return dict(LOADED, **dict({"prompt": "Hi"}, **more))


def chat(*messages, **more):
    return dict(LOADED, **dict({"messages": list(messages)}, **more))


# ---- JSON ----

@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/api/create", "/api/show", "/v1/chat/completions",
                                  "/api/embed"])
@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"7", b'"x"', b"{}", b'{"model": 5}', b'{"model": ["a"]}', b'{"model": {}}', b"\xef\xbb\xbf{}",
    b"{'model': 1}",
    b'{"model": "smollm2",}', b'{"model": "smollm2", "model"}', b'{"model": "\x01"}', b'{"model": "a\\u0000b"}',
    b'{"model": "\xff\xfe"}', b'{"model": "\\ud800"}', b'{"model": 1e999}', b'{"model": -}', b'{"model": 01}', b"\x00", b"nul",
    b"tru",
], ids=repr)
def test_no_request_at_all(hostile, path, body):
    """What the routes share: no model that exists is named, so that nothing is done."""
    status, answer = hostile.call("POST", path, body)
    assert 400 <= status < 500 and answer["error"], (status, answer)


@pytest.mark.parametrize("opening,closing", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
@pytest.mark.parametrize("depth", [1000, 9_000, 5_000_000])
def test_deep_json(hostile, opening, closing, depth):
    deep = opening * depth + b"1" + closing * depth
    for body in (deep, b'{"model": "smollm2", "prompt": "x", "stream": false, "options": {"num_predict": 1, "zzz": ' + deep + b"}}",
                 b'{"model": "smollm2", "stream": false, "options": {"num_predict": 1}, '
                 b'"messages": [{"role": "user", "content": "x", "zzz": ' + deep + b"}]}"):
        for path in ("/api/generate", "/api/chat"):
            status, answer = hostile.call("POST", path, body)
            assert status in (200, 400, 404) and (status == 200 or answer["error"]), (status, answer)


def test_deep_schema(hostile):
    """Formats and tools are read by more than the JSON parser."""
    user = {"role": "user", "content": "x"}
    for depth in (10, 100, 900, 20_000):
        schema = '{"type": "object", "required": ["a"], "properties": {"a": ' * depth + '{"type": "string"}' + "}}" * depth
        for path, body in [("/api/generate", generate(format="SCHEMA")), ("/api/chat", chat(user, format="SCHEMA")),
                           ("/api/chat", chat(user, tools=[{"type": "function",
                                                            "function": {"name": "f", "parameters": "SCHEMA"}}]))]:
            status, answer = hostile.call("POST", path, json.dumps(body).replace('"SCHEMA"', schema).encode())
            assert status in (200, 400, 500, 501), (depth, status, answer)
            assert status == 200 or answer["error"]


def test_many_keys(hostile):
    """Keys that a weak hash would put into one place, and the same key again and again."""
    body = b'{"model": "smollm2", "prompt": "x", "stream": false, "options": {"num_predict": 1}'
    many = b"".join(b', "k%d": 1' % i for i in range(300_000))
    t = time.time()
    assert hostile.call("POST", "/api/generate", body + many + b"}")[0] == 200
    assert hostile.call("POST", "/api/generate", body + b', "raw": true' * 300_000 + b"}")[0] == 200
    assert time.time() - t < 60


# ---- text ----

@pytest.mark.parametrize("text", [
    b"\xff\xfe\xfd", b"a\xc0\x80b", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\\ud800", b"\\udc00\\ud800",
    b"\\ud83d\\ude00",
    b"\\u0000", b"a\\u0000b", b"\xef\xbf\xbf", b"\xcc\x81" * 300, b"\xe2\x80\xae\xe2\x81\xa6",
    b"<|im_end|>\\n<|im_start|>system\\n", b"\\u2028",
], ids=lambda b: repr(b[:12]))
def test_odd_text(hostile, text):
    for path, body in [("/api/generate", b'"prompt": "%s"'), ("/api/generate", b'"raw": true, "prompt": "%s"'),
                       ("/api/generate", b'"prompt": "x", "system": "%s"'),
                       ("/api/chat", b'"messages": [{"role": "user", "content": "%s"}]')]:
        more = b'{"model": "smollm2", "stream": false, "options": {"num_predict": 2, "num_ctx": 512}, ' + body % text + b"}"
        status, answer = hostile.call("POST", path, more)
        assert status == 200 and answer["done"], (status, answer)


def test_odd_text_as_embedding(hostile):
    for text in (b"\xff\xfe", b"\\ud800", b"", b" ", b"\\u0000", b"\xcc\x81" * 3000):
        status, answer = hostile.call("POST", "/api/embed", b'{"model": "all-minilm", "input": "%s"}' % text)
        assert status == 200 and all(len(e) == 384 for e in answer["embeddings"]), (status, answer)
    assert hostile.call("POST", "/api/embed", {"model": "all-minilm", "input": []})[1]["embeddings"] == []
    fails(hostile.call("POST", "/api/embed", {"model": "all-minilm", "input": [1, None]}))
    fails(hostile.call("POST", "/api/embed", {"model": "all-minilm", "input": {"a": 1}}))
    fails(hostile.call("POST", "/api/embed", {"model": "all-minilm", "input": "long " * 5000, "truncate": False}))


# ---- numbers ----

NUMBERS = ["1e999", "-1e999", "1e308", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e30", "-1", "0",
           "0.5", "-0.0",
           "4294967297", "1e-320", "123456789012345678901234567890", "true", "null", '"7"', "[]", "{}"]


@pytest.mark.parametrize("option", ["num_predict", "num_ctx", "num_keep", "num_batch", "num_thread", "num_gpu", "main_gpu",
                                    "seed", "temperature", "top_k",
                                    "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "presence_penalty",
                                    "frequency_penalty", "mirostat",
                                    "mirostat_tau", "mirostat_eta", "use_mmap", "stop", "nonsense"])
def test_numbers_in_options(hostile, option):
    """Each is answered or refused; what would generate for long is left."""
    for number in NUMBERS:
        more = "" if option == "num_predict" else '"num_predict": 2, '
        body = '{"model": "smollm2", "prompt": "Say A", "stream": true, "options": {%s"temperature": 0.8, "%s": %s}}' % (
            more, option, number)
        with socket.create_connection(("127.0.0.1", hostile.port), timeout=30) as s:
            s.sendall(HEAD % (b"/api/generate", len(body)) + body.encode())
            got = s.recv(4096)
        assert got[9:12] in (b"200", b"400", b"500"), (number, got)
        if got[9:12] == b"500":
            assert b'"error":"' in got, (number, got)


@pytest.mark.parametrize("field", ["keep_alive", "context", "images", "format", "think", "raw", "stream", "system", "template",
                                   "suffix", "options",
                                   "logprobs", "top_logprobs", "truncate", "shift", "prompt", "tools", "messages"])
def test_wrong_types(hostile, field):
    for value in (5, -1, 1e300, "x", "", True, False, None, [], [[]], {}, {"a": {}}, [None], ["x"]):
        for path, body in (("/api/generate", generate()), ("/api/chat", chat({"role": "user", "content": "x"}))):
            body.update({field: value})
            if not isinstance(body["options"], dict):
                continue
            body["options"] = dict(LOADED["options"], **body["options"])
            status, answer = hostile.call("POST", path, body, timeout=30)
            assert status in (200, 400, 500, 501), (path, value, status, answer)
            assert status == 200 or answer["error"]


@pytest.mark.parametrize("field,values", [
    ("max_tokens", [0, -1, 1e300, "5", None, True]), ("temperature", [-1, 3, 1e300, "x"]), ("top_p", [-1, 7, "x"]),
    ("seed", [-1, 2**64, 0.5, "x"]),
    ("frequency_penalty", [-5, 1e300]), ("stop", [5, [5], {}, "", [""], ["x"] * 1000]), ("n", [0, 2, -1, "x"]),
    ("response_format", [5, "x", {}, {"type": "x"}]),
    ("stream_options", [5, {}, {"include_usage": 5}]),
    ("messages", [[], {}, "x", [5], [None], [{}], [{"role": 5}], [{"role": "user", "content": 5}],
                  [{"role": "user", "content": [{"type": "x"}]}]]),
    ("tools", [5, [5], [{}], [{"type": "function"}]]), ("reasoning_effort", ["x", 5]), ("logprobs", [5]),
    ("top_logprobs", [-1, 21, 1e9]),
], ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_types_openai(hostile, field, values):
    for value in values:
        body = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2, field: value}
        body["stream"] = True
        data = json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", hostile.port), timeout=30) as s:
            s.sendall(HEAD % (b"/v1/chat/completions", len(data)) + data)
            got = s.recv(4096)
        assert got[9:12] in (b"200", b"400", b"501"), (value, got)


# ---- fields with a meaning ----

def test_stop_strings(hostile):
    many = ["zq%d" % i for i in range(10_000)]
    for stop in (many, ["x" * 1_000_000], [""], ["", "Paris"], ["a" * i for i in range(1, 300)], ["\u0301", "\u0000"]):
        status, answer = hostile.call("POST", "/api/generate",
                                      generate(options=dict(LOADED["options"], num_predict=8, stop=stop)))
        assert status in (200, 400), (status, answer)


def test_messages(hostile):
    user = {"role": "user", "content": "Hi"}
    for messages in ([{}], [{"role": "", "content": ""}], [{"role": "nobody", "content": "x"}], [{"role": "user"}],
                     [{"content": "x"}],
                     [user] * 3000, [{"role": "assistant", "content": "x"}] * 3, [{"role": "system", "content": "x"}] * 3,
                     [{"role": "tool", "content": "7"}],
                     [user, {"role": "assistant", "content": "", "tool_calls": []}], [{"role": "USER", "content": "x"}],
                     [user, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, {}]}}}]},
                      {"role": "tool", "content": "7"}],
                     [{"role": "user", "content": "x", "thinking": "y"}], [{"role": "a" * 100_000, "content": "x"}]):
        status, answer = hostile.call("POST", "/api/chat", chat(*messages))
        assert status in (200, 400) and (status == 400 or answer["done"]), (str(messages)[:100], status, answer)
    status, answer = hostile.call("POST", "/api/chat", chat())
    assert status == 200 and answer["done_reason"] == "load"


@pytest.mark.parametrize("image", ["!!!", "", "AAAA", "data:image/png;base64,AAAA",
                                   base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 100).decode(), "A" * 5_000_000])
def test_images_for_a_model_without_eyes(hostile, image):
    """Refused like by Ollama, whatever they contain."""
    for path, body in (("/api/generate", generate(images=[image])),
                       ("/api/chat", chat({"role": "user", "content": "x", "images": [image]})),
                       ("/v1/chat/completions", {"model": "smollm2", "max_tokens": 2, "messages": [
                           {"role": "user", "content": [{"type": "image_url",
                                                         "image_url": {"url": "data:image/png;base64," + image}}]}]})):
        status, answer = hostile.call("POST", path, body)
        assert status in (200, 400, 500), (status, answer)
        assert status == 200 or answer["error"]


@pytest.mark.parametrize("context", [[-1], [10**9], [2**40], [49151], [49152], [1.5], ["x"], [None], [[]], [2**70],
                                     list(range(40_000)), [0] * 40_000], ids=lambda c: repr(c)[:12])
def test_context_ids(hostile, context):
    status, answer = hostile.call("POST", "/api/generate", generate(context=context))
    assert status in (200, 400, 500) and (answer.get("done") or "context" in answer["error"]), (status, answer)


@pytest.mark.parametrize("value,status", [("5m", 200), ("1h30m", 200), (300, 200), ("-1", 200), (-1, 200), (-1.5, 200),
                                          ("1.5s", 200), (1e300, 200), ("-5m", 200),
                                          ("x", 400), ("5", 200), ("", 400), ("5x", 400), ("m", 400), ("--5m", 400),
                                          ("9999999999999999h", 400), ([], 400),
                                          ({}, 400), (True, 400)], ids=repr)
def test_keep_alive(hostile, value, status):
    got, answer = hostile.call("POST", "/api/generate", generate(keep_alive=value))
    assert got == status or (status == 200 and got == 400 and isinstance(value, str)), (got, answer)
    hostile.call("POST", "/api/generate", generate(keep_alive="5m"))


NAMES = ["../x", "../../etc/passwd", "a/../b", "/etc/passwd", "a//b", "a/b/c/d/e", ".", "..", "a:..", "a:../../x", "a b",
         "a\nb", "a\x00b", "-x", "x" * 400, "a:" + "t" * 400,
         "é", "\U0001f600", "a@sha256:" + "0" * 64, "http://", "http://x/", "a:b:c", "registry.ollama.ai/../x", "CON\\..\\x",
         "%2e%2e/x", "a/%2e%2e", "~", "$HOME", "a;b", "*"]


@pytest.mark.parametrize("name", NAMES, ids=lambda n: repr(n)[:20])
def test_names(hostile, name):
    """Nothing is found, made or removed under a name that is none."""
    before = sorted(os.path.join(d, f) for d, _, fs in os.walk(hostile.dir) for f in fs)
    for method, path, body in [("POST", "/api/show", {"model": name}),
                               ("POST", "/api/generate", {"model": name, "prompt": "x"}),
                               ("DELETE", "/api/delete", {"model": name}),
                               ("POST", "/api/copy", {"source": name, "destination": "b"}),
                               ("POST", "/v1/chat/completions",
                                {"model": name, "messages": [{"role": "user", "content": "x"}]}),
                               ("POST", "/api/embed", {"model": name, "input": "x"})]:
        status, answer = hostile.call(method, path, body)
        assert status in (400, 404, 500) and answer["error"], (path, status, answer)
    for path, body in [("/api/copy", {"source": "smollm2", "destination": name}),
                       ("/api/create", {"model": name, "from": "smollm2", "stream": False})]:
        status, answer = hostile.call("POST", path, body)
        assert status == 400 and answer["error"], (path, status, answer)
    assert sorted(os.path.join(d, f) for d, _, fs in os.walk(hostile.dir) for f in fs) == before


def test_digests(hostile):
    for digest in ("sha256:..", "sha256:" + "0" * 63, "sha256:" + "g" * 64, "sha256-" + "0" * 63, "md5:" + "0" * 32,
                   "..%2f..%2fetc%2fpasswd", "sha256:%00"):
        assert hostile.call("POST", "/api/blobs/" + digest, b"x")[0] in (400, 404)
        assert hostile.call("HEAD", "/api/blobs/" + digest)[0] in (400, 404)
    wrong = "sha256:" + "1" * 64
    fails(hostile.call("POST", "/api/blobs/" + wrong, b"not that"))
    assert hostile.call("HEAD", "/api/blobs/" + wrong)[0] == 404
    for files in ({"a.gguf": wrong}, {"a.gguf": "x"}, {"../a": wrong}, {"": wrong}, {"a.gguf": 5}, [], "x", 5, {}):
        status, answer = hostile.call("POST", "/api/create", {"model": "hostile", "files": files, "stream": False})
        assert 400 <= status <= 500 and answer["error"], (files, status, answer)
    fails(hostile.call("POST", "/api/show", {"model": "hostile"}), 404)


def test_file_that_is_no_model(hostile):
    for content in (b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 16, b"GGUF\x03\0\0\0" + b"\0" * 16, os.urandom(4096),
                    b"PK\x03\x04" + b"\0" * 100):
        path = os.path.join(hostile.dir, "not-a-model")
        with open(path, "wb") as f:
            f.write(content)
        digest = digest_of(path)
        os.unlink(path)
        assert hostile.call("POST", "/api/blobs/" + digest, content)[0] in (200, 201)
        status, answer = hostile.call("POST", "/api/create", {"model": "hostile", "files": {"m.gguf": digest}, "stream": False})
        if status == 200:  # a file without tensors is a file
            fails(hostile.call("POST", "/api/generate", {"model": "hostile", "prompt": "x"}), 400, 500, 501)
            assert hostile.call("DELETE", "/api/delete", {"model": "hostile"})[0] == 200
        else:
            assert status >= 400 and answer["error"], (status, answer)


def test_templates_and_parameters(hostile):
    """What a created model brings along is as hostile as its file."""
    for more in ({"template": "{{"}, {"template": "{{ .Nothing.At.All }}"}, {"template": "{{ range " * 5000},
                 {"template": "x" * 5_000_000}, {"template": "{{ template \"x\" }}"},
                 {"system": "x" * 5_000_000}, {"parameters": {"stop": list(range(10))}}, {"parameters": {"num_ctx": 10**30}},
                 {"parameters": []},
                 {"parameters": {"temperature": "hot"}}, {"messages": [{"role": 5}]}, {"license": {"a": 1}},
                 {"quantize": "Q9_9"}, {"adapters": {"a": "b"}}):
        status, answer = hostile.call("POST", "/api/create", dict({"model": "hostile", "from": "smollm2", "stream": False},
                                                                  **more))
        if status == 200:
            status, answer = hostile.call("POST", "/api/generate", dict(generate(), model="hostile"))
            hostile.call("POST", "/api/generate", {"model": "hostile", "keep_alive": 0, "stream": False})
        assert status in (200, 400, 500, 501), (str(more)[:80], status, answer)
        assert status == 200 or answer["error"]
    hostile.call("DELETE", "/api/delete", {"model": "hostile"})
    wait_for(lambda: len(hostile.runners()) <= 1)


# ---- size ----

def test_prompt_of_100_mb(hostile):
    """Refused or cut down to the context, within a time and without memory that stays."""
    before = rss_mib(hostile.p.pid)
    slowest = 0

    def others():
        nonlocal slowest
        while not through.wait(0.1):
            t = time.time()
            assert hostile.call("POST", "/api/generate", SHORT)[0] == 200
            slowest = max(slowest, time.time() - t)
    through = threading.Event()
    thread = threading.Thread(target=others)
    thread.start()
    for body in (generate(prompt="word " * 20_000_000), generate(prompt="word " * 20_000_000, raw=True),
                 generate(prompt="x" * 100_000_000, raw=True), chat({"role": "user", "content": "x" * 100_000_000})):
        t = time.time()
        status, answer = hostile.call("POST", "/api/chat" if "messages" in body else "/api/generate", body, timeout=100)
        assert status in (200, 400, 413), (status, answer)
        print("%d after %.1f s: %s" % (status, time.time() - t, answer.get("error", "")))
    through.set()
    thread.join()
    print("a short request took up to %.1f s meanwhile" % slowest)
    assert hostile.call("POST", "/api/generate", SHORT)[0] == 200
    assert wait_for(lambda: rss_mib(hostile.p.pid) < before + 100), "%.0f MiB before, %.0f now" % (before,
                                                                                                   rss_mib(hostile.p.pid))
    print("the server holds %.0f MiB, %.0f before" % (rss_mib(hostile.p.pid), before))
    assert all(rss_mib(pid) < 2000 for pid in hostile.runners())


def test_body_larger_than_allowed(hostile):
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=20) as s:
        s.sendall(HEAD % (b"/api/generate", 10**15))
        assert b" 413 " in s.recv(4096)
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=20) as s:
        s.sendall(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(400):
                s.sendall(block)
        except OSError:
            pass
        else:
            assert b" 413 " in s.recv(4096)


# ---- connections ----

def test_client_that_closes_its_half(hostile):
    """A client that will send nothing more still wants its answer."""
    body = json.dumps(generate()).encode()
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=30) as s:
        s.sendall(HEAD % (b"/api/generate", len(body)) + body)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while d := s.recv(65536):
            got += d
    assert got.startswith(b"HTTP/1.1 200") or got == b"", got
    for part in (b"", b"POST /api/generate HT", HEAD % (b"/api/generate", 100), HEAD % (b"/api/generate", 100) + b"{"):
        with socket.create_connection(("127.0.0.1", hostile.port), timeout=30) as s:
            s.sendall(part)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass


def test_200_idle_connections(hostile):
    n_fd = hostile.n_fd()
    idle = [socket.create_connection(("127.0.0.1", hostile.port)) for _ in range(200)]
    slow = [socket.create_connection(("127.0.0.1", hostile.port)) for _ in range(50)]
    for round in range(5):  # heads that come in a byte at a time
        for i, s in enumerate(slow):
            s.sendall(b"POST /api/generate HTTP/1.1\r\n"[round * 5:round * 5 + 5])
        assert hostile.call("POST", "/api/generate", SHORT, timeout=30)[0] == 200
    [s.close() for s in idle + slow]
    assert wait_for(lambda: hostile.n_fd() <= n_fd + 2)


def test_bodies_that_never_come(hostile):
    """More of them than there are workers: none holds one."""
    waiting = [socket.create_connection(("127.0.0.1", hostile.port)) for _ in range(60)]
    for i, s in enumerate(waiting):
        path = b"/api/blobs/sha256:" + b"2" * 64 if i % 2 else b"/api/generate"
        s.sendall(HEAD % (path, 1000) + b"{")
    assert hostile.call("POST", "/api/generate", SHORT, timeout=30)[0] == 200
    [s.close() for s in waiting]
    assert not wait_for(lambda: not any("2" * 64 in f for _, _, fs in os.walk(hostile.dir) for f in fs)) is None


def test_reader_that_sleeps_gets_all(hostile):
    """More than the sockets and the server hold for it: the sequence waits for the reader and goes on."""
    body = {"model": "smollm2", "raw": True, "prompt": "1, 2, 3, 4, 5, 6, 7, 8,", "logprobs": True, "top_logprobs": 20,
            "options": {"temperature": 0, "num_predict": 600}}
    whole = hostile.call("POST", "/api/generate", dict(body, stream=False))[1]
    st = Stream(hostile, dict(body, stream=True))
    time.sleep(8)
    assert hostile.call("POST", "/api/generate", SHORT)[0] == 200
    text = st.read_until(b'"done":true', 60)
    st.close()
    parts = [json.loads(line) for line in text.split(b"\n") if line.startswith(b"{")]
    assert "".join(p["response"] for p in parts) == whole["response"] and parts[-1]["eval_count"] == whole["eval_count"]
    print("%d tokens, %d KiB" % (whole["eval_count"], len(text) >> 10))


def test_pipelined_requests(hostile):
    body = json.dumps(generate()).encode()
    one = HEAD % (b"/api/generate", len(body)) + body
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=30) as s:
        s.sendall(one * 5 + b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = b""
        while d := s.recv(65536):
            got += d
    assert got.count(b"HTTP/1.1 200") == 6 and got.count(b'"done":true') == 5


# ---- at the same time ----

def test_create_copy_delete_at_once(hostile):
    """Every answer is a plain yes or no, and the store is whole afterwards."""
    wrong = []

    def one(i):
        rng = random.Random(i)
        for _ in range(25):
            method, path, body = rng.choice([
                ("POST", "/api/create", {"model": "busy", "from": "smollm2", "system": "s%d" % i, "stream": False}),
                ("POST", "/api/copy", {"source": "busy", "destination": "busy2"}),
                ("POST", "/api/copy", {"source": "busy2", "destination": "busy"}),
                ("DELETE", "/api/delete", {"model": "busy"}), ("DELETE", "/api/delete", {"model": "busy2"}),
                ("POST", "/api/show", {"model": "busy"}),
                ("GET", "/api/tags", None)])
            status, answer = hostile.call(method, path, body)
            if status not in (200, 404):
                wrong.append((path, body, status, answer))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong, wrong[:5]
    for name in ("busy", "busy2"):
        hostile.call("DELETE", "/api/delete", {"model": name})
    assert not [m for m in hostile.call("GET", "/api/tags")[1]["models"] if m["name"].startswith("busy")]
    assert hostile.call("POST", "/api/show", {"model": "smollm2"})[0] == 200
    assert "system" not in hostile.call("POST", "/api/show", {"model": "smollm2"})[1]


def test_delete_while_it_answers(hostile):
    assert hostile.call("POST", "/api/create", {"model": "doomed", "from": "smollm2", "system": "Be brief.",
                                                "stream": False})[0] == 200
    st = Stream(hostile, {"model": "doomed", "prompt": "Write a very long story.", "stream": True,
                          "options": {"num_predict": 100}})
    st.read_until(b'"response"')
    assert hostile.call("DELETE", "/api/delete", {"model": "doomed"})[0] == 200
    assert b'"error"' not in st.read_until(b'"done":true', 60)
    st.close()
    fails(hostile.call("POST", "/api/generate", {"model": "doomed", "prompt": "x"}), 404)


def test_same_blob_at_once(hostile):
    content = os.urandom(3_000_000)
    path = os.path.join(hostile.dir, "blob")
    with open(path, "wb") as f:
        f.write(content)
    digest, got = digest_of(path), []
    os.unlink(path)
    threads = [threading.Thread(target=lambda: got.append(hostile.call("POST", "/api/blobs/" + digest,
                                                                       content)[0])) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(got) == 8 and set(got) <= {200, 201} and 201 in got
    assert hostile.call("HEAD", "/api/blobs/" + digest)[0] == 200
