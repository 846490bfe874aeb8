"""The command line against a running server."""
import re
import subprocess

from conftest import CRIA, SMOLLM2


def test_list_and_prefix(server):
    r = server.cli("list")
    assert r.returncode == 0 and re.match(r"NAME +ID +SIZE +MODIFIED +\n", r.stdout)
    assert re.search(r"^smollm2:latest +[0-9a-f]{12} +98 MB +\S.* ago", r.stdout, re.M)
    assert "smollm2" in server.cli("ls", "SMOL").stdout
    assert server.cli("list", "zzz").stdout == "NAME    ID    SIZE    MODIFIED \n"


def test_run_from_words_and_stdin(server):
    server.call("POST", "/api/create", {"model": "sober", "from": "smollm2", "parameters": {"temperature": 0, "num_predict": 16},
                                        "stream": False})
    assert "Paris" in server.cli("run", "sober", "What is the capital of France?").stdout
    r = server.cli("run", "sober", stdin="What is the capital of France?\n")
    assert r.returncode == 0 and r.stdout.endswith("\n\n") and "\x1b" not in r.stdout + r.stderr
    assert server.cli("run", "smollm2", stdin="").stdout == ""


def test_run_verbose(server):
    server.call("POST", "/api/create", {"model": "brief", "from": "smollm2", "parameters": {"num_predict": 8}, "stream": False})
    r = server.cli("run", "brief", "--verbose", "Say hi")
    for row in ("total duration:", "prompt eval count:", "eval rate:"):
        assert row in r.stderr


def test_run_embedding_model(server):
    r = server.cli("run", "all-minilm", "--dimensions", "4", "hello")
    assert re.match(r"\[-?0\.\d+(,-?0\.\d+){3}\]\n$", r.stdout), r.stdout
    assert "require input text" in server.cli("run", "all-minilm").stderr


def test_show(server):
    r = server.cli("show", "smollm2")
    for row in ("  Model\n", "    architecture        llama      \n", "    parameters          134.52M    \n",
                "    quantization        Q4_1       \n", "  Capabilities\n"):
        assert row in r.stdout, r.stdout
    assert "FROM /" in server.cli("show", "smollm2", "--modelfile").stdout
    assert "only one of" in server.cli("show", "smollm2", "--template", "--system").stderr


def test_create_cp_rm(server, tmp_path):
    (tmp_path / "Modelfile").write_text("FROM %s\nSYSTEM You are a pirate.\nPARAMETER temperature 0.2\n" % SMOLLM2)
    r = server.cli("create", "pirate", "-f", str(tmp_path / "Modelfile"))
    assert r.returncode == 0 and r.stderr.endswith("success\n"), r.stderr
    assert server.cli("show", "pirate", "--system").stdout == "You are a pirate."
    assert server.cli("cp", "pirate", "pirate2").stdout == "copied 'pirate' to 'pirate2'\n"
    assert server.cli("rm", "pirate", "pirate2").stdout == "deleted 'pirate'\ndeleted 'pirate2'\n"
    r = server.cli("rm", "pirate")
    assert r.returncode == 1 and r.stderr == "Error: model 'pirate' not found\n"


def test_ps_and_stop(server):
    server.call("POST", "/api/generate", {"model": "smollm2", "prompt": "hi", "options": {"num_predict": 1}})
    out = server.cli("ps").stdout
    assert re.search(r"^(smollm2|mistral):latest +[0-9a-f]{12} +\d+ MB +100% CPU +\d+ +\d+ minutes from now", out, re.M), out
    assert server.cli("stop", "smollm2").returncode == 0
    assert server.cli("stop", "nope").stderr == "Error: couldn't find model \"nope\" to stop\n"


def test_errors(server):
    for args, text in ((["nonsense"], 'unknown command "nonsense"'), (["run"], "requires at least 1 arg(s), only received 0"),
                       (["cp", "x"], "accepts 2 arg(s), received 1"), (["list", "--nonsense"], "unknown flag: --nonsense"),
                       (["show", "nope"], "model 'nope:latest' not found")):
        r = server.cli(*args)
        assert r.returncode == 1 and text in r.stderr, r.stderr


def test_no_server():
    env = {"OLLAMA_HOST": "127.0.0.1:1", "PATH": "/usr/bin:/bin"}
    r = subprocess.run([CRIA, "list"], env=env, capture_output=True, text=True)
    assert r.returncode == 1 and "cria serve" in r.stderr
    r = subprocess.run([CRIA, "--version"], env=env, capture_output=True, text=True)
    assert r.returncode == 0 and "client version" in r.stdout
