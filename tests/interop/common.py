"""What the checks of this folder share: our programs, tiny models, and rows of the table that tools/check_interop prints."""
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
VOCAB = 97


def program(name):
    """One of ours, built by tools/check_interop."""
    return os.path.join(ROOT, "bazel-bin", *name.split("/"))


def run(name, *flags):
    """Runs a program of ours; its standard output."""
    done = subprocess.run([program(name), *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{name} {' '.join(flags)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def row(check, theirs, error, bar, note=""):
    """One row of the table. error: the largest difference found; NaN fails."""
    print(json.dumps({"check": check, "theirs": theirs, "error": error, "bar": bar, "pass": bool(error <= bar), "note": note}),
          flush=True)


def attempt(check, theirs, bar, measure):
    """row() of what measure() returns, or a failed row with what went wrong."""
    try:
        result = measure()
        error, note = result if isinstance(result, tuple) else (result, "")
    except Exception as e:  # the table goes on
        print(f"{check}: {type(e).__name__}: {e}", file=sys.stderr)
        error, note = float("inf"), f"{type(e).__name__}: {str(e).splitlines()[0][:100]}"
    row(check, theirs, error, bar, note)


def write_tokenizer_config(directory, eos):
    with open(os.path.join(directory, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos}, f)


def write_tokenizer(directory):
    """One token for every printable character: enough for programs that want text."""
    alphabet = ["<|end|>"] + [chr(c) for c in range(33, 127)] + ["\u0120", "\u010a"]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(os.path.join(directory, "tokenizer.json"))
    write_tokenizer_config(directory, "<|end|>")


def fill(model, seed, scale=0.2):
    """Weights large enough that every path matters; norms around 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if "norm" in name or "ln_" in name else scale * noise)


def save_model(model, directory):
    model.save_pretrained(directory)
    write_tokenizer(directory)
    return directory


def load(directory, **kwargs):
    return AutoModelForCausalLM.from_pretrained(directory, **kwargs).eval()


def tokens(seed=3, shape=(2, 17), vocab=VOCAB):
    return torch.randint(1, vocab, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int32)


def our_logits(directory, ids, *flags):
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = os.path.join(folder, "tokens.safetensors"), os.path.join(folder, "logits.safetensors")
        save_file({"tokens": ids.contiguous()}, asked)
        run("tests/interop/logits", f"--model={directory}", f"--tokens={asked}", f"--output={answered}", *flags)
        return load_file(answered)["logits"]


def their_logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids.long(), use_cache=False).logits.float()


def difference(ours, theirs):
    """The largest, or NaN."""
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)}")
    return (ours.double() - theirs.double()).abs().max().item()
