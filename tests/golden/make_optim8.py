"""AdamW with moments in 8 bits, by bitsandbytes on the CPU: 20 steps.

    python make_optim8.py

`cpu` is bitsandbytes.optim.AdamW8bit as it is. Its CPU quantizer looks the nearest entry of the map up in a table of 65,536
steps, which turns zeros and second moments below 1.5e-5 of the block's largest into that much: a gradient 300 times smaller than
its neighbours' hardly moves its parameter any more. `exact` is the same optimizer with the nearest entry in its place (nf4.py's
rule, which is bitsandbytes' on CUDA but for an approximate reciprocal). The gradients of `exact` reach down there, those of
`cpu` mostly do not.
"""
import bitsandbytes
import numpy as np
import torch
from bitsandbytes.backends.cpu import ops

import nf4
from common import save

STEPS, SHAPES = 20, [(70, 60), (16, 256), (1000,)]  # 8 bits with a short last block; the least that has 8 bits; f32
LR, BETAS, EPS, DECAY = 1e-2, (0.9, 0.999), 1e-8, 0.1


def uniform(stream, n):
    """In [-1, 1), multiples of 2^-23; README.md has the formula."""
    i = np.uint64(stream * 2**16) + np.arange(n, dtype=np.uint64)
    h = (i * np.uint64(2654435761) + np.uint64(12345)) % np.uint64(2**32) >> np.uint64(8)
    return ((h.astype(np.float64) - 2**23) / 2**23).astype(np.float32)


def plain_gradient(step, i, n):
    return torch.from_numpy(uniform(100 * (i + 1) + step, n))


def gradient(step, i, n):
    """Sizes over three decades within a tensor and over three between steps; every seventh element has none."""
    e = np.arange(n)
    g = uniform(100 * (i + 1) + step, n) * np.exp2(-(e % 11) - 3 * (step % 4)).astype(np.float32)
    return torch.from_numpy(np.where(e % 7 == 0, np.float32(0), g))


def exact(x, code, absmax_out, out, blocksize):
    blocks, absmax = nf4.absmax_blocks(x.flatten().numpy(), blocksize)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = nf4.nearest(code.numpy(), np.where(absmax[:, None] > 0, blocks / absmax[:, None], code[0].item()).astype(np.float32))
    absmax_out.copy_(torch.from_numpy(absmax))
    out.copy_(torch.from_numpy(q.reshape(-1)[: x.numel()].reshape(x.shape)))


def train(out, name, gradient):
    parameters = [torch.nn.Parameter(torch.from_numpy(uniform(i, int(np.prod(s)))).reshape(s)) for i, s in enumerate(SHAPES)]
    optimizer = bitsandbytes.optim.AdamW8bit(parameters, lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
    for k in range(STEPS):
        for i, p in enumerate(parameters):
            p.grad = gradient(k, i, p.numel()).reshape(p.shape)
        optimizer.param_groups[0]["lr"] = float(np.float32(LR * (k + 1) / STEPS))
        optimizer.step()
    for i, p in enumerate(parameters):
        state = optimizer.state[p]
        out[f"{name}.p.{i}"] = p.detach()
        for ours, theirs in (("m", "state1"), ("v", "state2")):
            out[f"{name}.{ours}.{i}"] = state[theirs].clone()
            if state[theirs].dtype == torch.uint8:
                out[f"{name}.{ours}_absmax.{i}"] = state["absmax1" if ours == "m" else "absmax2"].clone()
    assert [optimizer.state[p]["state1"].dtype for p in parameters] == [torch.uint8, torch.uint8, torch.float32]


def main():
    out = {}
    train(out, "cpu", plain_gradient)
    ops._quant_blockwise_fp32_direct = exact
    train(out, "exact", gradient)
    save("optim8.safetensors", out)


main()
