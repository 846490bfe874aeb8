#!/usr/bin/env python3
"""Write all-MiniLM-L6-v2 as a GGUF from its safetensors folder: make_minilm_gguf.py MODEL_DIR OUT.gguf [--f32]

Needs the PyPI packages gguf, safetensors and numpy. Tensor names and
metadata are those that llama.cpp's converter gives BERT models.
"""
import argparse
import json
import os

import numpy as np
from gguf import GGUFWriter, TokenType
from safetensors.numpy import load_file

LAYER = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}
TOP = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}


def gguf_name(name):
    if name in TOP:
        return TOP[name]
    if name.startswith("encoder.layer."):
        n, rest = name[len("encoder.layer."):].split(".", 1)
        part, kind = rest.rsplit(".", 1)
        return "blk.%s.%s.%s" % (n, LAYER[part], kind)
    return None         # pooler and position ids are not used


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model_dir")
    ap.add_argument("out")
    ap.add_argument("--f32", action="store_true", help="matrices in F32 (default F16)")
    a = ap.parse_args()
    cfg = json.load(open(os.path.join(a.model_dir, "config.json")))
    tensors = load_file(os.path.join(a.model_dir, "model.safetensors"))
    words = open(os.path.join(a.model_dir, "vocab.txt"), encoding="utf-8").read().split("\n")
    words = words[:cfg["vocab_size"]]
    special = {w: i for i, w in enumerate(words) if w in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}

    w = GGUFWriter(a.out, "bert")
    w.add_name("all-MiniLM-L6-v2")
    w.add_license("apache-2.0")
    w.add_size_label("23M")
    w.add_block_count(cfg["num_hidden_layers"])
    w.add_context_length(cfg["max_position_embeddings"])
    w.add_embedding_length(cfg["hidden_size"])
    w.add_feed_forward_length(cfg["intermediate_size"])
    w.add_head_count(cfg["num_attention_heads"])
    w.add_layer_norm_eps(cfg["layer_norm_eps"])
    w.add_causal_attention(False)
    w.add_uint32("bert.pooling_type", 1)
    w.add_file_type(0 if a.f32 else 1)
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("jina-v2-en")
    w.add_token_type_count(cfg["type_vocab_size"])
    pieces = [t if t in special else t[2:] if t.startswith("##") else "\u2581" + t for t in words]
    w.add_token_list([p.encode("utf-8") for p in pieces])
    w.add_token_types([TokenType.CONTROL if t in special else TokenType.NORMAL for t in words])
    w.add_bos_token_id(special["[CLS]"])
    w.add_eos_token_id(special["[SEP]"])
    w.add_unk_token_id(special["[UNK]"])
    w.add_sep_token_id(special["[SEP]"])
    w.add_pad_token_id(special["[PAD]"])
    w.add_mask_token_id(special["[MASK]"])
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)
    w.add_bool("tokenizer.ggml.add_sep_token", False)
    w.add_bool("tokenizer.ggml.normalizer.lowercase", True)
    for name in tensors:
        out = gguf_name(name)
        if out is None:
            continue
        x = tensors[name].astype(np.float32)
        if not a.f32 and x.ndim == 2 and out not in ("position_embd.weight", "token_types.weight"):
            x = x.astype(np.float16)
        w.add_tensor(out, x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main()
