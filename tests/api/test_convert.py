"""Safetensors folders: tiny random models in Hugging Face's layout, converted, compared with what was written, and run beside
the same arithmetic in numpy."""
import json
import os
import struct
import subprocess

import pytest

from conftest import CRIA

np = pytest.importorskip("numpy")
save_file = pytest.importorskip("safetensors.numpy").save_file
gguf = pytest.importorskip("gguf")

EMBD, HEADS, KV, DIM, FF, LAYERS = 64, 4, 2, 16, 96, 2


# ---- folders ----

def byte_chars():
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}


def bpe_tokenizer(pre):
    vocab = {c: i for i, c in enumerate(byte_chars().values())}
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["\u0120", "w"]]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    n = len(vocab)
    added = [{"id": n, "content": "<|start|>", "special": True}, {"id": n + 1, "content": "<|end|>", "special": True},
             {"id": n + 2, "content": "<tool>", "special": False}]
    return {"model": {"type": "BPE", "vocab": vocab, "merges": [" ".join(m) for m in merges] if pre else merges, "byte_fallback": False},
            "added_tokens": added,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": ([{"type": "Split", "pattern": {"Regex": pre}}] if pre else
                              [{"type": "Digits", "individual_digits": True}]) + [{"type": "ByteLevel", "add_prefix_space": False}]}}


def spm_tokenizer():
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for b in range(256):
        vocab["<0x%02X>" % b] = len(vocab)
    merges = [["h", "e"], ["l", "l"], ["\u2581", "he"], ["\u2581he", "ll"]]
    for s in ["\u2581", "h", "e", "l", "o"] + [a + b for a, b in merges]:
        vocab.setdefault(s, len(vocab))
    return {"model": {"type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": True, "unk_token": "<unk>"},
            "added_tokens": [{"id": 0, "content": "<unk>", "special": True}, {"id": 1, "content": "<s>", "special": True},
                             {"id": 2, "content": "</s>", "special": True}],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}]},
            "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}}


def wordpiece_tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rain", "##s", "snow", "."]
    return {"model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {w: i for i, w in enumerate(words)}},
            "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
            "added_tokens": [{"id": i, "content": w, "special": True} for i, w in enumerate(words[:5])]}


QWEN_PRE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def decoder(arch, n_vocab, bias=False, qk_norm=False, post=False, tied=False, fused=False):
    r = np.random.default_rng(7)
    w = lambda *shape: (r.standard_normal(shape) * 0.08).astype(np.float32)
    norm = lambda n: (r.standard_normal(n) * 0.1 + (0 if post else 1)).astype(np.float32)
    t = {"model.embed_tokens.weight": w(n_vocab, EMBD), "model.norm.weight": norm(EMBD)}
    if not tied:
        t["lm_head.weight"] = w(n_vocab, EMBD)
    for i in range(LAYERS):
        p = "model.layers.%d." % i
        sizes = {"q": HEADS * DIM, "k": KV * DIM, "v": KV * DIM}
        for n, rows in sizes.items():
            t[p + "self_attn.%s_proj.weight" % n] = w(rows, EMBD)
            if bias:
                t[p + "self_attn.%s_proj.bias" % n] = w(rows)
        if qk_norm:
            t[p + "self_attn.q_norm.weight"], t[p + "self_attn.k_norm.weight"] = norm(DIM), norm(DIM)
        t[p + "self_attn.o_proj.weight"] = w(EMBD, HEADS * DIM)
        t[p + "mlp.gate_proj.weight"], t[p + "mlp.up_proj.weight"], t[p + "mlp.down_proj.weight"] = w(FF, EMBD), w(FF, EMBD), w(EMBD, FF)
        for n in ["input_layernorm", "post_attention_layernorm"] + (["pre_feedforward_layernorm", "post_feedforward_layernorm"] if post else []):
            t[p + n + ".weight"] = norm(EMBD)
        if fused:
            t[p + "self_attn.qkv_proj.weight"] = np.concatenate([t.pop(p + "self_attn.%s_proj.weight" % n) for n in "qkv"])
            t[p + "mlp.gate_up_proj.weight"] = np.concatenate([t.pop(p + "mlp.%s_proj.weight" % n) for n in ("gate", "up")])
    config = {"architectures": [arch], "hidden_size": EMBD, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
              "num_key_value_heads": KV, "head_dim": DIM, "intermediate_size": FF, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
              "rope_theta": 10000.0, "vocab_size": n_vocab, "tie_word_embeddings": tied}
    return config, t


