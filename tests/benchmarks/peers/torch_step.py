#!/usr/bin/env python3
"""Training steps of a model of SmolLM2-135M's shape by PyTorch, transformers, PEFT and bitsandbytes, on the CPU.

    OMP_NUM_THREADS=2 python tests/benchmarks/peers/torch_step.py --method=qlora --tokens=4x256 --steps=5

Does what tests/benchmarks/step_benchmark.cc does: rank 16 on every linear layer, a loss on the second half of each
sequence, the gradient clipped to norm 1, AdamW. One step warms up, or --warmup of them, and is not counted. Prints one
JSON object. README.md beside this file says what the settings mean and why these are the defaults.
"""
import argparse
import contextlib
import time
import warnings

import torch
from torch.nn import functional

from measure import peak_resident_bytes, print_result, say, seconds_since_process_start, thread_environment, versions
import smollm2_shape

LEARNING_RATE = 2e-4


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=("lora", "dora", "qlora", "qdora"), default="lora")
    parser.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    parser.add_argument("--tokens", default="4x256", help="sequences x tokens of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="timed steps")
    parser.add_argument("--warmup", type=int, default=1, help="steps before them")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--adapters", choices=("autocast", "f32", "bf16"), default="autocast",
                        help="with bf16: f32 adapters computed in bf16; stored and computed in f32; or in bf16")
    parser.add_argument("--compile", choices=("none", "layers", "model"), default="none",
                        help="torch.compile of nothing, of each decoder layer and the loss, or of the model and it")
    flags = parser.parse_args()
    flags.sequences, flags.length = (int(word) for word in flags.tokens.split("x"))
    if flags.dtype == "f32":
        if flags.method.startswith("q"):
            parser.error("--dtype=f32 goes with lora and dora")
        flags.adapters = "f32"
    return flags


def adapted_model(flags):
    from peft import LoraConfig, get_peft_model

    base = smollm2_shape.model(torch.bfloat16 if flags.dtype == "bf16" else torch.float32)
    base.config.use_cache = False
    if flags.method.startswith("q"):
        smollm2_shape.quantize(base)
    adapter = LoraConfig(r=flags.rank, lora_alpha=2 * flags.rank, lora_dropout=0.0, target_modules="all-linear",
                         use_dora=flags.method.endswith("dora"), task_type="CAUSAL_LM")
    model = get_peft_model(base, adapter, autocast_adapter_dtype=flags.adapters != "bf16")
    model.train()
    if flags.compile == "layers":
        for layer in base.model.layers:
            layer.compile(dynamic=False)
    elif flags.compile == "model":
        base.model.compile(dynamic=False)
    return base, model


def cross_entropy(logits, targets):
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets)


class Step:
    """One step of training: forward, backward, clip, update."""

    def __init__(self, flags, base, model):
        self.flags, self.model = flags, model
        generator = torch.Generator().manual_seed(3)
        self.tokens = torch.randint(base.config.vocab_size, (flags.sequences, flags.length), generator=generator)
        half = flags.length // 2
        self.targets = self.tokens[:, half:].flatten()
        # Logits only where there is a loss: a position predicts the token after it.
        self.with_loss = torch.arange(half - 1, flags.length - 1)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.loss = cross_entropy if flags.compile == "none" else torch.compile(cross_entropy, dynamic=False)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)

    def forward(self):
        precision = contextlib.nullcontext()
        if self.flags.adapters == "autocast":
            precision = torch.autocast("cpu", torch.bfloat16)
        with precision:
            logits = self.model(input_ids=self.tokens, logits_to_keep=self.with_loss).logits
        return self.loss(logits, self.targets)

    def run(self):
        loss = self.forward()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def main():
    flags = parse_flags()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(flags.threads)
    torch.set_flush_denormal(True)
    base, model = adapted_model(flags)
    step = Step(flags, base, model)
    casting = contextlib.nullcontext()
    if flags.adapters == "autocast":
        # Else PEFT widens its input to the adapters' f32, and autocast narrows it again: two copies for nothing.
        from peft.helpers import disable_input_dtype_casting
        casting = disable_input_dtype_casting(model)
    seconds, cpu_seconds, losses, start_seconds = [], [], [], None
    with casting:
        for i in range(flags.warmup + flags.steps):
            begin, cpu_begin = time.perf_counter(), time.process_time()
            losses.append(step.run())
            elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu_begin
            start_seconds = start_seconds or seconds_since_process_start()
            say(f"step {i}: {elapsed:.3f} s, {cpu:.3f} s of processors, loss {losses[-1]:.4f}")
            if i >= flags.warmup:
                seconds.append(elapsed)
                cpu_seconds.append(cpu)
    if not losses[-1] < losses[0]:
        raise SystemExit(f"the loss on the same tokens did not fall: {losses}")
    packages = ["torch", "transformers", "peft"] + (["bitsandbytes"] if flags.method.startswith("q") else [])
    print_result(peer="PEFT", what="step", method=flags.method, dtype=flags.dtype, tokens=flags.tokens,
                 threads=flags.threads,
                 settings={"adapters": flags.adapters, "compile": flags.compile, "rank": flags.rank,
                           "attention": "sdpa", "environment": thread_environment()},
                 versions=versions(*packages), seconds=seconds, cpu_seconds=cpu_seconds,
                 tokens_per_second=flags.sequences * flags.length / min(seconds),
                 peak_resident_bytes=peak_resident_bytes(), start_seconds=start_seconds,
                 weights_bytes=smollm2_shape.stored_bytes(model), losses=losses)


if __name__ == "__main__":
    main()
