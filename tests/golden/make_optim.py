"""AdamW, learning-rate schedules and gradient clipping, by PyTorch and transformers.

    python make_optim.py
"""
import numpy as np
import torch
from transformers import get_scheduler

from common import save

STEPS = 20
SHAPES = [(7,), (3, 5), (1,), (17, 16), (4, 3, 2)]
CASES = {  # last lr, betas, eps, weight_decay
    "default": (1e-2, (0.9, 0.999), 1e-8, 0.0),
    "decay": (2e-2, (0.9, 0.95), 1e-8, 0.1),
    "large_eps": (5e-3, (0.8, 0.99), 1e-3, 0.01),
}
SCHEDULES = ["constant", "constant_with_warmup", "linear", "cosine"]


def adamw(out, case, dtype, suffix):
    lr, betas, eps, decay = CASES[case]
    # The rate changes from step to step, as under a schedule; it is a number that f32 holds exactly.
    rates = (lr * np.arange(1, STEPS + 1) / STEPS).astype(np.float32)
    out[f"{case}.lr"] = rates
    generator = torch.Generator().manual_seed(42)
    parameters = [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in SHAPES]
    grads = [[torch.randn(s, generator=generator) * 10.0 ** (k % 4 - 2) for s in SHAPES] for k in range(STEPS)]
    # The plain loop, one tensor at a time: no fused or batched kernel.
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=betas, eps=eps, weight_decay=decay, foreach=False, fused=False)
    for i, p in enumerate(parameters):
        out[f"p0.{i}"] = p.detach().float().clone()
        out[f"grad.{i}"] = torch.stack([g[i] for g in grads])
    for k in range(STEPS):
        for p, g in zip(parameters, grads[k]):
            p.grad = g.to(dtype)
        optimizer.param_groups[0]["lr"] = rates[k].item()
        optimizer.step()
        if k + 1 in (1, 5, STEPS):
            for i, p in enumerate(parameters):
                out[f"{case}.{suffix}.p{k + 1}.{i}"] = p.detach().clone()
    for i, p in enumerate(parameters):
        out[f"{case}.{suffix}.m.{i}"] = optimizer.state[p]["exp_avg"]
        out[f"{case}.{suffix}.v.{i}"] = optimizer.state[p]["exp_avg_sq"]


def schedules(out, steps, warmup):
    for name in SCHEDULES:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
        rates = []
        for _ in range(steps):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        out[f"schedule.{name}.{steps}.{warmup}"] = np.array(rates)


def clipping(out):
    for case, (scale, limit) in enumerate([(1.0, 1.0), (1e-3, 1.0), (100.0, 0.3), (0.0, 1.0)]):
        generator = torch.Generator().manual_seed(case)
        parameters = [torch.nn.Parameter(torch.zeros(s, dtype=torch.float64)) for s in SHAPES]
        for i, p in enumerate(parameters):
            p.grad = (scale * torch.randn(p.shape, generator=generator)).double()
            out[f"clip{case}.grad.{i}"] = p.grad.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=False)
        out[f"clip{case}.limit"], out[f"clip{case}.norm"] = np.array([limit]), norm.reshape(1)
        for i, p in enumerate(parameters):
            out[f"clip{case}.clipped.{i}"] = p.grad


def main():
    out = {}
    for case in CASES:
        adamw(out, case, torch.float32, "f32")
        adamw(out, case, torch.float64, "f64")
    for steps, warmup in [(20, 0), (20, 5), (100, 3), (1, 0), (7, 7)]:
        schedules(out, steps, warmup)
    clipping(out)
    save("optim.safetensors", out)


main()
