"""Recorded exchanges with Ollama, replayed: every case passes or stands in tests/replay.skip with its reason."""
import json
import os
import subprocess
import sys

import pytest

from conftest import GOLDEN, MODELS, ROOT, Server, need

TOPICS = ["http", "cors", "decode", "names", "generate", "chat", "exact", "embed", "models", "create", "transfer", "openai"]
REPLAY = os.path.join(GOLDEN, "..", "tools", "replay.py")


def skips():
    out = {}
    for line in open(os.path.join(ROOT, "tests", "replay.skip")):
        if line.strip() and not line.startswith("#"):
            case, reason = line.strip().split(None, 1)
            out[case] = reason
    return out


@pytest.fixture(scope="module")
def replay_server():
    if not os.path.exists(REPLAY):
        pytest.skip("no recordings beside the repository (%s)" % REPLAY)
    s = Server({"OLLAMA_CONTEXT_LENGTH": "4096", "OLLAMA_NO_CLOUD": "1"})
    s.start()
    for name, file in (("smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"), ("gemma3:270m", "gemma-3-270m-q4_k_m.gguf"),
                       ("all-minilm", "all-MiniLM-L6-v2.f16.gguf"), ("qwen2.5-coder:0.5b", "qwen2.5-coder-0.5b-instruct.gguf")):
        s.add_model(name, need(os.path.join(MODELS, file)))
    with open(os.path.join(GOLDEN, "ollama", "setup.json")) as f:
        made = [m["create"] for m in json.load(f) if "gguf" not in m]  # from the models above, with layers of their own
    for body in made:
        status, answer = s.call("POST", "/api/create", dict(body, stream=False))
        assert status == 200, answer
    yield s
    s.close()


@pytest.mark.parametrize("topic", TOPICS)
def test_replay(replay_server, topic):
    r = subprocess.run([sys.executable, REPLAY, "--base", replay_server.url, "--cases", os.path.join(GOLDEN, "ollama", topic + ".jsonl")],
                       capture_output=True, text=True, timeout=1200)
    failed = [l.split(":")[0].split(None, 1)[1] for l in r.stdout.splitlines() if l.startswith("FAIL ")]
    skip = skips()
    bad = [f for f in failed if f not in skip]
    stale = [c for c in skip if c.startswith(topic + "/") and c not in failed]
    assert not bad, r.stdout
    assert not stale, "these cases pass now; take them out of tests/replay.skip: %s" % stale