def write_folder(path, config, tensors, tokenizer, tokenizer_config, parts=1):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    names = sorted(tensors)
    files = ["model.safetensors"] if parts == 1 else ["model-%05d-of-%05d.safetensors" % (i + 1, parts) for i in range(parts)]
    for i, f in enumerate(files):
        save_file({n: np.ascontiguousarray(tensors[n]) for n in names[i::parts]}, str(path / f))
    if parts > 1:
        index = {"weight_map": {n: files[i % parts] for i, n in enumerate(names)}}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))


def convert(folder, out, *flags, ok=True):
    files = sorted(str(f) for f in folder.iterdir())
    r = subprocess.run([CRIA, "convert", *flags, "--out", str(out), *files], capture_output=True, text=True, timeout=60)
    last = json.loads(r.stdout.splitlines()[-1])
    assert (r.returncode == 0) == ok and last.get("ok", False) == ok, last
    return last if not ok else gguf.GGUFReader(str(out))


def probe(path, *requests):
    env = dict(os.environ, CRIA_KERNELS="ref")
    r = subprocess.run([CRIA, "probe", "--model", str(path)], env=env, input="".join(json.dumps(q) + "\n" for q in requests),
                       capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in r.stdout.splitlines()]


def values(reader, name):
    t = next(t for t in reader.tensors if t.name == name)
    return gguf.dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])


def f16(x):
    return x.astype(np.float16).astype(np.float32)


# ---- the arithmetic ----

