"""Tokenizer vectors: strings and the ids that the `tokenizers` package gives for SmolLM2's vocabulary.

    python make_tokenizer.py MODEL.gguf

The oracle is built from the GGUF file's vocabulary and merges with the pipeline of SmolLM2's own tokenizer.json: Digits
(each digit alone), then ByteLevel with GPT-2's expression. The files' format is in README.md.
"""
import os
import random
import struct
import sys
import unicodedata

import gguf
import zstandard
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))


def read_vocabulary(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    return tokens, [tuple(m.split(" ")) for m in merges], types


def build(tokens, merges, special):
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return tokenizer


def byte_of_char():
    keep = list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    rest = [b for b in range(256) if b not in keep]
    return {chr(b): b for b in keep} | {chr(256 + i): b for i, b in enumerate(rest)}


def vocabulary_strings(tokens):
    table = byte_of_char()
    for token in tokens:
        if all(c in table for c in token):
            try:
                yield bytes(table[c] for c in token).decode()
            except UnicodeDecodeError:
                pass  # a piece of a longer character


def is_scalar(c):
    return not 0xD800 <= c <= 0xDFFF


def block_strings():
    """Runs of 16 code points: bare over the first two planes, and each assigned one of them between its neighbours of
    every class (letter, digit, symbol, one and two spaces, line end); then a sample of the planes above."""
    for base in range(0x80, 0x20000, 16):
        run = [chr(c) for c in range(base, base + 16) if is_scalar(c)]
        if run:
            yield "".join(run)
        seen = [c for c in run if unicodedata.category(c) not in ("Cn", "Co")]
        if seen and base < 0x3100:
            yield "".join(f"a{c}b 1{c}2  {c}!{c}\n{c} {c}{c}  " for c in seen)
        elif seen and base % 64 == 0:
            yield "".join(f" {c}a{c}1{c}  " for c in seen[:4])
    for base in range(0x20000, 0x110000, 0x1000):
        yield "".join(chr(c) for c in range(base, base + 4))


ALPHABETS = [
    [chr(c) for c in range(0x20, 0x7F)],
    [" ", " ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u3000", "\u2003", "\u0085", "\u200b", "\ufeff", "\x1c", "\x0b"],
    ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'", "\u2019s", "don't", "we'll"],
    list("0123456789") + ["\u0663", "\u00bd", "\u2167", "\u0969", "\u00b2", "\U0001d7d8", "\uff15"],
    [chr(c) for c in range(0xC0, 0x250)],
    [chr(c) for c in range(0x370, 0x530)],
    [chr(c) for c in range(0x5D0, 0x5EB)] + [chr(c) for c in range(0x621, 0x660)],
    [chr(c) for c in range(0x905, 0x940)] + [chr(c) for c in range(0xE01, 0xE3B)],
    [chr(c) for c in range(0x3041, 0x30FF)] + [chr(c) for c in range(0x4E00, 0x5200)] + [chr(c) for c in range(0xAC00, 0xAE00)],
    [chr(c) for c in range(0x300, 0x345)] + ["e\u0301", "\u1e9b\u0323", "\u200d", "\ufe0f"],
    [chr(c) for c in range(0x1F300, 0x1F650)] + ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea"],
    [" the", " of", " and", "ing", " def", " return", "(", ")", "{", "}", "==", "://", "</", "_", "#", ".", ",", "\n    "],
]


def random_strings(rng, count):
    for i in range(count):
        if i % 8 == 0:  # any scalar value at all
            chars = [rng.randrange(0x110000) for _ in range(rng.randrange(1, 7))]
            yield "".join(chr(c) for c in chars if is_scalar(c))
        else:
            chosen = rng.sample(ALPHABETS, rng.randrange(1, 4)) + [ALPHABETS[0]]
            yield "".join(rng.choice(rng.choice(chosen)) for _ in range(rng.randrange(1, 16)))


def long_runs():
    for unit in ["a", " ", "\n", "0", "!", "=", "\u00e9", "\u4e2d", "\U0001f600", "ab", "a ", " a", "\r\n", "\t", "'s", "9a", "the", " \n", "\u0301"]:
        for length in [2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000]:
            yield unit * length
    yield "a" * 100000  # one piece of 100 kB
    yield "".join(chr(ord("a") + (i * i + i // 7) % 26) for i in range(20000))


SPECIAL_TEXTS = [
    "<|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n", "<|im_start|><|im_end|>", "a<|endoftext|>b", " <|im_end|> ",
    "<|im_start|", "<|im_start|>>", "<<|im_start|>", "<|im_end|><|im_en", "<repo_name>x/y<filename>a.py\n", "<empty_output>", "1<|im_end|>2",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n", "<|IM_START|>", "\n<|im_end|>\n\n",
]


def write_rows(path, strings, ids):
    texts = [s.encode() for s in strings]
    flat = [i for row in ids for i in row]
    assert max(flat) < 65536
    raw = struct.pack("<I", len(texts)) + struct.pack(f"<{len(texts)}I", *map(len, texts)) + struct.pack(f"<{len(ids)}I", *map(len, ids))
    raw += b"".join(texts) + struct.pack(f"<{len(flat)}H", *flat)
    with open(path, "wb") as file:
        file.write(zstandard.ZstdCompressor(level=22).compress(raw))
    print(f"{path}: {len(texts)} strings, {sum(map(len, texts))} bytes, {len(flat)} ids, {os.path.getsize(path)} bytes compressed")


def write(name, tokenizer, strings, add_special_tokens=False):
    strings = list(strings)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(strings, add_special_tokens=add_special_tokens)]
    write_rows(os.path.join(HERE, "tokenizer", name), strings, ids)


def main():
    tokens, merges, types = read_vocabulary(sys.argv[1])
    special = [t for t, kind in zip(tokens, types) if kind == 3]
    strings = ["", *(chr(b) for b in range(128)), *block_strings(), *random_strings(random.Random(20240229), 12000), *long_runs()]
    strings += SPECIAL_TEXTS  # here their markers are ordinary text
    plain = build(tokens, merges, [])
    write("smollm2_text.zst", plain, list(dict.fromkeys(strings)))
    write("smollm2_vocabulary.zst", plain, list(dict.fromkeys(vocabulary_strings(tokens))))
    write("smollm2_special.zst", build(tokens, merges, special), SPECIAL_TEXTS)


if __name__ == "__main__":
    main()
