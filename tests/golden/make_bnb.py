"""4-bit checkpoints by transformers and bitsandbytes, and packed weights of many block sizes and shapes by bitsandbytes alone.

    python make_bnb.py
"""
import glob
import os
import shutil
import tempfile
import warnings

import bitsandbytes.functional as bnb
import numpy as np
import torch
from bitsandbytes.nn import Linear4bit
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

import nf4
from common import HERE, batch, close, save, use_true_f64

warnings.filterwarnings("ignore", message="inner dimension .* is not aligned")
f32, f16, bf16 = torch.float32, torch.float16, torch.bfloat16
# The rows of down_proj (80 weights) are no multiple of the block size, 64.
CONFIG = dict(vocab_size=97, hidden_size=64, intermediate_size=80, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
# name: (dtype, tied, BitsAndBytesConfig, save_pretrained)
DIRECTORIES = {
    "nf4_double_bf16": (bf16, True, dict(bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=bf16), {}),
    "fp4_f16": (f16, False, dict(bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=f16), {}),
    "nf4_f32_skip": (f32, False, dict(bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["lm_head", "v_proj"]), {}),
    "fp4_double_bf16_shards": (bf16, True, dict(bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=True), dict(max_shard_size="12KB")),
    "nf4_bf16_storage": (bf16, True, dict(bnb_4bit_quant_type="nf4", bnb_4bit_quant_storage=bf16), {}),
}


def dense(dtype, tied, seed):
    model = LlamaForCausalLM(LlamaConfig(**CONFIG, tie_word_embeddings=tied))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if "norm" in name else 0.5 * noise if "embed" in name else 0.2 * noise)
    return model.to(dtype)


def decode(weight, state, dtype):
    """As one long row: bitsandbytes' CPU decoder starts a new block at every row, its quantizer does not."""
    shape, kept = state.shape, state.dtype
    state.shape, state.dtype = torch.Size([1, shape.numel()]), dtype
    out = bnb.dequantize_4bit(weight, state).reshape(shape)
    state.shape, state.dtype = shape, kept
    return out


def as_bytes(t):
    return torch.frombuffer(bytearray(t.contiguous().view(torch.uint8).numpy().tobytes()), dtype=torch.uint8)


def directory(name, seed):
    dtype, tied, quantization, saving = DIRECTORIES[name]
    path = os.path.join(HERE, "bnb", name)
    shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        dense(dtype, tied, seed).save_pretrained(temporary)
        model = LlamaForCausalLM.from_pretrained(temporary, dtype=dtype, device_map="cpu",
                                                 quantization_config=BitsAndBytesConfig(load_in_4bit=True, **quantization))
        model.save_pretrained(path, **saving)
        reference = LlamaForCausalLM.from_pretrained(temporary, dtype=dtype)
    os.remove(os.path.join(path, "generation_config.json"))
    out = {}
    packed = {n: m for n, m in model.named_modules() if isinstance(m, Linear4bit)}
    assert len(packed) == (6 if "skip" in name else 7), packed.keys()
    with torch.no_grad():
        for n, p in reference.named_parameters():
            if not n.endswith("proj.weight"):
                assert torch.equal(p, model.get_parameter(n)), n
        reference = reference.double()
        for n, module in packed.items():
            reference.get_parameter(n + ".weight").copy_(decode(module.weight.data, module.weight.quant_state, f32))
        state = packed["model.layers.0.mlp.down_proj"].weight
        out["decoded.model.layers.0.mlp.down_proj.weight"] = as_bytes(decode(state.data, state.quant_state, dtype))
    tokens, _ = batch(CONFIG["vocab_size"], seed + 1)
    with torch.no_grad():
        out |= {"tokens": tokens.int(), "logits": reference(input_ids=tokens, use_cache=False).logits.float()}
    save(f"bnb/{name}/golden.safetensors", out)
    size = sum(os.path.getsize(f) for f in glob.glob(os.path.join(path, "model*.safetensors")))
    print(f"bnb/{name}: {size} bytes of weights")


BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
# kind, block, double quantization, dtype, shape
STATES = [("nf4", b, True, bf16, (37, 51) if b <= 512 else (65, 67)) for b in BLOCKS]
STATES += [("fp4", b, False, f16, (37, 51) if b <= 512 else (65, 67)) for b in BLOCKS]
STATES += [("nf4", 64, False, f32, (37, 51)), ("fp4", 64, True, f32, (37, 51)), ("nf4", 64, True, f32, (1, 1)),
           ("fp4", 128, True, bf16, (1, 65)), ("nf4", 32, True, f16, (280, 32))]  # 280 scales: two blocks of them


def weight(shape):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(shape[0])) * 0.1
    return w * (1 + torch.arange(shape[0])[:, None] % 7)


def state(out, kind, block, double, dtype, shape):
    w = weight(shape).to(dtype)
    packed, q = bnb.quantize_4bit(w, blocksize=block, compress_statistics=double, quant_type=kind)
    name = f"{kind}.{block}.{'double' if double else 'single'}.{str(dtype)[6:]}.{shape[0]}x{shape[1]}"
    out[f"{name}.weight"] = packed
    for key, t in q.as_dict(packed=True).items():
        out[f"{name}.weight.{key}"] = t
    out[f"{name}.decoded"] = as_bytes(decode(packed, q, dtype))
    out[f"w.{shape[0]}x{shape[1]}"] = weight(shape)
    if kind == "nf4":  # Lorikeet's rule, bit for bit
        ours = nf4.quantize(w.float().numpy(), block, double_quant=double)
        assert np.array_equal(ours["codes"], packed.flatten().numpy()), name
        assert np.array_equal(ours["scale_codes"] if double else ours["absmax"], q.absmax.numpy()), name


def main():
    out = {}
    for case in STATES:
        state(out, *case)
    save("bnb_states.safetensors", out)
    use_true_f64()
    for i, name in enumerate(DIRECTORIES):
        directory(name, 50 + i)


main()
