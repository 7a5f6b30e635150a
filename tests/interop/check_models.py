"""Every family of models against transformers: logits to 1e-4 in f32, over random weights in the shapes of tests/golden/models.

For each: the logits of the same checkpoint; of the checkpoint that our merge writes, read by transformers; and with a random
adapter of PEFT's on every linear layer.
"""
import os
import tempfile

import torch
import transformers
from peft import LoraConfig, get_peft_model

import common

BAR = 1e-4
MODELS = os.path.join(common.ROOT, "tests", "golden", "models")


def theirs():
    return f"transformers {transformers.__version__}"


def refill(model, seed):
    """Other weights than the files', as large; norms stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" not in name and "ln_" not in name:
                p.copy_((0.5 if "embed" in name else 0.2) * torch.randn(p.shape, generator=generator))


def adapted(folder, directory, ids):
    fan_in_fan_out = "gpt2" in directory
    model = get_peft_model(common.load(directory), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM",
                                                               fan_in_fan_out=fan_in_fan_out))
    refill_adapter = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.copy_(0.1 * torch.randn(p.shape, generator=refill_adapter))
    adapter = os.path.join(folder, "adapter")
    model.save_pretrained(adapter)
    return common.difference(common.our_logits(directory, ids, f"--adapter={adapter}"), common.their_logits(model.eval(), ids))


def merged(folder, directory, ids):
    written = os.path.join(folder, "written")
    common.run("apps/merge", f"--model={directory}", f"--output_dir={written}", "--dtype=f32")
    return common.difference(common.their_logits(common.load(written), ids), common.their_logits(common.load(directory), ids))


def main():
    for i, name in enumerate(sorted(os.listdir(MODELS))):
        if name == "llama_sharded":  # llama_tied in pieces
            continue
        with tempfile.TemporaryDirectory() as folder:
            model = common.load(os.path.join(MODELS, name))
            refill(model, 40 + i)
            directory = common.save_model(model, os.path.join(folder, name))
            ids = common.tokens(shape=(2, 31))
            common.attempt(f"model {name}: logits", theirs(), BAR,
                           lambda: common.difference(common.our_logits(directory, ids), common.their_logits(common.load(directory), ids)))
            common.attempt(f"model {name}: written by ours, read by transformers", theirs(), BAR, lambda: merged(folder, directory, ids))
            common.attempt(f"model {name}: with an adapter of PEFT's", theirs(), BAR, lambda: adapted(folder, directory, ids))


main()
