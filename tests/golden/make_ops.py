"""Values and gradients of single operations, by PyTorch in f64, on odd shapes.

    python make_ops.py

For an operation OP with inputs x, w, ...: `OP.x`, `OP.w`, ... and `OP.y` are inputs and output, `OP.dy` the gradient that goes in,
`OP.dx`, `OP.dw`, ... those that come out. All f64 but for integer inputs.
"""
import torch
import torch.nn.functional as F

from common import IGNORED, save

OUT = {}
GENERATOR = torch.Generator().manual_seed(7)


def randn(*shape, scale=1.0):
    # Rounded to f32, so that an f32 implementation starts from the same numbers.
    return (scale * torch.randn(shape, generator=GENERATOR)).double()


def record(op, f, inputs, constants=None):
    """Runs f(*inputs) forward and backward with a random dy and stores everything."""
    leaves = {n: t.clone().requires_grad_() for n, t in inputs.items()}
    y = f(*leaves.values())
    dy = randn(*y.shape)
    y.backward(dy)
    OUT.update({f"{op}.{n}": t for n, t in (inputs | (constants or {})).items()})
    OUT.update({f"{op}.y": y.detach(), f"{op}.dy": dy} | {f"{op}.d{n}": t.grad for n, t in leaves.items()})


def rms_norm(x, w, eps=1e-6):
    return F.rms_norm(x, (x.shape[-1],), w, eps)


def rope(x, cos, sin):
    """Split-half rotation of x [tokens, heads, head_dim]."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rope_interleaved(x, cos, sin):
    """The same rotation of neighbouring pairs (2i, 2i+1)."""
    a, b = x[..., 0::2], x[..., 1::2]
    cos, sin = cos[:, None, :], sin[:, None, :]
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)


def attention(q, k, v, mask=None, causal=False):
    """q [tokens, heads, head_dim], k and v [keys, kv_heads, head_dim]; head h reads key-value head h * kv_heads / heads."""
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)
    return y[0].transpose(0, 1)


def attention_inputs(tokens, keys, heads, kv_heads, head_dim):
    return {"q": randn(tokens, heads, head_dim), "k": randn(keys, kv_heads, head_dim), "v": randn(keys, kv_heads, head_dim)}


def norms_and_pointwise():
    record("rms_norm", rms_norm, {"x": randn(3, 37), "w": randn(37)})
    record("rms_norm_small", lambda x, w: rms_norm(x, w, 1e-5), {"x": randn(5, 8, scale=1e-3), "w": randn(8)})
    record("silu", F.silu, {"x": torch.cat([randn(61, scale=3), torch.tensor([0.0, -0.0, 100, -100, 20, -20], dtype=torch.float64)])})
    record("swiglu", lambda gate, up: F.silu(gate) * up, {"gate": randn(3, 17), "up": randn(3, 17)})
    record("softmax", lambda x: x.softmax(-1), {"x": randn(5, 13, scale=4)})
    record("log_softmax", lambda x: x.log_softmax(-1), {"x": randn(4, 11, scale=10)})
    record("matmul_nt", lambda x, w: x @ w.T, {"x": randn(7, 19), "w": randn(5, 19)})
    ids = torch.tensor([3, 0, 3, 10, 6, 3])
    record("embedding", lambda w: F.embedding(ids, w), {"w": randn(11, 5)}, {"ids": ids.int()})


def losses():
    targets = torch.tensor([2, 0, IGNORED, 12, 5, IGNORED])
    mean = lambda x: F.cross_entropy(x, targets, ignore_index=IGNORED).reshape(1)
    record("cross_entropy", mean, {"x": randn(6, 13, scale=3)}, {"targets": targets.int()})
    x = randn(6, 13, scale=3)
    x[0, 2], x[1, 0], x[3, 4] = 1e4, -1e4, 1e4
    record("cross_entropy_extreme", mean, {"x": x}, {"targets": targets.int()})
    head = lambda h, w: F.cross_entropy(h @ w.T, targets, ignore_index=IGNORED, reduction="sum").reshape(1) / 10
    record("linear_cross_entropy", head, {"h": randn(6, 9), "w": randn(13, 9)}, {"targets": targets.int()})


def rotations():
    positions = torch.tensor([0, 1, 2, 7, 100, 4095])
    angle = positions[:, None].double() * 10000.0 ** (-torch.arange(0, 6, dtype=torch.float64) / 6)
    constants = {"positions": positions.int(), "cos": angle.cos(), "sin": angle.sin()}
    record("rope", lambda x: rope(x, angle.cos(), angle.sin()), {"x": randn(6, 3, 12)}, constants)
    record("rope_interleaved", lambda x: rope_interleaved(x, angle.cos(), angle.sin()), {"x": randn(6, 3, 12)}, constants)


def attentions():
    causal = lambda *t: attention(*t, causal=True)
    record("attention", attention, attention_inputs(5, 5, 3, 3, 7))
    record("attention_causal", causal, attention_inputs(13, 13, 3, 3, 10))
    record("attention_gqa", causal, attention_inputs(11, 11, 6, 2, 9))
    record("attention_one_token", causal, attention_inputs(1, 1, 4, 1, 8))
    # 4 new tokens after 9 cached ones: query i sees keys 0 .. 9+i.
    cached = torch.arange(13)[None, :] <= 9 + torch.arange(4)[:, None]
    record("attention_cached", lambda *t: attention(*t, mask=cached), attention_inputs(4, 13, 4, 2, 6))
    # Three documents in one row: cu_seqlens 0, 5, 6, 17; a query sees earlier tokens of its own document.
    document = torch.tensor([0] * 5 + [1] + [2] * 11)
    packed = (document[:, None] == document[None, :]) & torch.ones(17, 17).tril().bool()
    record("attention_packed", lambda *t: attention(*t, mask=packed), attention_inputs(17, 17, 4, 2, 6),
           {"cu_seqlens": torch.tensor([0, 5, 6, 17]).int()})
    # A window of 4: query i sees keys i-3 .. i.
    window = torch.ones(11, 11).tril().bool() & ~torch.ones(11, 11).tril(-4).bool()
    record("attention_window", lambda *t: attention(*t, mask=window), attention_inputs(11, 11, 2, 1, 6))


def gpt2s_and_gemmas():
    gelu = lambda x: F.gelu(x, approximate="tanh")
    record("gelu", gelu, {"x": torch.cat([randn(61, scale=3), torch.tensor([0.0, -0.0, 100, -100, 20, -20], dtype=torch.float64)])})
    record("geglu", lambda gate, up: gelu(gate) * up, {"gate": randn(3, 17, scale=2), "up": randn(3, 17)})
    record("layer_norm", lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b, 1e-5), {"x": randn(3, 37), "w": randn(37), "b": randn(37)})

    def capped(q, k, v):
        """Causal, one key-value head for all, scores s become 2 * tanh(s / 2)."""
        s = torch.einsum("thd,sd->hts", q, k[:, 0]) / q.shape[-1] ** 0.5
        s = 2 * torch.tanh(s / 2) + torch.full(s.shape[1:], float("-inf"), dtype=s.dtype).triu(1)
        return torch.einsum("hts,sd->thd", s.softmax(-1), v[:, 0])

    record("attention_softcap", capped, attention_inputs(11, 11, 3, 1, 6))


norms_and_pointwise()
losses()
rotations()
attentions()
gpt2s_and_gemmas()  # last, so that the others' numbers stay
save("ops.safetensors", OUT)
