#!/usr/bin/env python3
"""Prompt processing and greedy generation by transformers, on a model of SmolLM2-135M's shape with random weights.

    OMP_NUM_THREADS=2 python tests/benchmarks/peers/torch_generate.py --weights=bf16 --rounds=3

nf4 goes through bitsandbytes, which has a product for generation on CPUs with AVX-512. Prints one JSON object.
"""
import argparse
import time
import warnings

import torch
from transformers import GenerationConfig, StoppingCriteria

from measure import peak_resident_bytes, print_result, say, seconds_since_process_start, thread_environment, versions
import smollm2_shape


class Clock(StoppingCriteria):
    """Asked after every token whether to stop; notes the time instead."""

    def __init__(self):
        self.times = []

    def __call__(self, input_ids, scores, **kwargs):
        self.times.append(time.perf_counter())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", choices=("bf16", "f32", "nf4"), default="bf16")
    parser.add_argument("--prompt_tokens", type=int, default=512)
    parser.add_argument("--new_tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", choices=("dynamic", "static"), default="static")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the forward pass, for --cache=static")
    return parser.parse_args()


def make_model(flags):
    model = smollm2_shape.model(torch.float32 if flags.weights == "f32" else torch.bfloat16)
    if flags.weights == "nf4":
        smollm2_shape.quantize(model)
    model.eval()
    if flags.compile:
        model.forward = torch.compile(model.forward)
    return model


def main():
    flags = parse_flags()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(flags.threads)
    model = make_model(flags)
    prompt = torch.randint(1000, 40000, (1, flags.prompt_tokens), generator=torch.Generator().manual_seed(3))
    # One token more than is timed: the first comes out of the prompt.
    config = GenerationConfig(max_new_tokens=flags.new_tokens + 1, do_sample=False, eos_token_id=None, pad_token_id=0,
                              cache_implementation=flags.cache if flags.cache == "static" else None)
    prompt_rates, rates, start_seconds = [], [], None
    for i in range(flags.rounds + 1):  # the first warms up and is not counted
        clock = Clock()
        begin = time.perf_counter()
        with torch.inference_mode():
            model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config,
                           stopping_criteria=[clock])
        seconds = clock.times[-1] - clock.times[0]
        if i == 0:
            start_seconds = seconds_since_process_start() - seconds
            continue
        prompt_rates.append(flags.prompt_tokens / (clock.times[0] - begin))
        rates.append(flags.new_tokens / seconds)
        say(f"round {i}: prompt {prompt_rates[-1]:.1f} tokens/s, generation {rates[-1]:.1f} tokens/s")
    packages = ["torch", "transformers"] + (["bitsandbytes"] if flags.weights == "nf4" else [])
    print_result(peer="transformers", what="generate", weights=flags.weights, threads=flags.threads,
                 prompt_tokens=flags.prompt_tokens, new_tokens=flags.new_tokens,
                 settings={"cache": flags.cache, "compile": flags.compile, "attention": "sdpa",
                           "environment": thread_environment()},
                 versions=versions(*packages), prompt_tokens_per_second=prompt_rates, tokens_per_second=rates,
                 peak_resident_bytes=peak_resident_bytes(), start_seconds=start_seconds,
                 weights_bytes=smollm2_shape.stored_bytes(model))


if __name__ == "__main__":
    main()
