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


def quantize(model):
    """Replaces every linear layer but the head by bitsandbytes' NF4, double-quantized, computing in bf16."""
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        quantized = bnb.nn.Linear4bit(module.in_features, module.out_features, bias=False, device="meta",
                                      compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4")
        quantized.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, compress_statistics=True,
                                             quant_type="nf4", module=quantized).to("cpu")
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, quantized)
    model.is_loaded_in_4bit = True  # by which PEFT chooses its 4-bit layers


def stored_bytes(model):
    """Of weights and adapters; of a 4-bit weight, its codes and its scales."""
    total = 0
    for parameter in model.parameters():
        total += parameter.numel() * parameter.element_size()
        state = getattr(parameter, "quant_state", None)
        scales = [] if state is None else [state.absmax, state.code]
        if state is not None and state.nested:
            scales += [state.state2.absmax, state.state2.code]
        total += sum(scale.numel() * scale.element_size() for scale in scales)
    return total
