"""Checkpoints in 4 bits, both ways between the programs of //apps and transformers with bitsandbytes. Makes no fixture.

    bazel build //apps:merge //apps:quantize //apps:evaluate
    python check_bnb.py [DIRECTORY_OR_GGUF]          (without: the small model that comes with Lorikeet)

For NF4 and FP4, with and without double quantization, in float32 and bfloat16:
  ours    quantize writes a directory; transformers loads it and computes the loss that evaluate computes
  theirs  transformers quantizes and saves; quantize writes that again, byte for byte; evaluate computes transformers' loss
and the two quantize the same weights: what differs is counted, and must be what is known to differ.
"""
import filecmp
import glob
import json
import os
import subprocess
import sys
import tempfile
import warnings

import torch
from bitsandbytes.nn import Linear4bit
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from common import HERE

warnings.filterwarnings("ignore")
ROOT = os.path.dirname(os.path.dirname(HERE))
TEXT = "Once upon a time there was a small bird who could count to twelve. Two and three make five, and five and seven make twelve."
# Of the loss: what float32 sums in another order, and what products in bfloat16, may differ by.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2}


def program(name, *args):
    command = [os.path.join(ROOT, "bazel-bin", "apps", name), *args]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout.decode()


def our_loss(directory, rows):
    return json.loads(program("evaluate", "--compute_dtype=f32", f"--model={directory}", f"--data={rows}").splitlines()[-1])


def their_loss(model, directory, tokens):
    """bitsandbytes' CPU product rounds its input to bfloat16 where nothing needs a gradient; where something does, it decodes."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([ids + [tokenizer.eos_token_id] * (tokens + 1 - len(ids))])
    model.eval().requires_grad_(False)
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_(True)
    logits = model(inputs_embeds=embedded, use_cache=False).logits.float()
    return torch.nn.functional.cross_entropy(logits[0, :-1].detach(), ids[0, 1:]).item()


def load(directory, dtype, **arguments):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, device_map="cpu", **arguments)
    layers = [m for m in model.modules() if isinstance(m, Linear4bit)]
    assert len(layers) == 7 * model.config.num_hidden_layers, len(layers)
    return model, layers


def check_loss(what, ours, theirs, dtype):
    difference = abs(ours - theirs)
    print(f"  {what:<40} loss {ours:.7f} (Lorikeet) {theirs:.7f} (transformers), difference {difference:.1e}")
    assert difference <= TOLERANCE[dtype], what


def tensors(directory):
    out = {}
    for path in glob.glob(os.path.join(directory, "*.safetensors")):
        with safe_open(path, "pt") as f:
            out |= {name: f.get_tensor(name) for name in f.keys()}
    return out


def codes(packed):
    return torch.stack([packed.flatten() >> 4, packed.flatten() & 15], 1).flatten().long()


def compare_quantizers(ours, theirs, dense, kind):
    """The two differ in codes of scales, which bitsandbytes' CPU path looks up in a table, and in FP4, where that path gives a zero
    either sign and a negative tie the code further from zero (its CUDA kernel: the nearer one, as here); a tie may be one by rounding."""
    scales, zeros, ties, weights = 0, 0, 0, 0
    for name in ours:
        a, b = ours[name], theirs[name]
        if a.dtype == b.dtype and torch.equal(a, b):
            continue
        if name.endswith(".absmax"):
            scales += (a != b).sum().item()
            continue
        assert kind == "fp4" and name.endswith(".weight"), name
        table, w = ours[name + ".quant_map"], dense[name].float().reshape(-1, 64)
        t = (w / w.abs().amax(1, keepdim=True)).flatten()
        x, y = table[codes(a)], table[codes(b)]
        middle = (x + y) / 2
        assert torch.all((x == y) | ((t - middle).abs() <= 1e-7)), name
        zeros += ((codes(a) != codes(b)) & (x == y)).sum().item()
        ties += (x != y).sum().item()
        weights += t.numel()
    counts = ((scales, "codes of scales"), (zeros, f"signs of zeros and {ties} ties of {weights} weights"))
    but = ", ".join(f"{n} {what}" for n, what in counts if n)
    print("  both quantizers give the same tensors" + (f", but for {but}" if but else ""))


def check(base, rows, folder, kind, double, dtype):
    short = "f32" if dtype == torch.float32 else "bf16"
    print(f"{kind}, {'double' if double else 'single'} quantization, {short}")
    flags = [f"--bnb_4bit_quant_type={kind}", f"--bnb_4bit_use_double_quant={str(double).lower()}"]
    ours, theirs, again = (os.path.join(folder, name) for name in ("ours", "theirs", "again"))
    program("quantize", f"--model={base}", f"--output_dir={ours}", f"--compute_dtype={short}", *flags)
    model, layers = load(ours, dtype)
    for layer in layers:
        state = layer.weight.quant_state
        assert (state.quant_type, state.nested, state.dtype) == (kind, double, dtype), state
    result = our_loss(ours, rows)
    check_loss("written by quantize", result["loss"], their_loss(model, ours, result["tokens"]), dtype)

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double, bnb_4bit_compute_dtype=dtype)
    model, _ = load(base, dtype, quantization_config=config)
    model.save_pretrained(theirs, max_shard_size="100KB" if double else "5GB")
    AutoTokenizer.from_pretrained(base).save_pretrained(theirs)
    program("quantize", f"--model={theirs}", f"--output_dir={again}")
    names = [os.path.basename(p) for p in glob.glob(os.path.join(theirs, "*.safetensors"))] + ["config.json"]
    same = filecmp.cmpfiles(theirs, again, names, shallow=False)
    assert not same[1] and not same[2], same
    result = our_loss(again, rows)
    check_loss("written by transformers and again", result["loss"], their_loss(model, theirs, result["tokens"]), dtype)
    a, b = tensors(ours), tensors(theirs)
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    print(f"  {len(names) - 1} file(s) byte for byte")
    compare_quantizers(a, b, tensors(base), kind)


def main():
    with tempfile.TemporaryDirectory() as folder:
        base, rows = os.path.join(folder, "base"), os.path.join(folder, "rows.jsonl")
        model = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(ROOT, "apps", "small_model")
        program("merge", f"--model={model}", f"--output_dir={base}", "--dtype=bf16")
        with open(rows, "w") as f:
            json.dump({"text": TEXT}, f)
        for dtype in (torch.float32, torch.bfloat16):
            for kind in ("nf4", "fp4"):
                for double in (False, True):
                    with tempfile.TemporaryDirectory() as inner:
                        check(base, rows, inner, kind, double, dtype)


main()
