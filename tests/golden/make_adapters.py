"""Adapters written by PEFT on the tiny checkpoints, with logits, loss and adapter gradients.

    python make_adapters.py [NAME...]        (after make_models.py)

Values come from an f64 run with the adapter's and the base's f32 values. A and B are both non-zero, and DoRA's magnitudes are
not the row norms, so that no gradient is zero by construction. The first key of a pattern that matches wins, and PEFT sorts the
keys when it saves, so overlapping keys are given in sorted order here: any other order would change its meaning on reloading.
"""
import os
import shutil
import sys

if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT writes sets in hash order
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})

import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

import nf4
from common import HERE, batch, close, golden, run, save, use_true_f64

PLAIN = dict(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
# name: (base model, 4-bit base?, LoraConfig)
ADAPTERS = {
    "lora": ("llama_untied", False, PLAIN),
    "rslora": ("llama_tied", False, PLAIN | dict(use_rslora=True)),
    "patterns": ("llama_untied", False, PLAIN | dict(
        target_modules=["q_proj", "v_proj", "down_proj"], exclude_modules=["layers.0.mlp.down_proj"],
        rank_pattern={"layers.1.self_attn.q_proj": 2, "v_proj": 6}, alpha_pattern={"layers.0.self_attn.q_proj": 5, "q_proj": 3})),
    "regex": ("qwen2", False, PLAIN | dict(target_modules=r".*\.layers\.1\..*\.(k|o|up)_proj")),
    "dora": ("qwen2", False, PLAIN | dict(use_dora=True)),
    "qlora": ("llama_untied", True, PLAIN),
    "qdora": ("qwen2", True, PLAIN | dict(use_dora=True, use_rslora=True)),
    "layers": ("llama_tied", False, PLAIN | dict(target_modules=["q_proj", "up_proj"], layers_to_transform=[1])),
    "bias_all": ("qwen2", False, PLAIN | dict(target_modules=["k_proj", "o_proj"], bias="all")),
    "bias_lora_only": ("qwen2", False, PLAIN | dict(target_modules=["k_proj", "o_proj"], bias="lora_only")),
    # "norm" is the end of every layer norm's path too.
    "whole": ("llama_untied", False, PLAIN | dict(target_modules=["q_proj"], modules_to_save=["lm_head", "norm", "0.mlp"])),
    "whole_tied": ("llama_tied", False, PLAIN | dict(
        target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    "embedding": ("llama_untied", False, PLAIN | dict(target_modules=["q_proj", "embed_tokens", "lm_head"])),
    # Their bases are what the initialisation left: a reader has to take the same out again.
    "pissa": ("llama_untied", False, PLAIN | dict(init_lora_weights="pissa")),
    "olora": ("llama_untied", False, PLAIN | dict(init_lora_weights="olora", use_rslora=True)),
    "gaussian": ("llama_tied", False, PLAIN | dict(init_lora_weights="gaussian", target_modules=["v_proj"])),
    "gemma3": ("gemma3", False, PLAIN),
    "gpt2": ("gpt2", False, PLAIN | dict(fan_in_fan_out=True)),
    "gpt2_dora": ("gpt2", False, PLAIN | dict(fan_in_fan_out=True, use_dora=True, target_modules=["c_attn"])),
    "gpt2_qlora": ("gpt2", True, PLAIN | dict(fan_in_fan_out=True)),
    "phi3": ("phi3", False, PLAIN),
    "qwen3": ("qwen3", False, PLAIN),
    # Rows of an embedding that is the head too, and of either.
    "tokens_tied": ("llama_tied", False, PLAIN | dict(target_modules=["q_proj"], trainable_token_indices=[3, 96, 17])),
    "tokens": ("llama_untied", False, PLAIN | dict(
        target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [5, 41], "lm_head": [2, 80, 9]})),
}
# The same adapter as "pissa" and "olora", converted to an ordinary one by PEFT.
CONVERTED = ("pissa", "olora")


def quantize_base(model):
    """Every Linear but the head becomes its NF4 (block 64, double quantization over 256) image; a Conv1D as the Linear that it
    stands for."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "lm_head":
                module.weight.copy_(torch.from_numpy(nf4.quantize(module.weight.numpy())["dequantized"]))
            elif isinstance(module, Conv1D):
                module.weight.copy_(torch.from_numpy(nf4.quantize(module.weight.T.contiguous().numpy())["dequantized"]).T)
    return model


def fill(model, seed, moved):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if moved and p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
            elif "lora_A" in name or "lora_B" in name or "lora_embedding" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=generator))
            elif p.requires_grad and "lora_" not in name:  # whole modules, biases, rows
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
            elif "lora_magnitude" in name:
                p.mul_(0.8 + 0.4 * torch.rand(p.shape, generator=generator))


def disk_name(name):
    name = name.replace(".lora_magnitude_vector.default.weight", ".lora_magnitude_vector")
    name = name.replace(".modules_to_save.default.", ".").replace(".default.", ".")
    return name.removesuffix(".default")


def load_base(name, four_bit):
    model = AutoModelForCausalLM.from_pretrained(os.path.join("models", name), attn_implementation="sdpa")
    return quantize_base(model) if four_bit else model


def make(name, seed):
    base, four_bit, config = ADAPTERS[name]
    model = get_peft_model(load_base(base, four_bit), LoraConfig(**config))
    directory = os.path.join("adapters", name)
    shutil.rmtree(directory, ignore_errors=True)
    start = os.path.join(tempfile.mkdtemp(), "start")
    if name in CONVERTED:
        model.peft_config["default"].init_lora_weights = True  # else loading the start would take it out once more
        model.save_pretrained(start)
        model.peft_config["default"].init_lora_weights = config["init_lora_weights"]
    fill(model, seed, name in CONVERTED)
    model.save_pretrained(directory)
    os.remove(os.path.join(directory, "README.md"))
    if name in CONVERTED:
        shutil.rmtree(directory + "_converted", ignore_errors=True)
        model.save_pretrained(directory + "_converted", path_initial_model_for_weight_conversion=start)
        os.remove(os.path.join(directory + "_converted", "README.md"))
    tokens, labels = batch(97, seed + 1)
    logits, loss, grads = run(model.double(), tokens, labels)
    grads = {disk_name(n): g for n, g in grads.items()}
    assert all(g.abs().max() > 0 for g in grads.values())
    again = run(PeftModel.from_pretrained(load_base(base, four_bit), directory, is_trainable=True), tokens, labels)
    close(again[0], logits, 1e-4, name + " logits")
    for n, g in again[2].items():
        close(g, grads[disk_name(n)], 1e-4, name + " " + n)
    save(f"adapters/{name}/golden.safetensors", golden(tokens, labels, logits, loss, grads))


os.chdir(HERE)  # so that adapter_config.json names its base relative to this folder
use_true_f64()
for i, name in enumerate(ADAPTERS):
    if name in (sys.argv[1:] or ADAPTERS):
        make(name, 1000 + 10 * i)
