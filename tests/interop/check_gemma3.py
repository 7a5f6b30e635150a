"""Gemma 3 270M out of its GGUF file (tools/fetch_model gemma3-270m) against transformers' own reading of the file, and llama.cpp.

Logits in f32 relative to the largest one: of a short text; of what our merge writes as a Hugging Face directory; of an adapter
trained here, by PEFT. In a text that is longer than the window some places are so sensitive that transformers in f32 misses its own
f64 by more than the bar, so there both are compared with f64, and ours may be no more than twice as far off. llama.cpp computes with
8-bit activations over the same 4- to 8-bit weights, so it is asked how often it prefers the token that we wrote.
"""
import importlib.util
import json
import os
import tempfile

import numpy as np
import peft
import torch
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import common

BAR = 1e-4  # of the largest logit
TIE = 1.0   # the largest distance at which llama.cpp may prefer another token
MODEL = os.path.expanduser("~/.cache/lorikeet/gemma3-270m.gguf")
SHORT = "The capital of France is Paris. Es war einmal ein kleines M\u00e4dchen.\n\n1. def f(x):\n    return x\n"
LONG = " ".join(f"Bird number {i} sang {i * 7 % 10} songs." for i in range(70))
PROMPTS = ("The capital of France is", "Once upon a time, in a forest far away,", "def add(a, b):\n    return")


def open_theirs():
    return AutoModelForCausalLM.from_pretrained(os.path.dirname(MODEL), gguf_file=os.path.basename(MODEL), dtype=torch.float32).eval()


def relative(ours, theirs):
    return common.difference(ours, theirs) / theirs.abs().max().item()


def true_f64(model, ids):
    """The logits of the model in f64 throughout; it stays so."""
    spec = importlib.util.spec_from_file_location("golden_common", os.path.join(common.ROOT, "tests", "golden", "common.py"))
    golden = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(golden)
    golden.use_true_f64()
    with torch.no_grad():
        return model.double()(input_ids=ids.long(), use_cache=False).logits


def check_long(tokenizer, model, name):
    """Comes last: the model is then in f64."""
    ids = torch.tensor([tokenizer.encode(LONG)], dtype=torch.int32)
    ours, theirs = common.our_logits(MODEL, ids), common.their_logits(model, ids)
    truth = true_f64(model, ids)
    bar = max(BAR, 2 * relative(theirs, truth))
    common.row("gemma3-270m: logits past the window, beside f64", name, relative(ours, truth), bar,
               f"{ids.shape[1]} tokens; transformers in f32 is {bar / 2:.1e} off")


def train(folder):
    rows, adapter = os.path.join(folder, "rows.jsonl"), os.path.join(folder, "adapter")
    with open(rows, "w", encoding="utf-8") as f:
        for i in range(32):
            f.write(json.dumps({"question": f"What is {i} plus 3?", "answer": f"It is {i + 3}."}) + "\n")
    common.run("apps/finetune", f"--model={MODEL}", f"--data={rows}", "--method=lora", "--chat_template=gemma3", "--max_steps=8", "--batch_size=2",
               "--max_seq_length=64", "--packing", "--learning_rate=1e-3", f"--output_dir={adapter}")
    with open(os.path.join(adapter, "metrics.jsonl"), encoding="utf-8") as f:
        losses = [m["loss"] for m in map(json.loads, f) if "loss" in m]
    return adapter, f"loss {losses[0]:.2f} to {losses[-1]:.2f} in {len(losses)} steps"


def merged(folder, ids, theirs):
    written = os.path.join(folder, "written")
    common.run("apps/merge", f"--model={MODEL}", f"--output_dir={written}", "--dtype=f32")
    return relative(common.their_logits(common.load(written, dtype=torch.float32), ids), theirs)


def check_transformers(folder):
    name = f"transformers {transformers.__version__}"
    tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(MODEL), gguf_file=os.path.basename(MODEL))
    model = open_theirs()
    ids = torch.tensor([tokenizer.encode(SHORT)], dtype=torch.int32)
    theirs = common.their_logits(model, ids)
    common.attempt("gemma3-270m: logits", name, BAR, lambda: (relative(common.our_logits(MODEL, ids), theirs), f"{ids.shape[1]} tokens"))
    common.attempt("gemma3-270m: written by ours, read by transformers", name, BAR, lambda: merged(folder, ids, theirs))

    def adapted():
        adapter, note = train(folder)
        ours = common.our_logits(MODEL, ids, f"--adapter={adapter}")
        wrapped = PeftModel.from_pretrained(model, adapter).eval()
        error = relative(ours, common.their_logits(wrapped, ids))
        wrapped.unload()
        return error, note
    common.attempt("gemma3-270m: with an adapter of ours", f"peft {peft.__version__}", BAR, adapted)
    check_long(tokenizer, model, name)


def check_llama_cpp():
    import llama_cpp
    model = llama_cpp.Llama(MODEL, n_ctx=256, logits_all=True, verbose=False, flash_attn=False)
    worst = same = total = 0
    for prompt in PROMPTS:
        text = common.run("apps/generate", f"--model={MODEL}", "--raw_prompt", "--compute_dtype=f32", "--max_tokens=48", f"--prompt={prompt}")
        head = model.tokenize(prompt.encode(), add_bos=True, special=False)
        ids = head + model.tokenize(text.removesuffix("\n").encode(), add_bos=False, special=False)
        model.reset()
        model.eval(ids)
        scores = np.array(model.scores[: len(ids)])
        if not np.isfinite(scores).all():
            raise ValueError("logits are not finite")
        gaps = [float(scores[at - 1].max() - scores[at - 1][ids[at]]) for at in range(len(head), len(ids))]
        worst, same, total = max([worst, *gaps]), same + sum(g == 0 for g in gaps), total + len(gaps)
    return worst, f"llama.cpp prefers our token at {same} of {total} places"


def main():
    with tempfile.TemporaryDirectory() as folder:
        check_transformers(folder)
    common.attempt("gemma3-270m: greedy text", "llama.cpp", TIE, check_llama_cpp)


main()
