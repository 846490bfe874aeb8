#!/usr/bin/env python3
"""Write a GGUF of random weights in the shape of a real model, to measure speed with: what it says is noise.

    bench/make_random_gguf.py --shape llama-1b --type Q4_K_M OUT.gguf

The blocks of a quantized type are drawn directly, so no quantizer is needed and the file is the same for the same
seed. The vocabulary is synthetic: bytes, then groups of one to four letters with their merges, as many as the real
model has, so that loading a tokenizer costs what it costs there and English text is three to four characters a token.
Layout: the GGUF specification (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""
import argparse
import array
import itertools
import math
import random
import struct
import sys

SHAPES = {
    "smollm2-135m": dict(layers=30, d=576, ff=1536, heads=9, kv=3, hd=64, vocab=49152, merges=48900, tied=True, ctx=8192,
                         base=1e5, pre="smollm", freqs=False),
    "llama-1b": dict(layers=16, d=2048, ff=8192, heads=32, kv=8, hd=64, vocab=128256, merges=280147, tied=True, ctx=131072,
                     base=5e5, pre="llama-bpe", freqs=True),
    "llama-8b-8l": dict(layers=8, d=4096, ff=14336, heads=32, kv=8, hd=128, vocab=128256, merges=280147, tied=False,
                        ctx=131072, base=5e5, pre="llama-bpe", freqs=True),
}
TEMPLATE = ("{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}")
SPECIAL = ["<|text|>", "<|end|>", "<|start|>"]
ALIGN = 32
CHUNK = 1 << 20     # elements drawn at a time

# ---- tensor types ----


def half(x):
    return struct.pack("<e", x)


SIGNS = {hi: bytes((b & 0x80) | hi for b in range(256)) for hi in range(0x80)}
NO_MIN = bytes([*range(128), 0x81, *range(129, 256)])      # -128 is a value that no quantizer writes
TWICE = bytes((b & 15) * 17 for b in range(256))


def set_scale(buf, block, d):
    """A scale of about d in the first two bytes of each block, its sign and the low bits of its mantissa random."""
    buf[1::block] = bytes(buf[1::block]).translate(SIGNS[half(d)[1]])


def fill_f16(buf, std):
    """About uniform: the byte of sign, exponent and upper mantissa is that of evenly spaced numbers, the other byte random."""
    edge = std * math.sqrt(3)
    high = bytes(half(edge * (i + 0.5) / 128)[1] for i in range(128))
    buf[1::2] = bytes(buf[1::2]).translate(high + bytes(h | 0x80 for h in high))


def fill_q4_0(buf, std):
    set_scale(buf, 18, std / 4.6)


def fill_q5_0(buf, std):
    set_scale(buf, 22, std / 9.2)


def fill_q8_0(buf, std):
    low, high = bytes(buf[0::34]), bytes(buf[1::34])
    buf[:] = buf.translate(NO_MIN)
    buf[0::34], buf[1::34] = low, high
    set_scale(buf, 34, std / 74)


def fill_q4_k(buf, std):
    """value = d * scale * q - dmin * min: with min = scale and dmin = 7.5 d the mean is 0."""
    n = len(buf) // 144
    d = half(std / (36.6 * 4.6))
    for i, b in enumerate(d + half(7.5 * struct.unpack("<e", d)[0])):
        buf[i::144] = bytes([b]) * n
    for i in range(4):
        buf[8 + i::144] = buf[4 + i::144]
        buf[12 + i::144] = bytes(buf[12 + i::144]).translate(TWICE)


def fill_q6_k(buf, std):
    n = len(buf) // 210
    for i in range(192, 208):
        buf[i::210] = bytes(buf[i::210]).translate(NO_MIN)
    for i, b in enumerate(half(std / (74 * 18.5))):
        buf[208 + i::210] = bytes([b]) * n


# name: number in the file, elements and bytes of a block, what makes random bytes a block
TYPES = {
    "F16": (1, 1, 2, fill_f16), "Q4_0": (2, 32, 18, fill_q4_0), "Q5_0": (6, 32, 22, fill_q5_0),
    "Q8_0": (8, 32, 34, fill_q8_0), "Q4_K": (12, 256, 144, fill_q4_k), "Q6_K": (14, 256, 210, fill_q6_k),
}
# name: general.file_type, type of the matrices, of the output matrix, of the matrices that get more bits
MIXES = {
    "F16": (1, "F16", "F16", "F16"), "Q4_0": (2, "Q4_0", "Q6_K", "Q4_0"), "Q8_0": (7, "Q8_0", "Q8_0", "Q8_0"),
    "Q4_K_S": (14, "Q4_K", "Q6_K", "Q4_K"), "Q4_K_M": (15, "Q4_K", "Q6_K", "Q6_K"), "Q6_K": (18, "Q6_K", "Q6_K", "Q6_K"),
}
SHORT_ROWS = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}      # rows that are no multiple of 256


def more_bits(i, n):
    """The layers whose attn_v and ffn_down llama.cpp's Q4_K_M keeps in Q6_K: the first and last eighth, and every third between."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def type_of(name, row, layer, shape, mix):
    _, plain, head, more = MIXES[mix]
    kind = plain
    if name == "output.weight" or (name == "token_embd.weight" and shape["tied"]):
        kind = head
    elif name.endswith(("attn_v.weight", "ffn_down.weight")) and more_bits(layer, shape["layers"]):
        kind = more
    return SHORT_ROWS[kind] if row % TYPES[kind][1] else kind


