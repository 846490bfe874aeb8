"""Models made by the server: weights in another type, parts merged, safetensors folders."""
import json
import os
import socket
import time
import urllib.request

import pytest

from conftest import MINILM, SMOLLM2, digest_of, need


def upload(server, path):
    digest = digest_of(path)
    with open(path, "rb") as f:
        r = urllib.request.Request(server.url + "/api/blobs/" + digest, data=f, method="POST",
                                   headers={"Content-Length": str(os.path.getsize(path))})
        assert urllib.request.urlopen(r, timeout=120).status in (200, 201)
    return digest


def create(server, **body):
    """The status lines of a creation."""
    r = urllib.request.Request(server.url + "/api/create", data=json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(r, timeout=300) as f:
        return [json.loads(line) for line in f]


def level(server, name):
    return server.call("POST", "/api/show", {"model": name})[1]["details"]["quantization_level"]


def test_quantize(server):
    lines = create(server, model="mini-q8", **{"from": "all-minilm"}, quantize="q8_0")
    assert lines[-1] == {"status": "success"}, lines
    work = [l for l in lines if l["status"] == "quantizing F16 model to Q8_0"]
    assert work and work[-1]["completed"] == work[-1]["total"] and work[-1]["digest"] == "0000000000000000000"
    assert level(server, "mini-q8") == "Q8_0" and level(server, "all-minilm") == "F16"
    vectors = [server.call("POST", "/api/embed", {"model": m, "input": "rain on the roof"})[1]["embeddings"][0]
               for m in ("all-minilm", "mini-q8")]
    assert sum(a * b for a, b in zip(*vectors)) > 0.995


def test_requantize_runs(server):
    assert create(server, model="small", **{"from": "smollm2"}, quantize="Q4_K")[-1] == {"status": "success"}
    assert level(server, "small") == "Q4_K_M"
    status, r = server.call("POST", "/api/generate", {"model": "small", "prompt": "The capital of France is", "raw": True, "stream": False,
                                                      "options": {"num_predict": 6, "temperature": 0}})
    assert status == 200 and "Paris" in r["response"]


@pytest.mark.parametrize("body, word", [({"from": "all-minilm", "quantize": "q9_k"}, "supported types are F32"),
                                        ({"files": {}, "quantize": "q8_0"}, "unknown type")])
def test_refused(server, body, word):
    status, r = server.call("POST", "/api/create", dict(body, model="no", stream=False))
    assert status in (400, 500) and word in r["error"]


def test_client_leaves(server):
    """Nobody waits for the model any more: the work ends, and nothing stays behind."""
    body = json.dumps({"model": "unwanted", "from": "smollm2", "quantize": "q6_k"}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.sendall(b"POST /api/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        seen = b""
        while b"quantizing" not in seen:
            got = s.recv(65536)
            assert got, seen
            seen += got
    for _ in range(200):
        if not any(" convert" in line for _, line in server.children()):
            break
        time.sleep(0.05)
    else:
        raise AssertionError(server.children())
    time.sleep(0.2)
    blobs = os.path.join(server.dir, "models", "blobs")
    assert not [f for f in os.listdir(blobs) if f.startswith(".cria-tmp")]
    assert server.call("GET", "/readyz")[0] == 200


def split_gguf(path, folder, n):
    """The file in n parts, written byte by byte: what llama.cpp's splitter makes."""
    import gguf
    reader = gguf.GGUFReader(path)
    tensors = reader.tensors
    names = []
    for i in range(n):
        names.append("mini-%05d-of-%05d.gguf" % (i + 1, n))
        w = gguf.GGUFWriter(os.path.join(folder, names[-1]), "bert")
        if i == 0:
            for field in reader.fields.values():
                if field.name.startswith("GGUF.") or field.name == "general.architecture":
                    continue
                kind = field.types[0]
                w.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
        w.add_uint16("split.no", i)
        w.add_uint16("split.count", n)
        w.add_int32("split.tensors.count", len(tensors))
        for t in tensors[i * len(tensors) // n:(i + 1) * len(tensors) // n]:
            w.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
    return names


def test_split(server, tmp_path):
    names = split_gguf(need(MINILM), str(tmp_path), 3)
    files = {n: upload(server, str(tmp_path / n)) for n in names}
    assert create(server, model="parts", files=files)[-1] == {"status": "success"}
    vectors = [server.call("POST", "/api/embed", {"model": m, "input": "one"})[1]["embeddings"][0] for m in ("all-minilm", "parts")]
    assert vectors[0] == vectors[1]
    del files[names[1]]
    assert "split into 3 files" in create(server, model="parts2", files=files)[-1]["error"]
