"""Tiny random checkpoints written by transformers, with logits, loss and all gradients.

    python make_models.py

Weights are f32. The golden values come from an f64 run of the same weights; the unmodified f32 model must agree first.
"""
import json
import os
import shutil

import torch
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel,
                          LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Phi3Config, Phi3ForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

from common import HERE, batch, close, golden, run, save, use_true_f64

TINY = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, bos_token_id=1, eos_token_id=2, attn_implementation="sdpa", use_cache=True)
LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}
LONGROPE = dict(tie_word_embeddings=True, sliding_window=None, pad_token_id=None, rope_parameters={
    "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.25, 1.5],
    "long_factor": [1.5, 4.0, 10.0]})
MODELS = {
    "llama_tied": (LlamaForCausalLM, LlamaConfig, dict(tie_word_embeddings=True, rms_norm_eps=1e-5)),
    "llama_untied": (LlamaForCausalLM, LlamaConfig, dict(tie_word_embeddings=False, rms_norm_eps=1e-6)),
    # One key-value head, head_dim wider than hidden/heads, frequencies scaled in all three of the rule's ranges.
    "llama3_rope": (LlamaForCausalLM, LlamaConfig,
                    dict(tie_word_embeddings=True, rms_norm_eps=1e-5, num_key_value_heads=1, head_dim=12,
                         max_position_embeddings=512, rope_parameters=LLAMA3_ROPE)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, dict(tie_word_embeddings=True, rms_norm_eps=1e-6, rope_parameters={
        "rope_type": "default", "rope_theta": 1000000.0})),
    # A window shorter than the sequences.
    "mistral": (MistralForCausalLM, MistralConfig, dict(tie_word_embeddings=False, rms_norm_eps=1e-5, sliding_window=4)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, dict(tie_word_embeddings=True, rms_norm_eps=1e-6, head_dim=10, rope_parameters={
        "rope_type": "default", "rope_theta": 1000000.0})),
    # pad_token_id None: the padding token's embedding would get no gradient.
    # Caps low enough to bend, a window shorter than the sequences, scores scaled by another number than head_dim's.
    "gemma2": (Gemma2ForCausalLM, Gemma2Config,
               dict(head_dim=12, query_pre_attn_scalar=20, sliding_window=4, attn_logit_softcapping=2.0,
                    final_logit_softcapping=3.0, pad_token_id=None, attn_implementation="eager")),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig,
               dict(head_dim=12, query_pre_attn_scalar=20, sliding_window=4, sliding_window_pattern=2, pad_token_id=None,
                    rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                                     "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})),
    "gpt2": (GPT2LMHeadModel, GPT2Config, dict(n_inner=48)),
    "phi3": (Phi3ForCausalLM, Phi3Config,
             dict(tie_word_embeddings=False, sliding_window=4, pad_token_id=None,
                  rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75})),
    # The sequences of 11 are longer than the original context, and shorter.
    "phi3_long": (Phi3ForCausalLM, Phi3Config, dict(LONGROPE, original_max_position_embeddings=8)),
    "phi3_short": (Phi3ForCausalLM, Phi3Config, dict(LONGROPE, original_max_position_embeddings=16)),
    # Pairs that keep their frequency, that are divided by 4, and two in between.
    "qwen3_yarn": (Qwen3ForCausalLM, Qwen3Config, dict(tie_word_embeddings=True, rms_norm_eps=1e-6, head_dim=10,
                   max_position_embeddings=256, rope_parameters={
                       "rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 64})),
}


def fill(model, seed):
    """Weights large enough that every path matters; norms around 1, biases not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if isinstance(model, (Gemma2ForCausalLM, Gemma3ForCausalLM)) and "norm" in name:
                p.copy_(0.2 * noise)  # they multiply by 1 + w
            elif name.endswith((".ln_1.weight", ".ln_2.weight", ".ln_f.weight")):
                p.copy_(1 + 0.2 * noise)
            else:
                p.copy_(1 + 0.2 * noise if "norm" in name else 0.5 * noise if "embed" in name else 0.2 * noise)


def write_old_config(directory):
    """The spelling of config.json before transformers 5 (rope_theta, rope_scaling, torch_dtype), as most published models have it."""
    path = os.path.join(directory, "config.json")
    config = json.load(open(path))
    rope = config.pop("rope_parameters", None)
    if config["model_type"] in ("gemma2", "gemma3_text"):
        config.pop("layer_types")
    if config["model_type"] == "gemma3_text":
        config["sliding_window_pattern"] = 2
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    if rope is not None:
        config["rope_theta"] = rope.pop("rope_theta")
        if "partial_rotary_factor" in rope:
            config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    json.dump(config, open(path, "w"), indent=2, sort_keys=True)


def make(name, seed):
    cls, config, extra = MODELS[name]
    model = cls(config(**(TINY | extra)))
    fill(model, seed)
    directory = os.path.join(HERE, "models", name)
    shutil.rmtree(directory, ignore_errors=True)
    model.save_pretrained(directory)
    os.remove(os.path.join(directory, "generation_config.json"))
    if name != "llama_untied":
        write_old_config(directory)
    tokens, labels = batch(TINY["vocab_size"], seed + 1)
    return directory, tokens, labels


def main():
    made = {name: make(name, 100 * i + 7) for i, name in enumerate(MODELS)}
    plain = {name: run(MODELS[name][0].from_pretrained(d), t, l) for name, (d, t, l) in made.items()}
    use_true_f64()
    for name, (directory, tokens, labels) in made.items():
        result = run(MODELS[name][0].from_pretrained(directory).double(), tokens, labels)
        close(plain[name][0], result[0], 1e-4, name + " logits")
        close(plain[name][1], result[1], 1e-5, name + " loss")
        for parameter, grad in result[2].items():
            close(plain[name][2][parameter], grad, 1e-4, name + " " + parameter)
        save(f"models/{name}/golden.safetensors", golden(tokens, labels, *result))
    # The same tied model in shards: its golden file is llama_tied's.
    sharded = os.path.join(HERE, "models", "llama_sharded")
    shutil.rmtree(sharded, ignore_errors=True)
    LlamaForCausalLM.from_pretrained(made["llama_tied"][0]).save_pretrained(sharded, max_shard_size="30KB")
    os.remove(os.path.join(sharded, "generation_config.json"))
    write_old_config(sharded)


main()
