#!/usr/bin/env python3
"""What PyTorch, and PEFT with bitsandbytes where they are installed, reach on this GPU: beside //tests/gpu:gpu_benchmark.

    python tests/benchmarks/peers/torch_gpu.py [--parts=kernels,steps]

Prints one JSON object a line, under the name that gpu_benchmark gives the same work. kernels: a bf16 product, flash
attention (SDPBackend.FLASH_ATTENTION) forward and backward, a copy. steps: Llama-3-8B's shape with random weights made
on the device, NF4 with double quantization, rank 16 on every linear layer, gradient checkpointing, 4 x 2048 tokens, fused
AdamW: what a user of PEFT writes. Times are by events, the best of several.
"""
import argparse
import json
import sys

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel


def say(name, **figures):
    print(json.dumps({"name": name, **figures}), flush=True)


def seconds_of(run, calls=20, rounds=3):
    run()
    best = float("inf")
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(calls):
            run()
        end.record()
        torch.cuda.synchronize()
        best = min(best, 1e-3 * begin.elapsed_time(end) / calls)
    return best


def product():
    m, n, k = 8192, 14336, 4096
    x, w = (torch.randn(rows, k, device="cuda", dtype=torch.bfloat16) for rows in (m, n))
    seconds = seconds_of(lambda: functional.linear(x, w))
    say(f"matmul/bf16/{m}x{n}x{k}", tflops=2e-12 * m * n * k / seconds)


def attention(kv_heads):
    sequences, length, heads, d = 4, 2048, 32, 128
    q = torch.randn(sequences, heads, length, d, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    k, v = (torch.randn(sequences, kv_heads, length, d, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in "kv")
    pair = 2 * d * heads * sequences * length * (length + 1) / 2
    name = f"{sequences}x{length}x{heads}x{d}/kv{kv_heads}"

    def forward():
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=kv_heads != heads)

    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        seconds = seconds_of(forward)
        say(f"attention/forward/{name}", tflops=2e-12 * pair / seconds)
        y = forward()
        dy = torch.randn_like(y)
        seconds = seconds_of(lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True))
        say(f"attention/backward/{name}", tflops=5e-12 * pair / seconds)


def copy():
    x = torch.zeros(1 << 28, device="cuda")
    y = torch.empty_like(x)
    say("copy", gb_per_second=2e-9 * x.numel() * 4 / seconds_of(lambda: y.copy_(x)))


def llama_in_four_bits():
    import bitsandbytes as bnb
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192, tie_word_embeddings=False)
    with torch.device("meta"):
        lm = LlamaForCausalLM._from_config(shape, dtype=torch.bfloat16, attn_implementation="sdpa")
    for name, module in list(lm.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        weight = torch.empty(module.weight.shape, device="cuda", dtype=torch.bfloat16).uniform_(-0.035, 0.035)
        quantized = bnb.nn.Linear4bit(module.in_features, module.out_features, bias=False, device="meta",
                                      compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4")
        quantized.weight = bnb.nn.Params4bit(weight, requires_grad=False, compress_statistics=True, quant_type="nf4",
                                             module=quantized).to("cuda")
        parent, _, leaf = name.rpartition(".")
        setattr(lm.get_submodule(parent), leaf, quantized)
    for name, parameter in list(lm.named_parameters()):
        if parameter.device.type == "meta":
            parent, _, leaf = name.rpartition(".")
            value = torch.empty(parameter.shape, device="cuda", dtype=torch.bfloat16)
            value.uniform_(-0.035, 0.035) if value.dim() > 1 else value.fill_(1)
            setattr(lm.get_submodule(parent), leaf, torch.nn.Parameter(value, requires_grad=False))
    lm.model.rotary_emb = type(lm.model.rotary_emb)(shape).to("cuda")
    lm.is_loaded_in_4bit = True
    return lm


def step(sequences, length=2048):
    from peft import LoraConfig, get_peft_model

    lm = llama_in_four_bits()
    lm.config.use_cache = False
    lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    lm.enable_input_require_grads()
    model = get_peft_model(lm, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
    tokens = torch.randint(128256, (sequences, length), device="cuda")
    torch.cuda.reset_peak_memory_stats()

    def run():
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = seconds_of(run, calls=1, rounds=3)
    say(f"step/llama3-8b/qlora-{sequences}x{length}-checkpointing", tokens_per_second=sequences * length / seconds,
        peak_MB=1e-6 * torch.cuda.max_memory_allocated())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="kernels,steps")
    parts = parser.parse_args().parts.split(",")
    if not torch.cuda.is_available():
        sys.exit("torch_gpu.py: torch finds no GPU")
    if "kernels" in parts:
        copy()
        product()
        for kv_heads in (32, 8):
            attention(kv_heads)
    if "steps" in parts:
        try:
            import bitsandbytes  # noqa: F401
            import peft  # noqa: F401
        except ImportError as e:
            say("steps", missing=str(e))
            return
        for sequences in (4, 1):
            step(sequences)


main()
