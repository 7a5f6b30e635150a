#!/usr/bin/env python3
"""Prompt processing and greedy generation by llama.cpp, through llama-cpp-python.

    python tests/benchmarks/peers/llama_cpp_generate.py --model=$HOME/.cache/lorikeet/smollm2-135m.gguf --rounds=3

The prompt is digits, of which SmolLM2 makes a token each. Every round clears the cache, reads the prompt in one batch
and generates. Calls llama.cpp's own functions, so that no Python stands between two tokens but the loop itself. Prints
one JSON object.
"""
import argparse
import contextlib
import ctypes
import os
import tempfile
import time

import llama_cpp

from measure import peak_resident_bytes, print_result, say, seconds_since_process_start, thread_environment, versions

FILE_TYPES = {"bf16": llama_cpp.LLAMA_FTYPE_MOSTLY_BF16, "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
              "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .gguf file")
    parser.add_argument("--weights", choices=("file", *FILE_TYPES), default="file",
                        help="as the file has them, or converted before the clock starts")
    parser.add_argument("--prompt_tokens", type=int, default=512)
    parser.add_argument("--new_tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flash_attention", choices=("on", "off"), default="on")
    return parser.parse_args()


def convert(source, target, weights):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[weights]
    parameters.allow_requantize = True
    if llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)) != 0:
        raise SystemExit(f"llama.cpp cannot convert {source} to {weights}")


def run_round(model, prompt, new_tokens):
    """Seconds of the prompt and of the tokens after it."""
    context, sampler = model.ctx, llama_cpp.llama_sampler_init_greedy()
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)

    def feed(tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            raise SystemExit("llama_decode failed")
        return llama_cpp.llama_sampler_sample(sampler, context, -1)

    begin = time.perf_counter()
    token = feed(prompt)
    after_prompt = time.perf_counter()
    for _ in range(new_tokens):
        token = feed([token])
    end = time.perf_counter()
    llama_cpp.llama_sampler_free(sampler)
    return after_prompt - begin, end - after_prompt


def main():
    flags = parse_flags()
    with contextlib.ExitStack() as stack:
        path = flags.model
        if flags.weights != "file":
            path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), flags.weights + ".gguf")
            convert(flags.model, path, flags.weights)
        opened = time.perf_counter()
        model = llama_cpp.Llama(path, n_ctx=flags.prompt_tokens + flags.new_tokens + 1, n_batch=flags.prompt_tokens,
                                n_ubatch=flags.prompt_tokens, n_threads=flags.threads, n_threads_batch=flags.threads,
                                flash_attn=flags.flash_attention == "on", verbose=False)
        prompt = model.tokenize(b"0123456789" * flags.prompt_tokens, add_bos=False)[:flags.prompt_tokens]
        prompt_rates, rates, start_seconds = [], [], None
        for i in range(flags.rounds + 1):  # the first round maps the file into memory and is not counted
            prompt_seconds, seconds = run_round(model, prompt, flags.new_tokens)
            if start_seconds is None:
                start_seconds = seconds_since_process_start() - seconds
                if flags.weights != "file":
                    start_seconds = prompt_seconds + time.perf_counter() - opened - seconds  # not the conversion
                continue
            prompt_rates.append(len(prompt) / prompt_seconds)
            rates.append(flags.new_tokens / seconds)
            say(f"round {i}: prompt {prompt_rates[-1]:.1f} tokens/s, generation {rates[-1]:.1f} tokens/s")
        print_result(peer="llama.cpp", what="generate", weights=flags.weights, threads=flags.threads,
                     prompt_tokens=len(prompt), new_tokens=flags.new_tokens,
                     settings={"flash_attention": flags.flash_attention,
                               "system": llama_cpp.llama_print_system_info().decode().strip(),
                               "environment": thread_environment()},
                     versions=versions("llama-cpp-python"), prompt_tokens_per_second=prompt_rates,
                     tokens_per_second=rates, peak_resident_bytes=peak_resident_bytes(), start_seconds=start_seconds,
                     weights_bytes=llama_cpp.llama_model_size(model.model))


if __name__ == "__main__":
    main()
