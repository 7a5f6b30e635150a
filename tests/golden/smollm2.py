"""SmolLM2 out of its GGUF file, for the scripts that need it: weights, model, tokenizer, and the formulas of README.md."""
import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from make_tokenizer import build, read_vocabulary

PROJECTIONS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
GGUF_NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
              "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
              "ffn_norm": "post_attention_layernorm"}


def hf_name(name):
    if name.startswith("blk."):
        _, layer, kind, _ = name.split(".")
        return f"model.layers.{layer}.{GGUF_NAMES[kind]}.weight"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]


def unpermute(w, heads):
    """GGUF's llama layout interleaves the two halves of every head's q and k rows; this puts them side by side again."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def read_weights(path):
    """{checkpoint name: f32 array}, in the file's order."""
    weights = {}
    for t in gguf.GGUFReader(path).tensors:
        w = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        if "attn_q" in t.name or "attn_k" in t.name:
            w = unpermute(w, 9 if "attn_q" in t.name else 3)
        weights[hf_name(t.name)] = np.ascontiguousarray(w)
    return weights


def build_model(weights):
    config = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                         num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=float(np.float32(1e-5)), tie_word_embeddings=True,
                         rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, attn_implementation="sdpa")
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()}, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model


def build_tokenizer(path):
    tokens, merges, types = read_vocabulary(path)
    return build(tokens, merges, [t for t, kind in zip(tokens, types) if kind == 3])


def mix(i):
    """MurmurHash3's 32-bit finalizer."""
    i = np.asarray(i, np.uint64) & 0xFFFFFFFF
    i = (i ^ i >> np.uint64(16)) * 0x85EBCA6B & 0xFFFFFFFF
    i = (i ^ i >> np.uint64(13)) * 0xC2B2AE35 & 0xFFFFFFFF
    return i ^ i >> np.uint64(16)


def noise(t, n, offset=0):
    """u(t, e) of README.md for e = 0..n-1: multiples of 2^-23 in [-1, 1), exact in f32."""
    return (mix(t * 2**20 + offset + np.arange(n, dtype=np.uint64)) >> np.uint64(8)).astype(np.float64) / 2**23 - 1


def checksum(a):
    """sum over i of (i+1)*word[i] mod 2^64, where the words are the u32 patterns of f32 values, or the bytes of u8."""
    words = np.ascontiguousarray(a).reshape(-1).view(np.uint8 if a.dtype == np.uint8 else np.uint32).astype(np.uint64)
    return (words * np.arange(1, len(words) + 1, dtype=np.uint64)).sum(dtype=np.uint64).astype(np.int64)
