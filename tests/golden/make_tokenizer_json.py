"""Small tokenizer.json files of four families, trained and written by the `tokenizers` package, with vectors.

    python make_tokenizer_json.py TEXT

TEXT is any text of some 500 kB (here GSM8K's first 2000 training rows); only merges learnt from it are kept.
"""
import json
import os
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_tokenizer import HERE, block_strings, long_runs, random_strings, write

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# family: (pre-tokenizer, normalizer, ignore_merges, control tokens, other added tokens, merges as "a b" strings?)
FAMILIES = {
    "gpt2": (GPT2, None, False, ["<|endoftext|>"], [], True),
    "smollm": (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]), None, False, ["<|im_start|>", "<|im_end|>"], [], True),
    "llama3": (split(LLAMA3), None, True, ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], [], True),
    "qwen2": (split(QWEN2), normalizers.NFC(), False, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<tool_call>", "</tool_call>"], False),
}


def build(family, corpus):
    pre_tokenizer, normalizer, ignore_merges, control, added, _ = FAMILIES[family]
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in control])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in added])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if family == "llama3":
        bos = (control[0], tokenizer.token_to_id(control[0]))
        template = processors.TemplateProcessing(single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]}:1 $B:1", special_tokens=[bos])
        tokenizer.post_processor = processors.Sequence([tokenizer.post_processor, template])
    return tokenizer


def write_json(tokenizer, family):
    """As the library writes it (merges as pairs); published files still often have merges as strings."""
    data = json.loads(tokenizer.to_str())
    if FAMILIES[family][5]:
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    path = os.path.join(HERE, "tokenizer", family + ".json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")
    return Tokenizer.from_file(path)


def is_old(text):
    """Only characters of Unicode 14 (this Python's), whose classes later versions keep."""
    return all(unicodedata.category(c) not in ("Cn", "Co") for c in text)


def main():
    assert unicodedata.unidata_version == "14.0.0"
    corpus = open(sys.argv[1], encoding="utf-8").read().splitlines() + list(random_strings(random.Random(1), 4000))
    blocks = [s for i, s in enumerate(block_strings()) if i % 6 == 0 and is_old(s)]
    mixes = [s for s in random_strings(random.Random(2), 3500) if is_old(s)]
    runs = [s for s in long_runs() if len(s) < 70]
    strings = list(dict.fromkeys(["", *map(chr, range(128)), *blocks, *mixes, *runs]))
    for family, (_, _, _, control, added, _) in FAMILIES.items():
        tokenizer = write_json(build(family, corpus), family)
        write(family + "_text.zst", tokenizer, strings)
        marked = [f"{a}user\n\nHi e\u0301 12345{b} {a}{b}x{a[:-1]}" for a in control + added for b in control + added]
        write(family + "_special.zst", tokenizer, marked)
        if family == "llama3":
            write(family + "_bos.zst", tokenizer, ["", "Hello", f"{control[0]}Hello", " 2024 \n"], add_special_tokens=True)


main()
