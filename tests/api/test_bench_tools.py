"""The programs of bench/: their arithmetic, what they pick from outputs, and a short run of each."""
import importlib.machinery
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from conftest import CRIA, ROOT, need, SMOLLM2


def tool(name):
    path = os.path.join(ROOT, "bench", name)
    loader = importlib.machinery.SourceFileLoader(name.replace(".py", "_tool"), path)
    sys.dont_write_bytecode = True
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


load, compare, make_gguf = tool("load"), tool("compare"), tool("make_random_gguf.py")


# ---- load ----

def test_percentile():
    assert load.percentile([], 50) is None
    assert load.percentile([7], 99) == 7
    assert load.percentile([4, 1, 3, 2], 50) == 2.5
    assert load.percentile(range(101), 99) == 99
    assert load.percentile([1, 2], 100) == 2 and load.percentile([1, 2], 0) == 1


def test_load_args():
    a = load.parse_args(["--model", "m", "--streams", "3", "--option", "num_ctx=4096", "--option", "stop=x"])
    assert a.requests == 12 and a.option == {"num_ctx": 4096, "stop": "x"}
    for bad in (["--model", "m", "--streams", "0"], ["--model", "m", "--url", "https://x"], ["--model", "m", "--option", "x"], []):
        with pytest.raises(SystemExit):
            load.parse_args(bad)


@pytest.mark.parametrize("line,n", [
    (b'{"message":{"role":"assistant","content":"a"},"done":false}', 1), (b'{"message":{"content":""},"done":true}', 0),
    (b'data: {"choices":[{"delta":{"role":"assistant","content":null}}]}', 0), (b'data: {"choices":[{"delta": {"content": "x"}}]}', 1),
    (b'data: {"choices":[{"delta":{"reasoning_content":"x"}}]}', 1), (b'data: [DONE]', 0)])
def test_pieces(line, n):
    assert len(load.PIECE.findall(line)) == n


def test_counts():
    text = b'{"done":false}\r\n\r\n3f\r\n{"done":true,"prompt_eval_count":5,"eval_count":7}\n'
    assert load.last_counts(text, load.ollama_counts) == (5, None, 7)
    text = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}\n\ndata: [DONE]\n'
    assert load.last_counts(text, load.openai_counts) == (9, 4, 2)
    assert load.last_counts(b"nothing", load.openai_counts) is None
    with pytest.raises(ValueError, match="no such model"):
        load.last_counts(b'{"error":"no such model"}', load.ollama_counts)


class Scripted:
    """A server that answers each connection with the next list of pieces, one write each."""

    def __init__(self, answers):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, args=(answers,), daemon=True).start()

    def serve(self, answers):
        for pieces in answers:
            c = self.listener.accept()[0]
            head = b""
            while b"\r\n\r\n" not in head:
                head += c.recv(65536)
            for p in pieces:
                c.sendall(p)
            c.close()
        self.listener.close()


OK = b"HTTP/1.1 200 OK\r\n\r\n"
END = b'{"done":true,"prompt_eval_count":3,"eval_count":2}\n'


def run_load(*args):
    r = subprocess.run([os.path.join(ROOT, "bench", "load"), "--json"] + list(args), capture_output=True, text=True, timeout=300)
    return r.returncode, json.loads(r.stdout) if r.stdout else r.stderr


def test_load_counts_errors():
    good = [OK, b'{"message":{"con', b'tent":"a"}}\n{"message":{"content":"b"}}\n', END]
    s = Scripted([good, good, [b"HTTP/1.1 503 Busy\r\n\r\n", b'{"error":"queue is full"}'], [OK, b'{"message":{"content":"a"}}\n'], good])
    code, r = run_load("--url", s.url, "--model", "m", "--streams", "1", "--requests", "4")
    assert code == 1 and r["requests"] == 2 and r["generated"] == 4 and r["prompt_tokens"] == 6
    assert r["inter_token_ms"]["n"] == 2 and r["ttft_ms"]["n"] == 2
    assert len(r["errors"]) == 2 and "queue is full" in r["errors"][0] and "breaks off" in r["errors"][1]


def test_load_no_server():
    code, text = run_load("--url", "http://127.0.0.1:1", "--model", "m")
    assert code == 1 and "127.0.0.1:1" in text


@pytest.mark.parametrize("api", ["ollama", "openai"])
def test_load_run(server, api):
    code, r = run_load("--url", server.url, "--api", api, "--model", "smollm2", "--streams", "4", "--requests", "6", "--tokens", "8",
                       "--shared-prefix", "60", "--disturb", "100", "--disturb-after", "0")
    assert code == 0 and r["errors"] == [] and r["requests"] == 6
    assert 6 <= r["generated"] <= 48 and r["prompt_tokens"] > 6 * 60 and r["tokens_s"] > 0
    assert r["disturbed"]["prompt_tokens"] > 100 and r["ttft_ms"]["p50"] <= r["ttft_ms"]["p99"]


# ---- compare ----

def test_pick():
    assert compare.pick("re:speed ([0-9.]+)", "speed 1.5\nspeed 2.5\n") == 2.5
    assert compare.pick("re:x=(\\d+)", "", "x=3") == 3
    assert compare.pick("json:a.1.b", '{"a": [0, {"b": 4}]}') == 4
    assert compare.pick("json:v", 'log\n{"v": 1}\n{"v": 2}\n') == 2
    assert compare.pick(compare.BATCH_ROW, "|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |\n"
                        "|-------|\n|    16 |     64 |    8 |    640 |    0.100 |  1280.00 |    2.000 |   256.50 |    2.100 |   304.76 |\n") == 256.5
    for spec, text in (("re:(x)", "y"), ("json:a.b", '{"a": 1}'), ("json:a", "no"), ("json:a", '{"a": "word"}')):
        with pytest.raises(ValueError):
            compare.pick(spec, text)


