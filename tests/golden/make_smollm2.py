"""SmolLM2-135M-Instruct: logits, greedy text and one training step of LoRA, QLoRA and DoRA, by transformers and PEFT.

    python make_smollm2.py MODEL.gguf GSM8K.jsonl

GSM8K.jsonl has rows {"question", "answer"} of GSM8K's training set (MIT licence), in its order; only the first is used.
"""
import json
import os
import sys
import time

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

import nf4
from common import IGNORED, causal_loss, close, greedy, last_logits, save, use_true_f64
from smollm2 import PROJECTIONS, build_model, build_tokenizer, checksum, mix, noise, read_weights

PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nWhat is the largest planet of our solar system?<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n    \"\"\"Returns the n-th Fibonacci number.\"\"\"\n",
    "Question: Tom has 12 apples. He gives 5 to Anna and buys 7 more. How many apples has he now?\nAnswer:",
    "Es war einmal ein kleines M\u00e4dchen, das lebte mit seiner Mutter in einem Dorf am Rande des Waldes. Jeden Morgen, wenn die Sonne "
    "\u00fcber die H\u00fcgel stieg, ging es hinaus, um Wasser zu holen. \u6c34\u306f\u51b7\u305f\u304b\u3063\u305f. \U0001f30a\n\nTranslation: Once upon a time, there was",
]
GREEDY = 64
COLUMNS = np.arange(4096) * 12 + 5
SAMPLES = 32


def fresh(weights):
    return build_model(weights).eval()


def make_logits(path, weights, tokenizer):
    loaded = AutoModelForCausalLM.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path), dtype=torch.float32).eval()
    state = loaded.state_dict()
    for name, w in weights.items():  # two independent readers of the file, bit for bit
        assert torch.equal(state[name], torch.from_numpy(w)), name
    ids = [tokenizer.encode(p, add_special_tokens=False).ids for p in PROMPTS]
    model = fresh(weights)
    f32_logits = [last_logits(model, i) for i in ids]
    close(last_logits(loaded, ids[0]), f32_logits[0], 1e-5, "transformers' own reading of the file")
    texts = [greedy(model, i, GREEDY) for i in ids]
    use_true_f64()
    f64_logits = [last_logits(model.double(), i) for i in ids]
    for i, (a, b) in enumerate(zip(f32_logits, f64_logits)):
        close(a, b, 1e-5, f"logits {i}")
    rows = torch.stack(f64_logits)
    top = rows.topk(64)
    out = {"columns": COLUMNS.astype(np.int32), "logits": rows[:, COLUMNS].float(), "top_ids": top.indices.int(), "top_logits": top.values.float(),
           "mean": rows.mean(-1), "logsumexp": rows.logsumexp(-1), "greedy": np.array([t for t, _ in texts], np.int32),
           "greedy_margin": np.array([m for _, m in texts], np.float32)}
    for i, prompt in enumerate(PROMPTS):
        out[f"prompt.{i}"] = np.array(ids[i], np.int32)
        out[f"prompt_text.{i}"] = np.frombuffer(prompt.encode(), np.uint8)
    out["weight_checksum"] = np.array([checksum(w) for w in weights.values()])
    save("smollm2/logits.safetensors", out)
    for i, (t, m) in enumerate(texts):
        print(len(ids[i]), "smallest margin", min(m), repr(tokenizer.decode(t))[:120])
    print("largest f32 - f64 difference of a logit", max((a - b).abs().max().item() for a, b in zip(f32_logits, f64_logits)))


def training_row(path, tokenizer):
    row = json.loads(open(path).readline())
    prompt = tokenizer.encode(f"<|im_start|>user\n{row['question']}<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False).ids
    answer = tokenizer.encode(f"{row['answer']}<|im_end|>", add_special_tokens=False).ids
    return np.array(prompt + answer), np.array([IGNORED] * len(prompt) + answer)


def adapter_names(dora):
    """The adapter's tensors in the order that numbers them: t = 0, 1, 2, ..."""
    kinds = ["lora_A.default.weight", "lora_B.default.weight"] + (["lora_magnitude_vector.default.weight"] if dora else [])
    return [f"base_model.model.model.layers.{layer}.{p}.{kind}" for layer in range(30) for p in PROJECTIONS for kind in kinds]


def fill(model, names):
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for t, name in enumerate(names):
            p = parameters[name]
            u = torch.from_numpy(noise(t, p.numel())).reshape(p.shape)
            if "magnitude" in name:
                w = model.get_submodule(name.split(".lora_magnitude")[0]).base_layer.weight
                p.copy_((w.double().pow(2).sum(1).sqrt() * (1 + u / 8)).float())
            else:
                p.copy_(u / (16 if "lora_A" in name else 32))
    return [parameters[n] for n in names]


def step(weights, tokens, labels, dora, double):
    model = get_peft_model(fresh(weights), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", use_dora=dora))
    parameters = fill(model, adapter_names(dora))
    model = model.double() if double else model
    logits = model(input_ids=torch.from_numpy(tokens)[None], use_cache=False).logits
    loss = causal_loss(logits, torch.from_numpy(labels)[None])
    loss.backward()
    assert sum(p.requires_grad for p in model.parameters()) == len(parameters)
    return loss.detach(), [p.grad.reshape(-1).double() for p in parameters]


def make_step(name, weights, tokens, labels, dora, extra):
    start = time.time()
    loss, grads = step(weights, tokens, labels, dora, double=True)
    plain_loss, plain = step(weights, tokens, labels, dora, double=False)
    close(plain_loss, loss, 1e-5, name + " loss")
    worst = max(((a - b).norm() / b.norm()).item() for a, b in zip(plain, grads))
    index = np.stack([mix(t * 2**20 + 2**19 + np.arange(SAMPLES)) % g.numel() for t, g in enumerate(grads)]).astype(np.int64)
    print(f"{name}: loss {loss.item():.6f}, f32 and f64 gradients differ by {worst:.1e} of their norm, {time.time() - start:.0f} s")
    assert worst < 5e-4
    save(f"smollm2/{name}.safetensors", {
        "tokens": tokens.astype(np.int32), "labels": labels.astype(np.int32), "loss": loss.double().reshape(1), "index": index.astype(np.int32),
        "grad": np.stack([g[i] for g, i in zip(grads, index)]).astype(np.float32), "norm": np.array([g.norm().item() for g in grads]),
        "dot": np.array([(g * torch.from_numpy(noise(t, g.numel(), 2**18))).sum().item() for t, g in enumerate(grads)]), **extra})


def main():
    path = os.path.abspath(sys.argv[1])
    weights, tokenizer = read_weights(path), build_tokenizer(path)
    make_logits(path, weights, tokenizer)
    tokens, labels = training_row(sys.argv[2], tokenizer)
    make_step("lora", weights, tokens, labels, False, {})
    make_step("dora", weights, tokens, labels, True, {})
    sums, packed = [], dict(weights)
    for name in (f"model.layers.{layer}.{p}.weight" for layer in range(30) for p in PROJECTIONS):
        q = nf4.quantize(weights[name])
        packed[name] = q["dequantized"]
        sums.append([checksum(q["codes"]), checksum(q["scale_codes"]), checksum(q["dequantized"])])
    make_step("qlora", packed, tokens, labels, False, {"checksum": np.array(sums)})
    make_step("qdora", packed, tokens, labels, True, {})


main()
