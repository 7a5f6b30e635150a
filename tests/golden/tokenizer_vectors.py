"""Small tokenizers of every family and vectors for them, trained and encoded by the `tokenizers` package.

    python tokenizer_vectors.py                              writes tokenizer_families/, which the tests read
    python tokenizer_vectors.py --count=100000 --out=DIR     the same families with more strings, for a long check:
        bazel test //apps/text:oracle_test --test_env=LORIKEET_TOKENIZER_VECTORS=DIR --sandbox_add_mount_pair=DIR
    python tokenizer_vectors.py --count=100000 --out=DIR --gguf=MODEL.gguf     and SmolLM2's own vocabulary

Each family is trained on its own strings, so that a trainer can be checked on the same files. README.md has the format.
"""
import argparse
import json
import os
import random

import zstandard
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import make_tokenizer as base

HERE = os.path.dirname(os.path.abspath(__file__))
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "llama3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+" + TAIL,
    "qwen2": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+" + TAIL,
    "qwen35": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+" + TAIL,
}
FAMILIES = ["gpt2", "smollm", "llama3", "qwen2", "qwen35"]
MARKERS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ADDED = [  # every flag once
    AddedToken("<tool_call>", normalized=False),
    AddedToken("<mask>", lstrip=True, normalized=False, special=True),
    AddedToken("<right>", rstrip=True, normalized=False, special=True),
    AddedToken("solo", single_word=True, normalized=False),
    AddedToken("caf\u00e9", normalized=True),
    AddedToken("<|im", normalized=False),
]
MARKED = [
    "<|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n", "a<|endoftext|>b", " <|im_end|> ", "<|im_start|", "<<|im_start|>>",
    "<|im_end|><|im_en", "x \n <mask>  y", "x<mask><mask> <mask>", "<right> \n z<right>", "<right>  <mask> <right>\u3000<mask>",
    "solo so solos solo_ (solo) so\u0301lo solo\u0301 1solo", "cafe\u0301 caf\u00e9 xcaf\u00e9y", "<tool_call>{\"a\": 1}<tool_call>", "<|im<|im_start|>",
]


def pre_tokenizer(family):
    if family == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if family == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    split = pre_tokenizers.Split(Regex(PATTERNS[family]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def strings(count):
    rng = random.Random(20250101)
    blocks = list(base.block_strings())
    words = ["Janet sells 16 duck eggs", " per day. She'll eat three", "\n\n    return x[1234567]", " I'M SURE WE'VE IT'S 'Re", "\u017ft '\u017f 'l\u017f 'LL"]
    out = ["", *(chr(b) for b in range(128)), *words, *MARKED]
    out += blocks if count > 20000 else rng.sample(blocks, count // 3)
    out += base.random_strings(rng, count - len(out))
    out += base.long_runs() if count > 20000 else [u * n for u in ["a", " ", "\n", "0", "!", "\u4e2d", "ab", "\r\n"] for n in [2, 3, 25, 100]]
    return list(dict.fromkeys(out))


def train(family, texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(family)
    tokenizer.decoder = decoders.ByteLevel()
    if family.startswith("qwen"):
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(vocab_size=900, min_frequency=2, show_progress=False, special_tokens=MARKERS if family == "smollm" else [],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    if family == "llama3":  # entries that no merge reaches
        content = json.loads(tokenizer.to_str())
        content["model"]["ignore_merges"] = True
        for token in ["quokka", "\u0120quokka", "\u0120I"]:
            content["model"]["vocab"].setdefault(token, len(content["model"]["vocab"]))
        tokenizer = Tokenizer.from_str(json.dumps(content))
    if family != "smollm":
        tokenizer.add_special_tokens(MARKERS)
    if family == "llama3":
        bos = tokenizer.token_to_id("<|endoftext|>")
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|endoftext|> $A", pair="<|endoftext|> $A <|endoftext|>:1 $B:1", special_tokens=[("<|endoftext|>", bos)])])
    if family in ("qwen2", "gpt2"):
        for token in ADDED:
            tokenizer.add_tokens([token])
    return tokenizer


def write(out, family, tokenizer, texts):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, family + ".json.zst"), "wb") as file:
        file.write(zstandard.ZstdCompressor(level=19).compress(tokenizer.to_str().encode()))
    tokenizer.encode_special_tokens = True
    base.write(os.path.join(out, family + "_text.zst"), tokenizer, texts)
    tokenizer.encode_special_tokens = False
    base.write(os.path.join(out, family + "_special.zst"), tokenizer, MARKED)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1300)
    parser.add_argument("--out", default=os.path.join(HERE, "tokenizer_families"))
    parser.add_argument("--gguf")
    arguments = parser.parse_args()
    texts = strings(arguments.count)
    texts += [text + word for text, word in zip(texts[:60], [" quokka", "quokka", " I", "\nquokkas"] * 15)]
    for family in FAMILIES:
        write(arguments.out, family, train(family, texts), texts)
    if arguments.gguf:
        tokens, merges, types = base.read_vocabulary(arguments.gguf)
        tokenizer = base.build(tokens, merges, [t for t, kind in zip(tokens, types) if kind == 3])
        write(arguments.out, "smollm2", tokenizer, texts)


if __name__ == "__main__":
    main()
