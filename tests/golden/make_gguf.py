"""GGUF files written by the gguf package: every block format with its decoded values, encoded values, rotary factors,
two tiny models.

    python make_gguf.py        (after make_models.py)

Blocks are random bytes with finite scales, so every bit of a format is used; values are those of gguf.quants.dequantize.
"""
import json
import os

import gguf
import numpy as np
from safetensors.numpy import load_file
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from common import HERE, save

# format: offsets of the half-precision scales in a block
FORMATS = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
ROWS, COLUMNS = 5, 512


def random_blocks(kind, rng):
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    raw = rng.integers(0, 256, (ROWS * COLUMNS // block, size), dtype=np.uint8)
    for at in FORMATS[kind]:
        scale = (rng.standard_normal(len(raw)) * 10.0 ** rng.integers(-6, 2, len(raw))).astype(np.float16)  # subnormal halves too
        raw[:, at : at + 2] = scale[:, None].view(np.uint8)
    return raw.reshape(ROWS, -1)


def plain(kind, rng):
    w = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    return {"F32": w, "F16": w.astype(np.float16), "BF16": gguf.quants.quantize(w, gguf.GGMLQuantizationType.BF16)}[kind]


def make_formats():
    rng = np.random.default_rng(11)
    path = os.path.join(HERE, "gguf", "formats.gguf")
    writer, values = gguf.GGUFWriter(path, "llama"), {}
    for kind in ["F32", "F16", "BF16", *FORMATS]:
        data = random_blocks(kind, rng) if kind in FORMATS else plain(kind, rng)
        qtype = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(kind, data, raw_dtype=qtype)
        values[kind] = gguf.quants.dequantize(data, qtype).astype(np.float32)
    finish(writer)
    save("gguf/formats.safetensors", values)


ENCODED = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]


def make_encoded():
    """Values, and what gguf.quants.quantize makes of them, in a whole file with one value of every type we write."""
    rng = np.random.default_rng(12)
    w = (rng.standard_normal((24, 96)) * 10.0 ** rng.integers(-6, 4, (24, 1))).astype(np.float32)
    w[0, :32] = 0                                     # no scale
    w[0, 32:64] = 1.5                                 # all equal
    w[0, 64:] = np.arange(-16, 16)                    # the largest is the negative one
    w[1, :32] = np.arange(32) - 15.5                  # ties of Q8_0, whose scale is 1 ...
    w[1, 0] = 127
    w[1, 32:64] = np.tile([4, -4, 2, -2], 8)          # two of the largest size: the first one counts
    w[1, 64:] = 1e-7                                  # the scale is a subnormal half
    w[2, :32] = 1e-36                                 # ... is zero
    w[2, 32:64] = 65504                               # the largest half
    w[3] = np.round(w[3] / np.abs(w[3]).max() * 64) / 8  # many ties of the four-bit formats
    writer = gguf.GGUFWriter(os.path.join(HERE, "gguf", "encoded.gguf"), "test")
    writer.add_uint32("a.u32", 4000000000)
    writer.add_float32("a.f32", 1e-5)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "caf\u00e9\n")
    writer.add_array("a.i32s", [-1, 0, 7])
    writer.add_array("a.strings", ["", "b c", "\u0120d"])
    for kind in ENCODED:
        qtype = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(kind, gguf.quants.quantize(w, qtype), raw_dtype=qtype)
    finish(writer)
    save("gguf/encoded.safetensors", {"w": w})


def make_rope_factors(name):
    """What llama3 scaling divides each frequency by: transformers' own frequencies without and with it."""
    directory = os.path.join(HERE, "models", name)
    config = LlamaConfig.from_pretrained(directory)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = float(json.load(open(os.path.join(directory, "config.json")))["rope_theta"]) ** -(
        np.arange(0, config.head_dim, 2) / config.head_dim)
    save("gguf/rope_factors.safetensors", {name: (plain / scaled.double().numpy()).astype(np.float32)})


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "model.layers.": "blk."}


def permute(w, heads):
    """The converter's order of q and k rows for the llama architecture: the halves of a head interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def make_model(name, arch):
    directory = os.path.join(HERE, "models", name)
    config = json.load(open(os.path.join(directory, "config.json")))
    writer = gguf.GGUFWriter(os.path.join(HERE, "gguf", name + ".gguf"), arch)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    for key, w in load_file(os.path.join(directory, "model.safetensors")).items():
        if arch == "llama" and ("q_proj" in key or "k_proj" in key):
            w = permute(w, config["num_attention_heads" if "q_proj" in key else "num_key_value_heads"])
        for theirs, ours in NAMES.items():
            key = key.replace(theirs, ours)
        writer.add_tensor(key, np.ascontiguousarray(w))
    finish(writer)


os.makedirs(os.path.join(HERE, "gguf"), exist_ok=True)
make_formats()
make_encoded()
make_rope_factors("llama3_rope")
make_model("llama_tied", "llama")
make_model("qwen2", "qwen2")
