"""A Llama of SmolLM2-135M's shape with random weights: 106 million in linear layers, 28 million in the tied embedding.

The weights are uniform with standard deviation 0.02, as in tests/benchmarks/random_weights.h. Nothing is downloaded.
"""
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.initialization import no_init_weights


def config():
    return LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
    )


def model(dtype):
    shape = config()
    with no_init_weights():  # transformers' own random numbers would be made for nothing, slowly
        lm = LlamaForCausalLM._from_config(shape, dtype=dtype, attn_implementation="sdpa")
    lm.tie_weights()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.uniform_(-0.035, 0.035) if parameter.dim() > 1 else parameter.fill_(1)
    return lm