def rms(x, w, eps=1e-5):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def rope(x, base, divide=1.0):
    """x: [pos, head, dim]; halves rotate against each other, as in Hugging Face's code."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half) / divide
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * c - b * s, a * s + b * c], -1)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x ** 3)))


def forward(config, t, ids, gemma=False, divide=1.0):
    w = lambda n: f16(t[n]).astype(np.float64) if t[n].ndim > 1 else t[n].astype(np.float64) + (1 if gemma and n.endswith("norm.weight") else 0)
    has = lambda n: n in t
    x = w("model.embed_tokens.weight")[ids] * (np.sqrt(EMBD) if gemma else 1)
    n = len(ids)
    mask = np.where(np.tril(np.ones((n, n))) > 0, 0, -np.inf)
    for i in range(LAYERS):
        p = "model.layers.%d." % i
        h = rms(x, w(p + "input_layernorm.weight"))
        q, k, v = (h @ w(p + "self_attn.%s_proj.weight" % m).T + (w(p + "self_attn.%s_proj.bias" % m) if has(p + "self_attn.%s_proj.bias" % m) else 0)
                   for m in "qkv")
        q, k, v = q.reshape(n, HEADS, DIM), k.reshape(n, KV, DIM), v.reshape(n, KV, DIM)
        if has(p + "self_attn.q_norm.weight"):
            q, k = rms(q, w(p + "self_attn.q_norm.weight")), rms(k, w(p + "self_attn.k_norm.weight"))
        q, k = rope(q, 10000.0, divide), rope(k, 10000.0, divide)
        k, v = np.repeat(k, HEADS // KV, 1), np.repeat(v, HEADS // KV, 1)
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(DIM) + mask
        s = np.exp(s - s.max(-1, keepdims=True))
        h = np.einsum("hqk,khd->qhd", s / s.sum(-1, keepdims=True), v).reshape(n, -1) @ w(p + "self_attn.o_proj.weight").T
        x = x + (rms(h, w(p + "post_attention_layernorm.weight")) if gemma else h)
        h = rms(x, w(p + ("pre_feedforward_layernorm.weight" if gemma else "post_attention_layernorm.weight")))
        g = h @ w(p + "mlp.gate_proj.weight").T
        h = ((gelu(g) if gemma else g / (1 + np.exp(-g))) * (h @ w(p + "mlp.up_proj.weight").T)) @ w(p + "mlp.down_proj.weight").T
        x = x + (rms(h, w(p + "post_feedforward_layernorm.weight")) if gemma else h)
    head = "lm_head.weight" if has("lm_head.weight") else "model.embed_tokens.weight"
    return rms(x[-1], w("model.norm.weight")) @ w(head).T


def check_logits(path, want):
    got = np.array(probe(path, {"op": "logits", "ids": IDS, "all": True})[0]["logits"])
    assert np.abs(got - want).max() < 2e-3 * max(1, np.abs(want).max()), np.abs(got - want).max()


IDS = [5, 70, 71, 3, 90, 12, 44, 44, 101]
START = {"bos_token": "<|start|>", "eos_token": {"content": "<|end|>"}, "chat_template": "{{ messages[0].content }}", "add_bos_token": False}


# ---- tests ----

def test_llama(tmp_path):
    tokenizer = bpe_tokenizer(None)
    n = max(tokenizer["model"]["vocab"].values()) + 8   # more embeddings than tokens
    config, t = decoder("LlamaForCausalLM", n)
    write_folder(tmp_path / "m", config, t, tokenizer, START, parts=2)
    r = convert(tmp_path / "m", tmp_path / "out.gguf")
    assert r.fields["general.architecture"].contents() == "llama" and r.fields["llama.attention.head_count_kv"].contents() == KV
    assert r.fields["general.file_type"].contents() == 1 and r.fields["tokenizer.ggml.pre"].contents() == "smollm"
    assert len(r.tensors) == len(t)
    assert np.array_equal(values(r, "blk.1.ffn_down.weight"), f16(t["model.layers.1.mlp.down_proj.weight"]))
    assert np.array_equal(values(r, "blk.0.attn_norm.weight"), t["model.layers.0.input_layernorm.weight"])
    q = f16(t["model.layers.0.self_attn.q_proj.weight"]).reshape(HEADS, 2, DIM // 2, EMBD).swapaxes(1, 2).reshape(HEADS * DIM, EMBD)
    assert np.array_equal(values(r, "blk.0.attn_q.weight"), q)
    check_logits(tmp_path / "out.gguf", forward(config, t, IDS))
    ids = {v: k for v, k in tokenizer["model"]["vocab"].items()}
    tool, end = tokenizer["added_tokens"][2]["id"], tokenizer["added_tokens"][1]["id"]
    got, = probe(tmp_path / "out.gguf", {"op": "tokenize", "text": "hello w<tool><|end|>", "parse_special": True})
    assert got["ids"] == [ids["hello"], ids["\u0120w"], tool, end], got


def test_llama3_scaling(tmp_path):
    config, t = decoder("LlamaForCausalLM", 264)
    config["rope_scaling"] = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 64}
    write_folder(tmp_path / "m", config, t, bpe_tokenizer(None), START)
    r = convert(tmp_path / "m", tmp_path / "out.gguf")
    wave = 2 * np.pi * 10000.0 ** (np.arange(DIM // 2) / (DIM // 2))
    smooth = (64 / wave - 1) / 3
    want = np.where(wave < 16, 1, np.where(wave > 64, 8, 1 / ((1 - smooth) / 8 + smooth)))
    assert np.allclose(values(r, "rope_freqs.weight"), want, rtol=1e-6)
    check_logits(tmp_path / "out.gguf", forward(config, t, IDS, divide=want))


def test_qwen2_bf16_quantized(tmp_path):
    config, t = decoder("Qwen2ForCausalLM", 264, bias=True, tied=True)
    write_folder(tmp_path / "m", config, t, bpe_tokenizer(QWEN_PRE), START)
    r = convert(tmp_path / "m", tmp_path / "out.gguf")
    assert r.fields["tokenizer.ggml.pre"].contents() == "qwen2"
    assert not any(x.name == "output.weight" for x in r.tensors)
    check_logits(tmp_path / "out.gguf", forward(config, t, IDS))
    r = convert(tmp_path / "m", tmp_path / "q8.gguf", "--type", "q8_0")
    kinds = {x.name: x.tensor_type.name for x in r.tensors}
    assert kinds["blk.0.attn_q.weight"] == "Q8_0" and kinds["blk.0.attn_q.bias"] == "F32" and kinds["token_embd.weight"] == "Q8_0"
    assert r.fields["general.file_type"].contents() == 7
    r = convert(tmp_path / "m", tmp_path / "q4.gguf", "--type", "Q4_K_M")   # rows of 64: no K-quants
    assert {x.tensor_type.name for x in r.tensors} == {"Q5_0", "Q8_0", "F32"}


def test_gemma3(tmp_path):
    config, t = decoder("Gemma3ForCausalLM", 300, qk_norm=True, post=True, tied=True)
    config.update(sliding_window=64, sliding_window_pattern=2, query_pre_attn_scalar=DIM)
    write_folder(tmp_path / "m", config, t, spm_tokenizer(), {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True})
    r = convert(tmp_path / "m", tmp_path / "out.gguf")
    assert np.allclose(values(r, "blk.0.attn_q_norm.weight"), t["model.layers.0.self_attn.q_norm.weight"] + 1)
    assert r.fields["gemma3.attention.sliding_window"].contents() == 64 and r.fields["gemma3.attention.key_length"].contents() == DIM
    check_logits(tmp_path / "out.gguf", forward(config, t, IDS, gemma=True))


def test_spm_vocabulary(tmp_path):
    config, t = decoder("MistralForCausalLM", 268)
    tokenizer = spm_tokenizer()
    write_folder(tmp_path / "m", config, t, tokenizer, {"bos_token": "<s>", "eos_token": "</s>"})
    r = convert(tmp_path / "m", tmp_path / "out.gguf")
    assert r.fields["tokenizer.ggml.model"].contents() == "llama" and r.fields["tokenizer.ggml.add_bos_token"].contents() is True
    v = tokenizer["model"]["vocab"]
    got, = probe(tmp_path / "out.gguf", {"op": "tokenize", "text": "hello\n", "add_special": True})
    assert got["ids"] == [1, v["\u2581hell"], v["o"], v["<0x0A>"]], got


def test_bert(tmp_path):
    r = np.random.default_rng(3)
    w = lambda *s: (r.standard_normal(s) * 0.1).astype(np.float32)
    t = {"embeddings.word_embeddings.weight": w(9, EMBD), "embeddings.position_embeddings.weight": w(32, EMBD),
         "embeddings.token_type_embeddings.weight": w(2, EMBD), "embeddings.position_ids": np.arange(32)[None]}
    for n in ("query", "key", "value"):
        t["encoder.layer.0.attention.self.%s.weight" % n], t["encoder.layer.0.attention.self.%s.bias" % n] = w(EMBD, EMBD), w(EMBD)
    for n, a, b in (("attention.output.dense", EMBD, EMBD), ("intermediate.dense", FF, EMBD), ("output.dense", EMBD, FF)):
        t["encoder.layer.0.%s.weight" % n], t["encoder.layer.0.%s.bias" % n] = w(a, b), w(a)
    for n in ("embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm"):
        t[n + ".weight"], t[n + ".bias"] = 1 + w(EMBD), w(EMBD)
    config = {"architectures": ["BertModel"], "hidden_size": EMBD, "num_hidden_layers": 1, "num_attention_heads": HEADS,
              "intermediate_size": FF, "max_position_embeddings": 32, "layer_norm_eps": 1e-12, "vocab_size": 9}
    write_folder(tmp_path / "m", config, t, wordpiece_tokenizer(),
                 {"%s_token" % n: "[%s]" % n.upper() for n in ("unk", "sep", "pad", "cls", "mask")})
    reader = convert(tmp_path / "m", tmp_path / "out.gguf")
    assert np.array_equal(values(reader, "position_embd.weight"), t["embeddings.position_embeddings.weight"])
    ids, = probe(tmp_path / "out.gguf", {"op": "tokenize", "text": "Rains snow.", "add_special": True})
    assert ids["ids"] == [2, 5, 6, 7, 8, 3], ids


@pytest.mark.parametrize("arch, kw", [("Qwen3ForCausalLM", {"qk_norm": True}), ("Gemma2ForCausalLM", {"post": True, "tied": True}),
                                      ("Phi3ForCausalLM", {"fused": True})])
def test_metadata_only(tmp_path, arch, kw):
    config, t = decoder(arch, 264, **kw)
    write_folder(tmp_path / "m", config, t, bpe_tokenizer(None), START)
    r = convert(tmp_path / "m", tmp_path / "out.gguf")
    name = {"Qwen3ForCausalLM": "qwen3", "Gemma2ForCausalLM": "gemma2", "Phi3ForCausalLM": "phi3"}[arch]
    assert r.fields["general.architecture"].contents() == name and len(r.tensors) == len(t)
    if arch == "Phi3ForCausalLM":
        assert list(values(r, "blk.0.ffn_up.weight").shape) == [2 * FF, EMBD]
    if arch == "Gemma2ForCausalLM":
        assert r.fields["gemma2.attn_logit_softcapping"].contents() == 50


def test_refused(tmp_path):
    config, t = decoder("LlamaForCausalLM", 264)
    m = tmp_path / "m"
    cases = 0

    def refused(word, config=config, tensors=t, tokenizer=bpe_tokenizer(None), spoil=None):
        nonlocal cases
        cases += 1
        write_folder(m, config, tensors, tokenizer, START)
        if spoil:
            spoil()
        last = convert(m, tmp_path / ("no%d.gguf" % cases), ok=False)
        assert word in last["error"], last
        for f in m.iterdir():
            f.unlink()

    refused("unsupported architecture", dict(config, architectures=["MambaForCausalLM"]))
    refused("no \"hidden_size\"", {k: v for k, v in config.items() if k != "hidden_size"})
    refused("heads do not share evenly", dict(config, num_attention_heads=5, head_dim=16))
    refused("has no place", tensors=dict(t, **{"model.layers.0.mystery.weight": t["model.norm.weight"]}))
    refused("rope scaling", dict(config, rope_scaling={"type": "magic"}))
    refused("cannot be converted", tokenizer={"model": {"type": "Unigram", "vocab": []}})
    refused("config.json", spoil=lambda: (m / "config.json").unlink())
    refused("config.json", spoil=lambda: (m / "config.json").write_text("{"))
    refused("tokenizer.json", spoil=lambda: (m / "tokenizer.json").unlink())
    refused("missing", spoil=lambda: (m / "model.safetensors.index.json").write_text('{"weight_map": {"x": "model-00002.safetensors"}}'))
    nan = dict(t)
    nan["model.layers.0.mlp.up_proj.weight"] = t["model.layers.0.mlp.up_proj.weight"].copy()
    nan["model.layers.0.mlp.up_proj.weight"][3, 3] = np.nan
    refused("infinite or no numbers", tensors=nan)
    big = "model.safetensors"
    refused("does not fit", spoil=lambda: (m / big).write_bytes(struct.pack("<Q", 1 << 62) + b"{}"))
    refused("lies outside", spoil=lambda: (m / big).write_bytes((m / big).read_bytes()[:-100]))


def test_create_from_folder(server, tmp_path):
    """The command line: no Modelfile at all, and one that names the folder."""
    config, t = decoder("LlamaForCausalLM", 264)
    m = tmp_path / "m"
    write_folder(m, config, t, bpe_tokenizer(None), START, parts=2)
    (tmp_path / "Modelfile").write_text("FROM ./m\nPARAMETER temperature 0\n")
    r = server.cli("create", "tiny", "-f", str(tmp_path / "Modelfile"), "-q", "q8_0")
    assert r.returncode == 0 and "converting model" in r.stderr and "success" in r.stderr, r.stderr
    shown = server.call("POST", "/api/show", {"model": "tiny"})[1]
    assert shown["details"]["quantization_level"] == "Q8_0" and shown["details"]["family"] == "llama"
    status, r = server.call("POST", "/api/generate", {"model": "tiny", "prompt": "hello", "stream": False, "options": {"num_predict": 4}})
    assert status == 200 and r["eval_count"] >= 1
    r = subprocess.run([CRIA, "create", "tiny2"], env=server.env, cwd=str(m), capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and server.call("POST", "/api/show", {"model": "tiny2"})[1]["details"]["quantization_level"] == "F16"
    os.mkdir(str(tmp_path / "empty"))
    r = subprocess.run([CRIA, "create", "tiny3"], env=server.env, cwd=str(tmp_path / "empty"), capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and "no Modelfile or safetensors files found" in r.stderr
