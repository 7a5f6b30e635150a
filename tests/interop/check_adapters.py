"""Adapters between PEFT and ours, in both directions: the same logits to 1e-4 in f32.

From PEFT: random adapters of every kind that is supported, saved by save_pretrained, in f32, f16 and bf16. To PEFT: adapters that our
finetune trained for a few steps, with every method, initialisation and what trains beside adapters, loaded by
PeftModel.from_pretrained over the same base.
"""
import os
import shlex
import tempfile

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import common

BAR = 1e-4
TINY = dict(vocab_size=common.VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0, eos_token_id=0, pad_token_id=None)
BASES = {"untied": lambda: LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=False)),
         "tied": lambda: LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=True)),
         "bias": lambda: Qwen2ForCausalLM(Qwen2Config(**TINY, tie_word_embeddings=True))}
ALL = dict(target_modules="all-linear")
SOME = dict(target_modules=["q_proj", "v_proj"])
FROM_PEFT = {
    "LoRA": ("untied", ALL),
    "LoRA, tied head": ("tied", ALL),
    "rsLoRA": ("untied", ALL | dict(use_rslora=True)),
    "DoRA": ("untied", ALL | dict(use_dora=True)),
    "rank_pattern, alpha_pattern": ("untied", SOME | dict(rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 3})),
    "target_modules, a regular expression": ("untied", dict(target_modules=r".*\.1\..*(up|down)_proj")),
    "exclude_modules, layers_to_transform": ("untied", SOME | dict(exclude_modules=["v_proj"], layers_to_transform=[1])),
    "bias all": ("bias", SOME | dict(bias="all")),
    "bias lora_only": ("bias", SOME | dict(bias="lora_only")),
    "modules_to_save": ("untied", SOME | dict(modules_to_save=["lm_head", "embed_tokens", "norm"])),
    "modules_to_save, tied": ("tied", SOME | dict(modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    "trainable_token_indices": ("untied", SOME | dict(trainable_token_indices={"embed_tokens": [5, 41], "lm_head": [2, 80]})),
    "trainable_token_indices, tied": ("tied", SOME | dict(trainable_token_indices=[3, 96])),
    "embedding and head": ("untied", dict(target_modules=["embed_tokens", "lm_head", "o_proj"])),
    "PiSSA, not converted": ("untied", ALL | dict(init_lora_weights="pissa")),
    "OLoRA, not converted": ("untied", ALL | dict(init_lora_weights="olora")),
}
TO_PEFT = {
    "LoRA": ("untied", "--method=lora"),
    "DoRA": ("untied", "--method=dora"),
    "rsLoRA": ("tied", "--method=lora --use_rslora"),
    "LoRA+": ("untied", "--method=lora --loraplus_lr_ratio=16"),
    "gaussian": ("untied", "--init_lora_weights=gaussian"),
    "orthogonal": ("untied", "--init_lora_weights=orthogonal"),
    "PiSSA": ("untied", "--init_lora_weights=pissa"),
    "PiSSA, randomised": ("untied", "--init_lora_weights=pissa_niter_4"),
    "PiSSA, rsLoRA": ("untied", "--init_lora_weights=pissa --use_rslora"),
    "PiSSA, DoRA": ("untied", "--init_lora_weights=pissa --method=dora"),
    "OLoRA": ("untied", "--init_lora_weights=olora"),
    "bias all": ("bias", "--bias=all --target_modules=q_proj"),
    "bias lora_only": ("bias", "--bias=lora_only --target_modules=q_proj"),
    "modules_to_save": ("untied", "--modules_to_save=lm_head,norm --target_modules=q_proj,up_proj"),
    "modules_to_save, tied": ("tied", "--modules_to_save=embed_tokens --ensure_weight_tying --target_modules=q_proj"),
    "trainable_token_indices": ("untied", "'--trainable_token_indices={\"embed_tokens\": [70, 71], \"lm_head\": [68]}'"),
    "trainable_token_indices, tied": ("tied", "--trainable_token_indices=[70,71]"),
    "embedding and head": ("untied", "--target_modules=embed_tokens,lm_head,v_proj"),
    "rank_pattern, alpha_pattern": ("untied", "'--rank_pattern={\"0.self_attn.q_proj\": 2, \"q_proj|v_proj\": 6}' '--alpha_pattern={\"up_proj\": 3.5}'"),
    "layers_to_transform": ("untied", "--layers_to_transform=0 --exclude_modules=up_proj"),
}


def theirs():
    return f"peft {peft.__version__}"


def randomise(model, seed):
    """Moves everything that trains, so that nothing starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=generator))


def from_peft(folder, bases, name):
    base, config = FROM_PEFT[name]
    directory = os.path.join(folder, "adapter")
    model = get_peft_model(common.load(bases[base]), LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **config))
    randomise(model, 5)
    model.save_pretrained(directory)
    ids = common.tokens()
    return common.difference(common.our_logits(bases[base], ids, f"--adapter={directory}"), common.their_logits(model.eval(), ids))


def in_dtype(folder, bases, dtype):
    from_peft(folder, bases, "LoRA")
    file = os.path.join(folder, "adapter", "adapter_model.safetensors")
    save_file({n: t.to(dtype) for n, t in load_file(file).items()}, file, metadata={"format": "pt"})
    ids = common.tokens()
    model = PeftModel.from_pretrained(common.load(bases["untied"]), os.path.join(folder, "adapter"))
    ours = common.our_logits(bases["untied"], ids, f"--adapter={os.path.join(folder, 'adapter')}")
    return common.difference(ours, common.their_logits(model.eval(), ids))


def to_peft(folder, bases, name):
    base, flags = TO_PEFT[name]
    data, directory = os.path.join(folder, "rows.jsonl"), os.path.join(folder, "adapter")
    with open(data, "w", encoding="utf-8") as f:
        f.write('{"prompt": "count to 3", "completion": "123"}\n{"prompt": "say", "completion": "yes"}\n' * 4)
    common.run("apps/finetune", f"--model={bases[base]}", f"--data={data}", f"--output_dir={directory}", "--compute_dtype=f32",
               "--chat_template=plain", "--max_steps=3", "--batch_size=2", "--lora_r=4", "--learning_rate=1e-2",
               "--max_seq_length=32", *shlex.split(flags))
    ids = common.tokens()
    model = PeftModel.from_pretrained(common.load(bases[base]), directory).eval()
    plain = common.their_logits(common.load(bases[base]), ids)
    with_adapter = common.their_logits(model, ids)
    ours = common.our_logits(bases[base], ids, f"--adapter={directory}")
    moved = common.difference(with_adapter, plain)
    assert moved > 100 * BAR, f"training moved no logit by more than {moved}"
    return common.difference(ours, with_adapter), f"training moved logits by {moved:.2g}"


def main():
    with tempfile.TemporaryDirectory() as root:
        bases = {}
        for i, (name, make) in enumerate(BASES.items()):
            model = make()
            common.fill(model, i)
            bases[name] = common.save_model(model, os.path.join(root, name))
        for name in FROM_PEFT:
            with tempfile.TemporaryDirectory() as folder:
                common.attempt(f"adapter from PEFT: {name}", theirs(), BAR, lambda: from_peft(folder, bases, name))
        for dtype in (torch.float16, torch.bfloat16):
            with tempfile.TemporaryDirectory() as folder:
                common.attempt(f"adapter from PEFT: {str(dtype)[6:]}", theirs(), BAR, lambda: in_dtype(folder, bases, dtype))
        for name in TO_PEFT:
            with tempfile.TemporaryDirectory() as folder:
                common.attempt(f"adapter to PEFT: {name}", theirs(), BAR, lambda: to_peft(folder, bases, name))


main()
