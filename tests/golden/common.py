"""What the scripts of this folder share."""
import os

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from transformers.modeling_rope_utils import dynamic_rope_update
from transformers.utils import logging
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.gemma3 import modeling_gemma3
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral
from transformers.models.phi3 import modeling_phi3
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen3 import modeling_qwen3

HERE = os.path.dirname(os.path.abspath(__file__))
logging.disable_progress_bar()
IGNORED = -100  # the label of a token without loss


def save(path, tensors):
    """Writes {name: array or torch tensor} below this folder as safetensors; f64 stays f64."""
    arrays = {}
    for name, t in tensors.items():
        a = t.detach().cpu().numpy() if isinstance(t, torch.Tensor) else np.asarray(t)
        assert a.dtype.kind in "iu" or np.isfinite(a).all(), name
        arrays[name] = np.ascontiguousarray(a)
    path = os.path.join(HERE, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file(arrays, path)
    print(f"{os.path.relpath(path, HERE)}: {len(arrays)} tensors, {os.path.getsize(path)} bytes")


def use_true_f64():
    """transformers computes norms, rotation angles and Gemma 2's softmax in f32 whatever the model's dtype. These are the same formulas in
    the input's dtype, so that a model.double() is f64 throughout (the frequencies stay as f32 rounded them)."""

    def rms_norm(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    @dynamic_rope_update  # takes the frequencies of long sequences where a scheme has such
    def rotary(self, x, position_ids):
        angle = position_ids[..., None].to(x.dtype) * self.inv_freq.to(x.dtype)
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos() * self.attention_scaling, angle.sin() * self.attention_scaling

    def gemma_norm(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1 + self.weight)

    def gemma3_rotary(self, x, position_ids, layer_type):
        angle = position_ids[..., None].to(x.dtype) * getattr(self, layer_type + "_inv_freq").to(x.dtype)
        angle = torch.cat((angle, angle), dim=-1)
        scaling = getattr(self, layer_type + "_attention_scaling")
        return angle.cos() * scaling, angle.sin() * scaling

    def gemma2_attention(module, query, key, value, attention_mask, scaling, softcap, **kwargs):
        groups = module.num_key_value_groups
        scores = query @ key.repeat_interleave(groups, dim=1).transpose(2, 3) * scaling
        scores = torch.tanh(scores / softcap) * softcap + attention_mask
        return (scores.softmax(-1) @ value.repeat_interleave(groups, dim=1)).transpose(1, 2).contiguous(), None

    modeling_gemma2.Gemma2RMSNorm.forward = gemma_norm
    modeling_gemma2.Gemma2RotaryEmbedding.forward = rotary
    modeling_gemma2.eager_attention_forward = gemma2_attention
    modeling_gemma3.Gemma3RMSNorm.forward = gemma_norm
    modeling_gemma3.Gemma3RotaryEmbedding.forward = gemma3_rotary
    for module, prefix in ((modeling_llama, "Llama"), (modeling_mistral, "Mistral"), (modeling_phi3, "Phi3"),
                           (modeling_qwen2, "Qwen2"), (modeling_qwen3, "Qwen3")):
        getattr(module, prefix + "RMSNorm").forward = rms_norm
        getattr(module, prefix + "RotaryEmbedding").forward = rotary


def causal_loss(logits, labels):
    """Mean cross-entropy over the tokens with a label; labels are not shifted (labels[t] is the token at t)."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


def run(model, tokens, labels):
    """Returns logits, loss and {name: gradient} of everything trainable."""
    model.eval()
    model.zero_grad(set_to_none=True)
    logits = model(input_ids=tokens, use_cache=False).logits
    loss = causal_loss(logits, labels)
    loss.backward()
    return logits.detach(), loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def batch(vocab, seed, shape=(2, 11)):
    """Random tokens; the first sequence's first 3 and the second's first 5 labels are ignored: answers of unequal length."""
    tokens = torch.randint(0, vocab, shape, generator=torch.Generator().manual_seed(seed))
    labels = tokens.clone()
    labels[0, :3] = IGNORED
    labels[1, :5] = IGNORED
    return tokens, labels


def golden(tokens, labels, logits, loss, grads):
    """The tensors of a model's golden file: f32 rounded from an f64 run, the loss itself in f64."""
    out = {"tokens": tokens.int(), "labels": labels.int(), "logits": logits.float(), "loss": loss.double().reshape(1)}
    return out | {f"grad.{n}": g.float() for n, g in grads.items()}


def close(a, b, tolerance, what):
    """Fails where a is further than tolerance, relative to b's largest element, from b (or not a number)."""
    difference = ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()
    assert difference <= tolerance, f"{what}: {difference} > {tolerance}"


def last_logits(model, ids):
    """Logits of the last of these tokens, [vocab]."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


def greedy(model, ids, count):
    """`count` greedy token ids, without stopping, and for each the distance of its logit to the next best."""
    tokens, margins, cache, step = [], [], None, torch.tensor([ids])
    with torch.no_grad():
        for _ in range(count):
            out = model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            top = out.logits[0, -1].topk(2)
            tokens.append(top.indices[0].item())
            margins.append((top.values[0] - top.values[1]).item())
            step = torch.tensor([[tokens[-1]]])
    return tokens, margins