def test_compare_args():
    a = compare.parse_args(["--model", "m", "--figure", "decode:8", "--figure", "prefill:512", "--bin", "/x y"])
    assert a.figure == [("decode", 8), ("prefill", 512)] and a.bin == "'/x y/'"
    for bad in ([], ["--model", "m"], ["--model", "m", "--figure", "decode"], ["--ours", "x"], ["--model", "m", "--figure", "other:1"]):
        with pytest.raises(SystemExit):
            compare.parse_args(bad)


def test_compare_commands():
    a = compare.parse_args(["--model", "m.gguf", "--figure", "decode:8", "--threads", "2", "--gen", "32"])
    for program, figures in compare.PROGRAMS.items():
        for f in figures:
            assert "m.gguf" in compare.side(program, f, 8, a).command
    assert "-c 448 " in compare.side("llama.cpp", "decode", 8, a).command


def test_compare_in_turn(tmp_path):
    trace = tmp_path / "trace"
    command = "sh -c 'echo %s >> {0}; echo {{\\\"v\\\": %d}}'".format(trace)
    r = subprocess.run([os.path.join(ROOT, "bench", "compare"), "--ours", command % ("a", 30), "--theirs", command % ("b", 10),
                        "--ours-value", "json:v", "--theirs-value", "re:([0-9]+)", "--rounds", "3", "--json"],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    out = json.loads(r.stdout)[0]
    assert out["ratio"] == 3 and out["ours"] == [30, 30, 30] and trace.read_text().split() == list("abbaab")
    r = subprocess.run([os.path.join(ROOT, "bench", "compare"), "--ours", "false", "--theirs", "true", "--ours-value", "json:v",
                        "--theirs-value", "json:v"], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and "exit status 1" in r.stderr


# ---- random models ----

def test_vocabulary():
    for name in ("smollm2-135m", "llama-1b"):
        s = make_gguf.SHAPES[name]
        tokens, kinds, merges, first = make_gguf.vocabulary(s["vocab"], s["merges"], make_gguf.random.Random(1))
        assert len(tokens) == len(kinds) == s["vocab"] == len(set(tokens)) and kinds.count(3) == s["vocab"] - first
        assert len(merges) == len(set(merges))
        known = set(tokens)
        assert all(set(m.split(" ")) <= known and m.replace(" ", "") in known for m in merges)


def test_more_bits():
    assert [i for i in range(16) if make_gguf.more_bits(i, 16)] == [0, 1, 4, 7, 10, 13, 14, 15]


@pytest.mark.parametrize("mix", sorted(make_gguf.MIXES))
def test_random_model_runs(tmp_path, mix):
    path = str(tmp_path / "m.gguf")
    make_gguf.SHAPES["test"] = dict(make_gguf.SHAPES["smollm2-135m"], layers=2, d=256, ff=512, heads=4, kv=2)
    try:
        assert make_gguf.main(["--shape", "test", "--type", mix, path]) == 0
    finally:
        del make_gguf.SHAPES["test"]
    ask = '{"op": "logits", "ids": [300, 301, 302]}\n{"op": "tokenize", "text": "the house"}\n'
    r = subprocess.run([CRIA, "probe", "--model", path], input=ask, capture_output=True, text=True, timeout=60)
    logits, tokens = map(json.loads, r.stdout.splitlines())
    assert all(0 < abs(row[1]) < 100 for row in logits["top"]) and 2 <= len(tokens["ids"]) <= 5


# ---- cria bench ----

def bench(*args):
    return subprocess.run([CRIA, "bench", need(SMOLLM2)] + list(args), capture_output=True, text=True, timeout=300)


def test_bench_json():
    r = bench("--prompt", "32,48", "--gen", "4", "--batch", "1,3", "--depth", "0,40", "--threads", "1,2", "--repeat", "2", "--json")
    assert r.returncode == 0, r.stderr
    d = json.loads(r.stdout)
    assert [run["threads"] for run in d["runs"]] == [1, 2]
    for run in d["runs"]:
        assert run["read_bytes_s"] > 1e8 and run["weight_bytes"] > 8e7
        assert [(x["test"], x["n_tok"], x["streams"], x["depth"]) for x in run["results"]] == [
            ("prefill", 32, 1, 0), ("prefill", 48, 1, 0), ("decode", 4, 1, 0), ("decode", 4, 3, 0), ("decode", 4, 1, 40), ("decode", 4, 3, 40),
            ("copy", 4, 1, 0)]
        for x in run["results"]:
            assert len(x["values"]) == 2 and 0 < x["min"] <= x["mean"] <= x["max"] and x["sd"] >= 0
            assert ("read_share" in x) == (x["test"] == "decode")


def test_bench_table(server):
    r = server.cli("bench", "--repeat", "1", "smollm2", "--prompt", "32", "--gen", "4", "--batch", "2")
    assert r.returncode == 0, r.stderr
    assert "limits: reads " in r.stdout and "prefill 32" in r.stdout and "decode 4, 2 streams" in r.stdout


@pytest.mark.parametrize("args", [["--gen", "1,2"], ["--batch", "0"], ["--batch", "1,"], ["--prompt"], ["--nonsense", "1"], ["--threads", "x"]])
def test_bench_usage(args):
    r = bench(*args)
    assert r.returncode == 2 and r.stderr.startswith("usage: cria bench MODEL")


def test_bench_errors(server):
    r = server.cli("bench", "no-such-model")
    assert r.returncode == 1 and "no-such-model cannot be opened" in r.stderr
    if "all-minilm" in server.cli("list").stdout:
        r = server.cli("bench", "all-minilm")
        assert r.returncode == 1 and "embedding model" in r.stderr
