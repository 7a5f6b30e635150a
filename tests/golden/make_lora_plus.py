"""Three steps of AdamW with PEFT's LoRA+ groups on the adapters of make_adapters.py.

    python make_lora_plus.py        (after make_adapters.py)
"""
import os

import torch
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from common import HERE, run, save, use_true_f64

LR, RATIO, DECAY, STEPS = 1e-3, 16, 0.1, 3
BASES = {"lora": "llama_untied", "dora": "qwen2"}


def make(name):
    base = AutoModelForCausalLM.from_pretrained(os.path.join("models", BASES[name]), attn_implementation="sdpa")
    model = PeftModel.from_pretrained(base, os.path.join("adapters", name), is_trainable=True).double()
    optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=LR, loraplus_lr_ratio=RATIO, loraplus_weight_decay=DECAY)
    golden = load_file(os.path.join("adapters", name, "golden.safetensors"))
    for _ in range(STEPS):
        _, _, grads = run(model, golden["tokens"].long(), golden["labels"].long())
        assert all(g.abs().max() > 0 for g in grads.values())
        optimizer.step()
    disk = lambda n: n.replace(".lora_magnitude_vector.default.weight", ".lora_magnitude_vector").replace(".default.", ".")
    save(f"adapters/{name}/lora_plus.safetensors", {disk(n): p.float() for n, p in model.named_parameters() if p.requires_grad})


os.chdir(HERE)  # as make_adapters.py names bases
use_true_f64()
for name in BASES:
    make(name)
