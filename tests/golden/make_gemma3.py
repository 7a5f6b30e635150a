"""Gemma 3 270M: token ids, logits and greedy text by transformers, from its own reading of the GGUF file.

    python make_gemma3.py MODEL.gguf        (tools/fetch_model gemma3-270m; 3 GB of memory, a few minutes on 2 cores)

Versions: requirements.txt. The golden values come from an f64 run; the unmodified f32 model must agree first.
"""
import os
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import close, greedy, last_logits, save, use_true_f64

LONG = "\n".join(f"{i}. The {color} bird sat on the {place} and sang {i * 7 % 10} songs." for i, (color, place) in enumerate(
    (c, p) for c in ("red", "green", "blue", "grey", "white") for p in ("roof", "fence", "old oak tree", "bridge", "chimney", "wall", "gate", "hill", "well")))
PROMPTS = [
    "The capital of France is",
    "<start_of_turn>user\nWhat is the largest planet of our solar system?<end_of_turn>\n<start_of_turn>model\n",
    "def fibonacci(n):\n    \"\"\"Returns the n-th Fibonacci number.\"\"\"\n",
    "Es war einmal ein kleines M\u00e4dchen. \u6c34\u306f\u51b7\u305f\u304b\u3063\u305f. \U0001f30a\n\nTranslation: Once upon a time, there was",
    LONG,  # longer than the window of 512
]
# Texts that a user may write: runs, tags, markers that must stay text, bytes without a token.
TEXTS = ["", " ", "  two   spaces\n\n\n\tx", "a" + " " * 40 + "b", "\t\t\n \n", "<table><tr>1</tr></table></s><b>", "It's 12345.67 o'clock; THEY'LL see 3 x 4 = 12.",
         "na\u00efve caf\u00e9 e\u0301 \u6f22\u5b57 \u041f\u0440\u0438\u0432\u0435\u0442 \U0001f426 \u00bd", "\u2581a\u2581\u2581 b", "\u0378\u0379 \U000e0041", "\ufeff\u200b\u00a0x\u3000y",
         "<start_of_turn>user\nHi<end_of_turn>\n<bos><eos><pad><unk><mask>", "<unused0><start_of_image>[multimodal]<0x41>", "\u0000\u0001\r\n", "def f(x):\n        return x\n"]
GREEDY = 32
COLUMNS = np.arange(4096) * 64 + 5


def main():
    directory, file = os.path.split(os.path.abspath(sys.argv[1]))
    tokenizer = AutoTokenizer.from_pretrained(directory, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(directory, gguf_file=file, dtype=torch.float32).eval()
    ids = [tokenizer.encode(p) for p in PROMPTS]
    assert len(ids[-1]) > 600 and all(i[0] == tokenizer.bos_token_id for i in ids)
    f32_logits = [last_logits(model, i) for i in ids]
    texts = [greedy(model, i, GREEDY) for i in ids[:4]]
    use_true_f64()
    model = model.double()
    rows = torch.stack([last_logits(model, i) for i in ids])
    for i, (a, b) in enumerate(zip(f32_logits, rows)):
        close(a, b, 1e-5, f"logits {i}")
    print(f"smallest distances of a greedy token to the next best: {[f'{min(m):.4f}' for _, m in texts]}")
    top = rows.topk(64)
    out = {"columns": COLUMNS.astype(np.int32), "logits": rows[:, COLUMNS].float(), "top_ids": top.indices.int(), "top_logits": top.values.float(),
           "greedy": np.array([t for t, _ in texts], np.int32)}
    tokenizer.backend_tokenizer.encode_special_tokens = True
    for i, prompt in enumerate(PROMPTS):
        out[f"prompt.{i}"] = np.array(ids[i], np.int32)
    for i, text in enumerate(TEXTS):
        out[f"text.{i}"] = np.frombuffer(text.encode(), np.uint8)
        out[f"ids.{i}"] = np.array(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
    save("gemma3_270m/logits.safetensors", out)


main()
