"""4-bit and 8-bit block quantization by bitsandbytes on the CPU.

    python make_nf4.py

Everything of NF4 must equal nf4.py's (the rule Lorikeet follows) bit for bit, the second level too. There bitsandbytes' CPU path looks the
nearest entry up in a table of 65,536 steps, which is not exact for about one value in 600; on these inputs it makes no difference.
"""
import bitsandbytes.functional as bnb
import numpy as np
import torch

import nf4
from common import save


def matrix(rows, columns, seed):
    w = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.1
    return w * (1 + torch.arange(rows)[:, None] % 7)  # rows of unequal size


def edges():
    """A block of zeros, one of equal values, one of the thresholds themselves, negative zero, a tiny block, a lone spike."""
    middle = torch.from_numpy((nf4.NF4[:-1] + nf4.NF4[1:]) * np.float32(0.5))
    blocks = torch.zeros(6, 64)
    blocks[1] = -0.25
    blocks[2, 0], blocks[2, 1:16] = 1, middle
    blocks[3, ::2], blocks[3, 5] = -0.0, 2
    blocks[4] = torch.linspace(-1e-30, 1e-30, 64)
    blocks[5, 17] = -3
    return blocks


def dequantize(packed, state):
    """The CPU kernel starts a new block at every row, the quantizer only every `block` elements: decode it as one long row."""
    shape, state.shape = state.shape, torch.Size([1, state.shape.numel()])
    return bnb.dequantize_4bit(packed, state).reshape(shape)


def check_fp4(w, packed, block):
    """The CPU path gives a magnitude of 0 either sign; otherwise its codes are sign and nearest magnitude."""
    theirs = np.stack([packed >> 4, packed & 15], 1).reshape(-1)
    blocks, absmax = nf4.absmax_blocks(w.numpy().reshape(-1), block)
    t = (blocks / np.where(absmax > 0, absmax, 1)[:, None]).reshape(-1)[: w.numel()]
    magnitude = np.array([0, 0.0625, 2, 3, 4, 6, 8, 12]) / 12
    nearest = np.searchsorted((magnitude[:-1] + magnitude[1:]) / 2, np.abs(t), side="left")
    code = np.array([0, 1, 6, 7, 4, 5, 2, 3])[nearest]
    assert np.array_equal(theirs & 7, code), "fp4 magnitudes"
    assert np.array_equal(theirs >> 3, np.where(code == 0, theirs >> 3, t < 0)), "fp4 signs"


def quantize(out, name, w, kind, block, nested):
    packed, state = bnb.quantize_4bit(w, blocksize=block, compress_statistics=nested, quant_type=kind)
    prefix = f"{name}.{kind}.{block}" + (".nested" if nested else "")
    out |= {f"{name}.w": w, f"{prefix}.codes": packed.flatten(), f"{prefix}.dequantized": dequantize(packed, state)}
    if nested:
        out |= {f"{prefix}.scale_codes": state.absmax, f"{prefix}.nested_absmax": state.state2.absmax,
                f"{prefix}.nested_map": state.state2.code, f"{prefix}.offset": state.offset.reshape(1)}
    else:
        out[f"{prefix}.absmax"] = state.absmax
    if kind == "nf4":
        ours = nf4.quantize(w.numpy(), block, double_quant=nested)
        assert np.array_equal(ours["codes"], packed.flatten().numpy()), prefix
        if nested:
            for n, theirs in (("scale_codes", state.absmax), ("nested_absmax", state.state2.absmax), ("offset", state.offset.reshape(1))):
                assert np.array_equal(ours[n], theirs.numpy()), f"{prefix} {n}"
        else:
            assert np.array_equal(ours["absmax"], state.absmax.numpy()), prefix
        assert np.array_equal(ours["dequantized"], out[f"{prefix}.dequantized"].numpy()), prefix
    else:
        check_fp4(w, packed.flatten().numpy(), block)


def main():
    out = {}
    for kind in ("nf4", "fp4"):
        for block in (32, 64, 256):
            quantize(out, "matrix", matrix(37, 96, 1), kind, block, nested=False)  # 3552 elements: a partial last block
        quantize(out, "edges", edges(), kind, 64, nested=False)
    quantize(out, "large", matrix(120, 144, 2), "nf4", 64, nested=True)  # 270 blocks: two blocks of scales, the second partial
    out["nf4_table"], out["fp4_table"] = bnb.get_4bit_type("nf4", device="cpu"), bnb.get_4bit_type("fp4", device="cpu")
    out["signed_map"], out["unsigned_map"] = bnb.create_dynamic_map(signed=True), bnb.create_dynamic_map(signed=False)
    save("nf4.safetensors", out)


main()
