"""Fifty steps of LoRA, QLoRA and DoRA on SmolLM2-135M by PEFT and by ours: the same start, data, order and settings.

    python tests/interop/loss_curves.py --model=SmolLM2.gguf [--data=gsm8k.jsonl] [--docs=docs]

transformers writes the model, bitsandbytes its 4-bit copy, PEFT the adapters as they start; ours (tests/interop/train_steps) reads
all three. Each then takes the same steps in f32 on the same token ids: AdamW without decay, gradients clipped to norm 1, a cosine
schedule after 5 steps of warm-up, dropout 0, the loss on the answers. Rows: the largest relative difference of any step's loss.
With --docs the curves are kept there: loss_curves_lorikeet.csv, loss_curves_peft.csv and loss_curves.svg.
Without --data the rows are sums in words that this script makes up.
"""
import argparse
import csv
import gc
import io
import json
import os
import random
import sys
import tempfile

import peft
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig, get_cosine_schedule_with_warmup

import common

sys.path.insert(0, os.path.join(common.ROOT, "tests", "golden"))
import smollm2  # noqa: E402

METHODS = ("lora", "qlora", "dora")
STEPS, ROWS, LENGTH, WARMUP, LEARNING_RATE, BAR = 50, 4, 96, 5, 1e-3, 1e-3
IGNORED = -100
COLORS = {"lora": "#1b6ca8", "qlora": "#b8500f", "dora": "#2e7d32"}


def made_up_rows():
    words = random.Random(1)
    for _ in range(4 * STEPS * ROWS):
        a, b, c = (words.randint(11, 99) for _ in range(3))
        name = words.choice(["Ann", "Bob", "Cleo", "Dan"])
        yield {"question": f"{name} has {a} apples, buys {b} more and gives {c} away. How many apples does {name} have now? "
                           f"Explain every step and write the result after four number signs.",
               "answer": f"{name} starts with {a} apples. After buying {b} more, {name} has {a} + {b} = {a + b} apples. Giving {c} away "
                         f"leaves {a + b} - {c} = {a + b - c} apples.\n#### {a + b - c}"}


def batches(model_file, data):
    """tokens, labels [STEPS, ROWS, LENGTH]: rows cut to LENGTH; shorter ones are passed over."""
    tokenizer = smollm2.build_tokenizer(model_file)
    source = (json.loads(line) for line in open(data, encoding="utf-8")) if data else made_up_rows()
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    tokens, labels = [], []
    for r in source:
        prompt = encode(f"<|im_start|>user\n{r['question']}<|im_end|>\n<|im_start|>assistant\n")
        row = prompt + encode(f"{r['answer']}<|im_end|>")
        if len(row) < LENGTH or len(prompt) > LENGTH - 8:
            continue
        tokens.append(row[:LENGTH])
        labels.append(([IGNORED] * len(prompt) + row[len(prompt):])[:LENGTH])
        if len(tokens) == STEPS * ROWS:
            break
    assert len(tokens) == STEPS * ROWS, f"{len(tokens)} rows are long enough, {STEPS * ROWS} are needed"
    shape = (STEPS, ROWS, LENGTH)
    return torch.tensor(tokens, dtype=torch.int32).reshape(shape), torch.tensor(labels, dtype=torch.int32).reshape(shape)


def write_models(folder, model_file):
    """The model in f32, and bitsandbytes' NF4 copy of it."""
    plain, packed = os.path.join(folder, "plain"), os.path.join(folder, "nf4")
    smollm2.build_model(smollm2.read_weights(model_file)).save_pretrained(plain)
    quantized = common.load(plain, quantization_config=BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32), dtype=torch.float32)
    quantized.save_pretrained(packed)
    tokenizer = smollm2.build_tokenizer(model_file)
    for directory in (plain, packed):
        tokenizer.save(os.path.join(directory, "tokenizer.json"))
        common.write_tokenizer_config(directory, "<|im_end|>")
    return {"lora": plain, "dora": plain, "qlora": packed}


def peft_losses(directory, method, adapter, tokens, labels):
    """Saves the adapter as it starts, then trains it."""
    torch.manual_seed(7)
    base = common.load(directory, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear",
                                            use_dora=method == "dora", task_type="CAUSAL_LM"))
    model.save_pretrained(adapter)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    losses = []
    for step in range(STEPS):
        logits = model(input_ids=tokens[step].long(), use_cache=False).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[step][:, 1:].flatten().long(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


def our_losses(directory, adapter, batches_file):
    out = common.run("tests/interop/train_steps", f"--model={directory}", f"--adapter={adapter}", f"--batches={batches_file}",
                     "--compute_dtype=f32", f"--learning_rate={LEARNING_RATE}", f"--warmup_steps={WARMUP}")
    return [float(r["loss"]) for r in csv.DictReader(io.StringIO(out))]


def write_csv(path, curves):
    with open(path, "w", encoding="utf-8") as f:
        f.write("step," + ",".join(curves) + "\n")
        for step, values in enumerate(zip(*curves.values()), 1):
            f.write(f"{step}," + ",".join(f"{v:.7g}" for v in values) + "\n")


def svg(ours, theirs):
    """PEFT's losses as circles, ours as lines through them."""
    width, height, left, top = 760, 380, 50, 20
    most = max(max(c) for c in theirs.values())
    least = min(min(c) for c in theirs.values())
    x = lambda step: left + step * (width - left - 20) / (STEPS - 1)
    y = lambda loss: top + (most - loss) / (most - least) * (height - top - 40)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for i in range(5):
        loss = least + (most - least) * i / 4
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(loss):.1f}" y2="{y(loss):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss:.2f}</text>')
    for step in (0, 9, 19, 29, 39, 49):
        out.append(f'<text x="{x(step):.1f}" y="{height - 22}" text-anchor="middle">{step + 1}</text>')
    out.append(f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">step (line: Lorikeet, circles: PEFT)</text>')
    for i, (method, curve) in enumerate(ours.items()):
        color = COLORS[method]
        out.append(f'<polyline fill="none" stroke="{color}" points="' + " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in enumerate(curve)) + '"/>')
        out += [f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="3" fill="none" stroke="{color}"/>' for s, v in enumerate(theirs[method])]
        out.append(f'<text x="{width - 90}" y="{top + 16 * (i + 1)}" fill="{color}">{method}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", default="")
    parser.add_argument("--docs", default="")
    flags = parser.parse_args()
    ours, theirs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        tokens, labels = batches(flags.model, flags.data)
        batches_file = os.path.join(folder, "batches.safetensors")
        save_file({"tokens": tokens, "labels": labels}, batches_file)
        models = write_models(folder, flags.model)
        for method in METHODS:
            adapter = os.path.join(folder, method)
            theirs[method] = peft_losses(models[method], method, adapter, tokens, labels)
            gc.collect()

            def measure():
                ours[method] = our_losses(models[method], adapter, batches_file)
                worst = max(abs(a - b) / b for a, b in zip(ours[method], theirs[method], strict=True))
                return worst, f"loss {theirs[method][0]:.4f} to {theirs[method][-1]:.4f}"

            common.attempt(f"loss of {STEPS} steps: {method}", f"peft {peft.__version__}", BAR, measure)
    if flags.docs and len(ours) == len(METHODS):
        write_csv(os.path.join(flags.docs, "loss_curves_lorikeet.csv"), ours)
        write_csv(os.path.join(flags.docs, "loss_curves_peft.csv"), theirs)
        with open(os.path.join(flags.docs, "loss_curves.svg"), "w", encoding="utf-8") as f:
            f.write(svg(ours, theirs))


main()
