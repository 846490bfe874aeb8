"""Ollama's own Go package, driven by clients/go/main.go."""
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, SMOLLM2

SOURCE = os.path.join(ROOT, "tests", "api", "clients", "go")
GO = shutil.which(os.environ.get("CRIA_TEST_GO", "go"))
GO_DIR = os.environ.get("CRIA_TEST_GO_DIR", os.path.join(ROOT, "build", "go"))


def too_old():
    """Why this machine's Go cannot build the program, or None."""
    with open(os.path.join(SOURCE, "go.mod")) as f:
        wanted = re.search(r"^go (\d+)\.(\d+)", f.read(), re.M)
    if not GO:
        return "no go on this machine; CRIA_TEST_GO names one"
    version = subprocess.run([GO, "version"], capture_output=True, text=True, check=True).stdout
    has = re.search(r"go(\d+)\.(\d+)", version)
    if tuple(map(int, has.groups())) < tuple(map(int, wanted.groups())):
        return "%s is %s, and Ollama's package api needs at least %s; CRIA_TEST_GO names another" % (GO, has[0], wanted[0])
    return None


@pytest.fixture(scope="module")
def saw(server):
    """What the program saw, by action. Modules and objects are kept below build/."""
    why = too_old()
    if why:
        pytest.skip(why)
    os.makedirs(GO_DIR, exist_ok=True)
    env = dict(os.environ, GOPATH=os.path.join(GO_DIR, "path"), GOCACHE=os.path.join(GO_DIR, "cache"), CGO_ENABLED="0",
               GOFLAGS="-modcacherw -mod=readonly -buildvcs=false", GOTOOLCHAIN="local")
    drive = os.path.join(GO_DIR, "drive")
    subprocess.run([GO, "build", "-o", drive, "."], cwd=SOURCE, env=env, check=True, timeout=600)
    r = subprocess.run([drive, server.url, SMOLLM2], env=dict(env, HOME=GO_DIR), capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    print(r.stderr)
    return json.loads(r.stdout)


def test_no_action_failed(saw):
    assert not {name: v for name, v in saw.items() if name != "format" and isinstance(v, dict) and "failed" in v}


def test_generate(saw):
    [whole], parts = saw["generate"], saw["generate_stream"]
    assert "Paris" in whole["response"] and whole["done"] and len(whole["context"]) > 10
    assert 0 < whole["eval_count"] <= 12 and whole["total_duration"] > 0
    assert len(parts) > 3, "the package leaves `stream` out and asks for application/x-ndjson"
    assert "".join(p["response"] for p in parts) == whole["response"]
    assert [p["done"] for p in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1]["context"] == whole["context"]


def test_chat(saw):
    [whole], parts = saw["chat"], saw["chat_stream"]
    assert "Paris" in whole["message"]["content"] and whole["message"]["role"] == "assistant"
    assert "".join(p["message"]["content"] for p in parts) == whole["message"]["content"]


def test_format(saw):
    assert list(saw["format"]) == ["city"]


def test_embed(saw):
    assert [len(e) for e in saw["embed"]["embeddings"]] == [384, 384] and saw["embeddings"] == 384


def test_list_show_ps(saw):
    assert saw["heartbeat"] and saw["version"]
    models = {m["name"]: m for m in saw["list"]["models"]}
    assert {"smollm2:latest", "all-minilm:latest"} <= set(models)
    assert models["smollm2:latest"]["size"] > 90_000_000 and not models["smollm2:latest"]["modified_at"].startswith("0001")
    assert saw["show"]["details"]["family"] == "llama" and "completion" in saw["show"]["capabilities"]
    assert not saw["show"]["modified_at"].startswith("0001") and saw["show_verbose"] > 100
    running = saw["ps"]["models"]
    assert any(m["name"].startswith(("smollm2", "mistral")) and not m["expires_at"].startswith("0001") for m in running)


def test_create_copy_delete(saw):
    assert saw["create"][-1] == "success" and saw["create_from"][-1] == "success"
    assert saw["copy"] and saw["delete"]
    assert sorted(saw["show_copy"]["parameters"].split()) == sorted(["temperature", "0.5", "stop", '"x"'])
    assert saw["show_copy"]["system"] == "Be brief."
    assert saw["show_deleted"]["status"] == 404


def test_errors(saw):
    assert saw["unknown_model"]["status"] == 404 and "not found" in saw["unknown_model"]["error"]


def test_aborts(saw):
    assert saw["abort_own"]["n"] == 3 and saw["abort_own"]["own"]
    # The package returns no error then, and hands over the lines that had arrived already.
    assert 3 <= saw["abort_cancel"]["n"] <= 10
    assert saw["abort_waiting"] is True
    assert saw["unload"] == "unload"
    assert saw["generate_after"][0]["response"] == saw["generate"][0]["response"]
