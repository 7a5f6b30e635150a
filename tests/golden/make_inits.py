"""Where PEFT starts an adapter: PiSSA, OLoRA and LoftQ on one small weight, by PEFT itself.

    python make_inits.py

`w` [out, in] is f32. `pissa.product`, `olora.product` are s*B*A of PEFT's factors and `pissa.base`, `olora.base` the weight that it
leaves. `olora.a`, `olora.b` are the factors; `pissa.s` the singular values. PEFT runs LoftQ on a GPU only, so `loftq.product` is its
formula, the best rank-r approximation of w - dequantized(w), by torch.linalg.svd over bitsandbytes' NF4 (nf4.py); `loftq.base` is
what the codes decode to. All values are f64 but `w` and `loftq.base`.
"""
import torch
from peft import LoraConfig, get_peft_model

import nf4
from common import save

RANK, ALPHA, OUT, IN = 4, 12, 24, 64


class Model(torch.nn.Module):
    def __init__(self, w):
        super().__init__()
        self.layer = torch.nn.Linear(IN, OUT, bias=False)
        self.layer.weight = torch.nn.Parameter(w.clone())

    def forward(self, x):
        return self.layer(x)


def start(w, init):
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["layer"], init_lora_weights=init)
    layer = get_peft_model(Model(w), config).base_model.model.layer
    a, b = layer.lora_A["default"].weight.detach().double(), layer.lora_B["default"].weight.detach().double()
    return a, b, layer.scaling["default"] * b @ a, layer.base_layer.weight.detach().double()


w = torch.randn(OUT, IN, generator=torch.Generator().manual_seed(11))
out = {"w": w}
for init in ("pissa", "olora"):
    a, b, product, base = start(w, init)
    assert (product + base - w.double()).abs().max() < 1e-5
    out |= {f"{init}.product": product, f"{init}.base": base}
out |= {"olora.a": a, "olora.b": b, "pissa.s": torch.linalg.svdvals(w.double())[:RANK]}
decoded = torch.from_numpy(nf4.quantize(w.numpy())["dequantized"])
u, s, vt = torch.linalg.svd(w.double() - decoded.double(), full_matrices=False)
out |= {"loftq.base": decoded, "loftq.product": u[:, :RANK] * s[:RANK] @ vt[:RANK]}
save("inits.safetensors", out)