def tensors(s, mix):
    """(name, dimensions with the row first, type) of every tensor, in the order of the file."""
    q, kv, d, ff = s["heads"] * s["hd"], s["kv"] * s["hd"], s["d"], s["ff"]
    rows = [("token_embd.weight", (d, s["vocab"]), 0), ("output_norm.weight", (d,), 0)]
    if not s["tied"]:
        rows.append(("output.weight", (d, s["vocab"]), 0))
    if s["freqs"]:
        rows.append(("rope_freqs.weight", (s["hd"] // 2,), 0))
    for i in range(s["layers"]):
        for name, dims in (("attn_norm", (d,)), ("attn_q", (d, q)), ("attn_k", (d, kv)), ("attn_v", (d, kv)),
                           ("attn_output", (q, d)), ("ffn_norm", (d,)), ("ffn_gate", (d, ff)), ("ffn_up", (d, ff)),
                           ("ffn_down", (ff, d))):
            rows.append(("blk.%d.%s.weight" % (i, name), dims, i))
    return [(n, dims, "F32" if len(dims) == 1 else type_of(n, dims[0], i, s, mix)) for n, dims, i in rows]


def n_bytes(dims, kind):
    if kind == "F32":
        return 4 * dims[0]
    return math.prod(dims) // TYPES[kind][1] * TYPES[kind][2]


def rope_freqs(hd, base, factor=32.0, low=1.0, high=4.0, ctx=8192.0):
    """Llama 3's stretching of slow frequencies, as divisors: fast ones stay, slow ones are divided by `factor`."""
    out = []
    for i in range(0, hd, 2):
        wave = 2 * math.pi * base ** (i / hd)
        smooth = min(1.0, max(0.0, (ctx / wave - low) / (high - low)))
        out.append(1.0 / ((1 - smooth) / factor + smooth))
    return out


def tensor_bytes(name, dims, kind, shape, rng):
    """The tensor's bytes, in pieces."""
    if name == "rope_freqs.weight":
        yield array.array("f", rope_freqs(shape["hd"], shape["base"])).tobytes()
    elif kind == "F32":
        yield array.array("f", [1.0]).tobytes() * dims[0]
    else:
        _, per, size, fill = TYPES[kind]
        std = 0.02 if name == "token_embd.weight" else 0.7 / math.sqrt(dims[0])
        left = math.prod(dims) // per
        while left:
            n = min(left, CHUNK // per)
            buf = bytearray(rng.randbytes(n * size))
            fill(buf, std)
            yield buf
            left -= n


# ---- vocabulary ----


def byte_letters():
    """The letter that byte-level vocabularies write for each byte: printable ones stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = (c for c in range(256) if c not in set(plain))
    letter = {b: chr(b) for b in plain}
    letter.update((b, chr(256 + i)) for i, b in enumerate(other))
    return [letter[b] for b in range(256)]


def vocabulary(size, n_merges, rng):
    """Tokens, their kinds, merges, and the number of the first special token."""
    letters = "etaoinshrdlcumwfgypbvkjxqz"
    space = "\u0120"
    n_special = 256 if size > 100000 else 16
    tokens, merges = byte_letters(), []
    want = size - n_special - len(tokens)
    words = [""]
    for n in range(1, 4):     # all words of up to three letters, the frequent ones first, each with and without a space
        words = [w + c for w in words for c in letters] if n > 1 else list(letters)
        for w in words:
            if n > 1:
                merges.append((w[:-1], w[-1]))
            merges.append((space + w[:-1] if n > 1 else space, w[-1]))
    del merges[want:]
    four = set()
    while len(merges) < want:
        w = rng.choice(words) + rng.choice(letters)
        if w not in four:
            four.add(w)
            merges.append((w[:-1], w[-1]))
    tokens += [a + b for a, b in merges]
    known = set(tokens)
    ways = ((t[:k], t[k:]) for t in tokens for k in range(1, len(t) - 1))     # further ways to tokens that are there
    merges += itertools.islice((m for m in ways if m[0] in known and m[1] in known), max(0, n_merges - len(merges)))
    first = len(tokens)
    tokens += SPECIAL + ["<|spare_%d|>" % i for i in range(n_special - len(SPECIAL))]
    return tokens, [1] * first + [3] * n_special, [a + " " + b for a, b in merges], first


# ---- the file ----

def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


# kind of a value in Python: number in the file, packer
VALUE = {bool: (7, lambda v: struct.pack("<?", v)), int: (4, lambda v: struct.pack("<I", v)),
         float: (6, lambda v: struct.pack("<f", v)), str: (8, text)}


def key_value(key, value):
    if isinstance(value, list):
        number, pack = (5, lambda v: struct.pack("<i", v)) if isinstance(value[0], int) else VALUE[type(value[0])]
        return text(key) + struct.pack("<IIQ", 9, number, len(value)) + b"".join(map(pack, value))
    number, pack = VALUE[type(value)]
    return text(key) + struct.pack("<I", number) + pack(value)


def metadata(name, s, mix, rng):
    tokens, kinds, merges, first = vocabulary(s["vocab"], s["merges"], rng)
    return {
        "general.architecture": "llama", "general.name": name + " (random weights)", "general.file_type": MIXES[mix][0],
        "general.alignment": ALIGN, "general.quantization_version": 2,
        "llama.context_length": s["ctx"], "llama.embedding_length": s["d"], "llama.block_count": s["layers"],
        "llama.feed_forward_length": s["ff"], "llama.attention.head_count": s["heads"],
        "llama.attention.head_count_kv": s["kv"], "llama.attention.key_length": s["hd"],
        "llama.attention.value_length": s["hd"], "llama.rope.dimension_count": s["hd"], "llama.rope.freq_base": s["base"],
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.vocab_size": s["vocab"],
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": s["pre"], "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": merges, "tokenizer.ggml.bos_token_id": first,
        "tokenizer.ggml.eos_token_id": first + 1, "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def write(out, name, s, mix, seed):
    rng = random.Random(seed)
    kv, table = metadata(name, s, mix, rng), tensors(s, mix)
    out.write(struct.pack("<4sIQQ", b"GGUF", 3, len(table), len(kv)))
    for key, value in kv.items():
        out.write(key_value(key, value))
    at = 0
    for name, dims, kind in table:
        number = 0 if kind == "F32" else TYPES[kind][0]
        out.write(text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, number, at))
        at += -(-n_bytes(dims, kind) // ALIGN) * ALIGN
    out.write(bytes(-out.tell() % ALIGN))
    for name, dims, kind in table:
        for piece in tensor_bytes(name, dims, kind, s, rng):
            out.write(piece)
        out.write(bytes(-out.tell() % ALIGN))


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shape", choices=sorted(SHAPES), required=True)
    ap.add_argument("--type", choices=sorted(MIXES), required=True)
    ap.add_argument("--layers", type=int, help="another number of layers")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("out")
    a = ap.parse_args(argv)
    shape = dict(SHAPES[a.shape])
    shape["layers"] = a.layers or shape["layers"]
    with open(a.out, "wb") as f:
        write(f, a.shape, shape, a.type, a.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
