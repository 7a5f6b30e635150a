"""GGUF files written by the gguf package: every block format with its decoded values, encoded values, rotary factors,
a tiny model of every architecture that is read.

    python make_gguf.py        (after make_models.py)

Blocks are random bytes with finite scales, so every bit of a format is used; values are those of gguf.quants.dequantize.
"""
import json
import os

import gguf
import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from common import HERE, close, save, use_true_f64

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
    factors = (plain / scaled.double().numpy()).astype(np.float32)
    save("gguf/rope_factors.safetensors", {name: factors})
    return factors


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def permute(w, heads):
    """The converter's order of q and k rows for the llama architecture: the halves of a head interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def add_tensors(writer, arch, config, weights):
    """Weights under the names of the gguf package's own table, as llama.cpp's converter stores them."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], config["num_hidden_layers"])
    for key, w in weights.items():
        if arch == "llama" and ("q_proj" in key or "k_proj" in key):
            w = permute(w, config["num_attention_heads" if "q_proj" in key else "num_key_value_heads"])
        if arch.startswith("gemma") and key.endswith("norm.weight"):
            w = w + 1
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(w))


def add_sizes(writer, config, rope_theta=None):
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    if rope_theta is not None:
        writer.add_rope_freq_base(rope_theta)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def add_longrope(writer, config):
    """As the converter's Phi3MiniModel: the scheme has no name, its tensors and its attention factor say it."""
    scaling, original = config["rope_scaling"], config["original_max_position_embeddings"]
    _, attention_factor = ROPE_INIT_FUNCTIONS["longrope"](Phi3Config(**config), "cpu")
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_scaling_attn_factors(attention_factor)
    for length in ("long", "short"):
        writer.add_tensor(f"rope_factors_{length}.weight", np.array(scaling[f"{length}_factor"], dtype=np.float32))


def add_yarn(writer, config):
    scaling = config["rope_scaling"]
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(scaling["factor"])
    writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def make_model(name, arch, rope_factors=None):
    """A model of models/ as GGUF."""
    directory = os.path.join(HERE, "models", name)
    config = json.load(open(os.path.join(directory, "config.json")))
    writer = gguf.GGUFWriter(os.path.join(HERE, "gguf", name + ".gguf"), arch)
    add_sizes(writer, config, config["rope_theta"])
    if arch == "qwen3" or rope_factors is not None:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if arch == "phi3":
        if config["sliding_window"] is not None:
            writer.add_sliding_window(config["sliding_window"])
        writer.add_rope_dimension_count(int(config["partial_rotary_factor"] * config["hidden_size"]) // config["num_attention_heads"])
    if arch in ("qwen3", "phi3") or rope_factors is not None:
        writer.add_tokenizer_model("none")  # without a vocabulary, for llama.cpp
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors)
    kind = (config["rope_scaling"] or {}).get("rope_type")
    if kind == "longrope":
        add_longrope(writer, config)
    if kind == "yarn":
        add_yarn(writer, config)
    add_tensors(writer, arch, config, load_file(os.path.join(directory, "model.safetensors")))
    finish(writer)


# What GGUF has no word for is as llama.cpp has it: scores over sqrt(head_dim), every 2nd or 6th layer without a window.
GEMMA = dict(vocab_size=61, hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
             query_pre_attn_scalar=12, sliding_window=4, max_position_embeddings=64, pad_token_id=None, attn_implementation="eager")
GEMMAS = {
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, dict(num_hidden_layers=3, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig,
               dict(num_hidden_layers=7, rope_parameters={
                   "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                   "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})),
}


def fill_gemma(model, seed):
    """Weights large enough that every path matters; norms of few bits, so that adding 1 loses none."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_((0.2 * noise * 4096).round() / 4096 if "norm" in name else (0.5 if "embed" in name else 0.3) * noise)


def logits_of(model, tokens):
    with torch.no_grad():
        return model.eval()(input_ids=tokens, use_cache=False).logits


def make_gemma(name, seed):
    cls, config_class, extra = GEMMAS[name]
    model = cls(config_class(**(GEMMA | extra)))
    fill_gemma(model, seed)
    config, path = model.config.to_dict(), os.path.join(HERE, "gguf", name + ".gguf")
    weights = {n: p.numpy() for n, p in model.state_dict().items() if n != "lm_head.weight"}
    writer = gguf.GGUFWriter(path, name)
    add_sizes(writer, config, 1000000.0 if name == "gemma3" else None)
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_sliding_window(config["sliding_window"])
    if name == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    else:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(8.0)
    writer.add_tokenizer_model("none")
    add_tensors(writer, name, config, weights)
    finish(writer)
    check_weights(path, weights)
    tokens = torch.randint(0, config["vocab_size"], (2, 11), generator=torch.Generator().manual_seed(seed + 1))
    plain = logits_of(model, tokens)
    return model, tokens, plain


def check_weights(path, weights):
    """transformers' own reading of the file gives the same weights, bit for bit."""
    state = AutoModelForCausalLM.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path), dtype=torch.float32).state_dict()
    for name, w in weights.items():
        assert torch.equal(state[name], torch.from_numpy(w)), name


def make_gemmas():
    made = {name: make_gemma(name, 40 + i) for i, name in enumerate(GEMMAS)}
    use_true_f64()
    for name, (model, tokens, plain) in made.items():
        logits = logits_of(model.double(), tokens)
        close(plain, logits, 1e-5, name)
        save(f"gguf/{name}.safetensors", {"tokens": tokens.int(), "logits": logits.float()})


os.makedirs(os.path.join(HERE, "gguf"), exist_ok=True)
make_formats()
make_encoded()
make_model("llama3_rope", "llama", make_rope_factors("llama3_rope"))
make_model("llama_tied", "llama")
make_model("qwen2", "qwen2")
make_model("qwen3", "qwen3")
make_model("qwen3_yarn", "qwen3")
make_model("phi3", "phi3")
make_model("phi3_long", "phi3")
make_model("phi3_short", "phi3")
make_gemmas()
