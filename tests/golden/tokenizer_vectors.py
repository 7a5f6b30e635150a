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
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
WORDS = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+!|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*!"
SLASHED_TAIL = r"[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "llama3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+" + TAIL,
    "qwen2": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+" + TAIL,
    "qwen35": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+" + TAIL,
    # transformers/integrations/gguf/gguf_tokenizer_mapping.py has both; Tekken's is in mistral_common's tekken.json too.
    "tekken": WORDS.replace("!", "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+" + SLASHED_TAIL,
    "gpt4o": WORDS.replace("!", CONTRACTIONS + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+" + SLASHED_TAIL,
}
FAMILIES = ["gpt2", "smollm", "llama3", "qwen2", "qwen35", "tekken", "gpt4o"]
SPACE = "\u2581"
PREPEND = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
# SentencePiece-style family: (normalizer, pre-tokenizer, byte tokens?, does decoding strip a space?)
SENTENCEPIECE = {
    "llama2": (PREPEND, None, True, True),
    "mistral": (None, pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False), True, True),
    "gemma": (normalizers.Replace(" ", SPACE), pre_tokenizers.Split(" ", "merged_with_previous"), True, False),
    "metaspace": (None, pre_tokenizers.Metaspace(SPACE, prepend_scheme="always", split=True), False, True),
}
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
    if family in ("llama3", "tekken"):  # entries that no merge reaches
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


def train_sentencepiece(family, texts):
    """Merges are learnt over words; the vocabulary is put together as SentencePiece's converter does: unknown, BOS and
    EOS, the bytes, then characters and merges. Characters that few texts have are left to the bytes. No merges are learnt
    from markers: joined from plain text the reference would make control tokens of them, and Lorikeet does not."""
    normalizer, pre_tokenizer, byte_fallback, strip = SENTENCEPIECE[family]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always", split=family != "gemma")
    learner.train_from_iterator([t for t in texts if len(t) < 1000 and t not in MARKED],
                                trainers.BpeTrainer(vocab_size=700, limit_alphabet=260, min_frequency=2, show_progress=False))
    learnt = json.loads(learner.to_str())["model"]
    vocab = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256) if byte_fallback]
    vocab += [t for t in sorted(learnt["vocab"], key=learnt["vocab"].get) if t not in vocab]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocab)}, merges=[tuple(m) for m in learnt["merges"]],
                                     unk_token="<unk>", fuse_unk=family != "metaspace", byte_fallback=byte_fallback))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] if strip else steps)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ["<unk>", "<s>", "</s>"]])
    tokenizer.add_special_tokens(MARKERS)
    for token in ADDED:
        tokenizer.add_tokens([token])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def write_decoded(out, family, tokenizer, count):
    """Any ids at all, many of them bytes, and what they decode to."""
    rng = random.Random(7)
    size = tokenizer.get_vocab_size()
    bytes_of = [i for i in (tokenizer.token_to_id(f"<0x{b:02X}>") for b in range(256)) if i is not None]
    rows = [[]]
    for _ in range(count):
        row = []
        for _ in range(rng.randrange(1, 12)):
            if bytes_of and rng.random() < 0.4:  # a character, now and then with a byte lost
                character = chr(rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x4E00, 0x9FFF), rng.randrange(0x1F300, 0x1F650)]))
                ids = [bytes_of[b] for b in character.encode()]
                row += ids if rng.random() < 0.7 else rng.sample(ids, rng.randrange(len(ids) + 1))
            else:
                row.append(rng.choice([rng.randrange(size), tokenizer.token_to_id(SPACE) or 0]))
        rows.append(row)
    base.write_rows(os.path.join(out, family + "_decode.zst"), [tokenizer.decode(row, skip_special_tokens=False) for row in rows], rows)


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
    for family in SENTENCEPIECE:
        tokenizer = train_sentencepiece(family, texts)
        write(arguments.out, family, tokenizer, texts)
        write_decoded(arguments.out, family, tokenizer, 1000)
    if arguments.gguf:
        tokens, merges, types = base.read_vocabulary(arguments.gguf)
        tokenizer = base.build(tokens, merges, [t for t, kind in zip(tokens, types) if kind == 3])
        write(arguments.out, "smollm2", tokenizer, texts)


if __name__ == "__main__":
    main()
