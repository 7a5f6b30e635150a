"""NF4 with double quantization in numpy: IEEE f32 arithmetic, nearest code, the canonical 8-bit map.

This is the rule Lorikeet promises (bitsandbytes' own, with IEEE division instead of an approximate reciprocal). self_check()
holds it against published digests of its output.
"""
import hashlib

import numpy as np

NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)
f32 = np.float32


def dynamic_map():
    """The signed 8-bit map: midpoints of linspace(0.1, 1) in 7 decades. The product is exact in f64, so each f32() is one rounding."""
    values = [0.0, 1.0]
    for i in range(7):
        k = 2**i
        step = f32((f32(1) - f32(0.1)) / f32(k))
        n = k + 1
        edge = [f32(float(step) * j + float(f32(0.1))) if j < n // 2 else f32(1.0 - float(step) * (n - 1 - j)) for j in range(n)]
        for a, b in zip(edge, edge[1:]):
            value = float(f32(f32(f32(a) + f32(b)) / f32(2))) * float(f32(10.0 ** (i - 6)))
            values += [f32(value), f32(-value)]
    return np.sort(np.array(values, f32))


MAP = dynamic_map()


def nearest(table, t):
    """Index of the nearest entry; a tie goes to the lower index."""
    middle = ((table[:-1] + table[1:]) * f32(0.5)).astype(f32)
    return np.searchsorted(middle, t, side="left").astype(np.uint8)


def absmax_blocks(flat, block):
    padded = np.concatenate([flat, np.zeros(-len(flat) % block, f32)]).reshape(-1, block)
    return padded, np.abs(padded).max(axis=1)


def quantize(w, block=64, scale_block=256, double_quant=True):
    """Returns a dict of the packed form and `dequantized`, of w's shape."""
    flat = np.asarray(w, f32).reshape(-1)
    blocks, absmax = absmax_blocks(flat, block)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(absmax[:, None] > 0, blocks * (f32(1) / absmax)[:, None], f32(0)).astype(f32)
    code = nearest(NF4, t).reshape(-1)
    pairs = code[: (len(flat) + 1) // 2 * 2].reshape(-1, 2)
    out = {"codes": (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8), "absmax": absmax}
    scale = absmax
    if double_quant:
        offset = f32(absmax.astype(np.float64).mean())
        d, a2 = absmax_blocks((absmax - offset).astype(f32), scale_block)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(a2[:, None] > 0, d / a2[:, None], f32(-1)).astype(f32)
        q = nearest(MAP, t)
        scale = ((MAP[q] * a2[:, None]).astype(f32) + offset).astype(f32).reshape(-1)[: len(absmax)]
        out |= {"scale_codes": q.reshape(-1)[: len(absmax)], "nested_absmax": a2, "offset": np.array([offset], f32)}
    value = (NF4[code.reshape(-1, block)] * scale[:, None]).astype(f32).reshape(-1)[: len(flat)]
    return out | {"dequantized": value.reshape(np.shape(w))}


def self_check():
    digest = lambda a: hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()
    assert digest(MAP) == "e732639a65f497b4ad684bb166a4467708255edd5207757de8b8f0c7e1fda89c"
    h = ((np.arange(32768, dtype=np.uint64) * 2654435761 + 12345) % 2**32) >> 8
    q = quantize((h.astype(np.float64) - 8388608) / 8388608)
    assert digest(q["codes"]) == "21186d0a0e596f5c2e6d447cb81ba16304d43ea942c17de83d96b3b6f602a750"
    assert digest(q["scale_codes"]) == "1954596304764e37b651ef3a401cbd5204d2fe000a71bfe586035026cce78322"
    assert q["offset"][0] == f32(0.9914675354957581)
    assert [x.view(np.uint32) for x in q["nested_absmax"]] == [0x3C4D2540, 0x3C4E6740]


self_check()
