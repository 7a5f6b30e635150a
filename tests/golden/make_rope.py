"""Rotary frequencies and attention factors of every scheme, as transformers computes them from a config.json.

    python make_rope.py
"""
import json

import torch
from transformers import LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from common import save

SIZES = dict(hidden_size=256, num_attention_heads=4)  # heads of 64
SHORT, LONG = [1 + 0.03 * i for i in range(32)], [1.1 * 1.07**i for i in range(32)]
# name: (class, max_position_embeddings, rope_parameters, what else the file says)
SCHEMES = {
    "linear": (LlamaConfig, 8192, dict(rope_type="linear", rope_theta=1e4, factor=4.0), {}),
    "llama3": (LlamaConfig, 131072, dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0,
                                         high_freq_factor=4.0, original_max_position_embeddings=8192), {}),
    "yarn": (LlamaConfig, 131072, dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=32768), {}),
    "yarn_ends": (LlamaConfig, 8192, dict(rope_type="yarn", rope_theta=1e4, factor=16.0, original_max_position_embeddings=512,
                                          beta_fast=64.0, beta_slow=0.5, truncate=False), {}),
    "yarn_mscale": (LlamaConfig, 8192, dict(rope_type="yarn", rope_theta=1e4, factor=40.0, original_max_position_embeddings=4096,
                                            mscale=1.0, mscale_all_dim=0.7), {}),
    "yarn_attention": (LlamaConfig, 8192, dict(rope_type="yarn", rope_theta=1e4, factor=2.0, original_max_position_embeddings=4096,
                                               attention_factor=0.9), {}),
    "longrope": (Phi3Config, 131072, dict(rope_type="longrope", rope_theta=1e4, short_factor=SHORT, long_factor=LONG),
                 dict(original_max_position_embeddings=4096)),
    "longrope_part": (Phi3Config, 4096, dict(rope_type="longrope", rope_theta=1e4, short_factor=SHORT[:24], long_factor=LONG[:24],
                                             partial_rotary_factor=0.75), dict(original_max_position_embeddings=4096)),
}


def main():
    tensors, configs = {}, {}
    for name, (config_class, context, rope, extra) in SCHEMES.items():
        config = config_class(max_position_embeddings=context, rope_parameters=dict(rope), **SIZES, **extra)
        compute = ROPE_INIT_FUNCTIONS[rope["rope_type"]]
        frequencies, factor = compute(config, "cpu")
        if rope["rope_type"] == "longrope":
            frequencies = torch.stack([frequencies, compute(config, "cpu", seq_len=4097)[0]])
        tensors[name], tensors[name + ".attention_factor"] = frequencies, torch.tensor([factor], dtype=torch.float64)
        configs[name] = dict(model_type=config.model_type, vocab_size=97, intermediate_size=64, num_hidden_layers=1,
                             max_position_embeddings=context, rope_parameters=rope, **SIZES, **extra)
    tensors["configs"] = torch.frombuffer(bytearray(json.dumps(configs).encode()), dtype=torch.uint8)
    save("rope.safetensors", tensors)


main()
