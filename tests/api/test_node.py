"""The JavaScript clients ollama and openai, driven by clients/node/drive.mjs."""
import json
import os
import shutil
import subprocess

import pytest

from conftest import ROOT, SMOLLM2, digest_of

SOURCE = os.path.join(ROOT, "tests", "api", "clients", "node")
NODE_DIR = os.environ.get("CRIA_TEST_NODE_DIR", os.path.join(ROOT, "build", "node"))


@pytest.fixture(scope="module")
def saw(server):
    """What the program saw, by action. Its packages are installed once, below build/."""
    if not shutil.which("node"):
        pytest.skip("no node on this machine (scripts/test installs it)")
    os.makedirs(NODE_DIR, exist_ok=True)
    for name in ("package.json", "drive.mjs"):
        shutil.copy(os.path.join(SOURCE, name), NODE_DIR)
    with open(os.path.join(SOURCE, "package.json")) as f:
        wanted = json.load(f)["dependencies"]
    if not all(version_of(name) == version for name, version in wanted.items()):
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], cwd=NODE_DIR, check=True,
                       timeout=300)
    r = subprocess.run(["node", "drive.mjs", server.url, digest_of(SMOLLM2)], cwd=NODE_DIR, capture_output=True, text=True,
                       timeout=300)
    assert r.returncode == 0, r.stderr
    print(r.stderr)
    return json.loads(r.stdout)


def version_of(package):
    try:
        with open(os.path.join(NODE_DIR, "node_modules", package, "package.json")) as f:
            return json.load(f)["version"]
    except OSError:
        return None


def test_no_action_failed(saw):
    assert not {name: v for name, v in saw.items() if name != "chat_json" and isinstance(v, dict) and "failed" in v}


def test_generate(saw):
    whole, parts = saw["generate"], saw["generate_stream"]
    assert "Paris" in whole["response"] and whole["done"] and len(whole["context"]) > 10
    assert 0 < whole["eval_count"] <= 12 and whole["total_duration"] > 0
    assert "".join(p["response"] for p in parts) == whole["response"]
    assert [p["done"] for p in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1]["context"] == whole["context"]


def test_chat(saw):
    whole, parts = saw["chat"], saw["chat_stream"]
    assert "Paris" in whole["message"]["content"] and whole["message"]["role"] == "assistant"
    assert "".join(p["message"]["content"] for p in parts) == whole["message"]["content"]


def test_format(saw):
    assert list(saw["chat_json"]) == ["city"]


def test_embed(saw):
    assert saw["embed"] == [384, 384] and saw["embeddings"] == 384


def test_list_show_ps(saw):
    assert {"smollm2:latest", "all-minilm:latest"} <= set(saw["list"])
    assert saw["show"] == {"family": "llama", "capabilities": ["completion"], "arch": "llama"}
    assert any(name.startswith(("smollm2", "mistral")) for name in saw["ps"])
    assert saw["version"]["version"]


def test_create_copy_delete(saw):
    assert saw["create"][-1] == "success" and saw["create_from"] == "success"
    assert saw["copy"] == "success" and saw["delete"] == ["success"] * 3
    assert sorted(saw["show_copy"].split()) == sorted(["temperature", "0.5", "stop", '"x"'])
    assert saw["show_deleted"]["status"] == 404


def test_errors(saw):
    assert saw["unknown_model"]["status"] == 404 and "not found" in saw["unknown_model"]["message"]
    assert saw["generate_image"]["status"] == 400
    assert saw["openai_unknown_model"]["name"] == "NotFoundError"


def test_aborts(saw):
    assert saw["abort_stream"]["n"] == 3 and saw["abort_stream"]["error"]["name"] in ("AbortError", "DOMException")
    assert saw["abort_all"] == [saw["abort_stream"]["error"]["name"]] * 3
    assert saw["abort_fetch"]["name"] == "DOMException"
    assert saw["openai_abort"]["n"] == 3
    assert saw["unload"] == "unload"
    assert saw["generate_after"]["done"]


def test_openai(saw):
    whole, chunks = saw["openai_chat"], saw["openai_stream"]
    text = whole["choices"][0]["message"]["content"]
    assert "Paris" in text and whole["usage"]["completion_tokens"] <= 12
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]) == text
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] > 0
    assert saw["openai_stream_helper"]["message"]["content"] == text
    assert saw["openai_completion"]["choices"][0]["text"] and saw["openai_completion"]["object"] == "text_completion"
    assert saw["openai_embeddings"] == [[0, 384], [1, 384]]
    assert "smollm2:latest" in saw["openai_models"]
