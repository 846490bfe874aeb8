"""The programs of examples/ run as they stand."""
import json
import os
import subprocess
import sys
import time

import requests

from conftest import CRIA, ROOT, Server, free_port

LEGACY = os.environ.get("CRIA_TEST_LEGACY_PYTHON")  # an interpreter with openai 0.28


def run(server, name, python=sys.executable):
    path = os.path.join(ROOT, "examples", name)
    argv = [path] if name.endswith(".sh") else [python, path]
    r = subprocess.run(argv, env=dict(os.environ, CRIA_EXAMPLE_URL=server.url), capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout


def test_generate_sh(server):
    r = json.loads(run(server, "generate.sh"))
    assert r["done"] and r["response"] and r["model"] == "mistral" and r["eval_count"] <= 100


def test_generate_py(server):
    assert run(server, "generate.py").strip()


def test_openai_chat_sh(server):
    r = json.loads(run(server, "openai_chat.sh"))
    assert r["choices"][0]["message"]["content"] and r["usage"]["completion_tokens"] <= 100


def test_openai_legacy(server):
    assert LEGACY, "CRIA_TEST_LEGACY_PYTHON is not set: scripts/test makes an environment with openai 0.28"
    assert run(server, "openai_legacy.py", LEGACY).strip()


def test_openai_client(server):
    assert run(server, "openai_client.py").strip()


def test_ollama_client(server):
    assert run(server, "ollama_client.py").strip()


def test_flask_app(server):
    port = free_port()
    p = subprocess.Popen([sys.executable, os.path.join(ROOT, "examples", "flask_app.py")],
                         env=dict(os.environ, CRIA_EXAMPLE_URL=server.url, PORT=str(port)))
    try:
        for _ in range(100):
            try:
                r = requests.post("http://127.0.0.1:%d/ask" % port, json={"question": "What is the capital of France?"}, timeout=60)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        assert r.status_code == 200 and r.json()["answer"]
        assert requests.post("http://127.0.0.1:%d/ask" % port, json={}, timeout=60).status_code == 400
    finally:
        p.kill()
        p.wait()


def test_nohup_serve():
    """`nohup cria serve &> cria.log &` survives the shell that started it."""
    s = Server()
    log = os.path.join(s.dir, "nohup.log")
    subprocess.run(["bash", "-c", "nohup %s serve &> %s &" % (CRIA, log)], env=s.env, check=True, timeout=10)
    try:
        for _ in range(100):
            try:
                assert requests.get(s.url, timeout=2).text == "Ollama is running"
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        else:
            raise AssertionError(open(log).read())
    finally:
        for pid in os.listdir("/proc"):
            try:
                if pid.isdigit() and ("OLLAMA_HOST=127.0.0.1:%d" % s.port).encode() in open("/proc/%s/environ" % pid, "rb").read():
                    os.kill(int(pid), 15)
            except OSError:
                pass

