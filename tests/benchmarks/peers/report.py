"""The Markdown document of tools/compare_peers, written from its results: the newest of each row counts."""
import json
import math
import os
import re
import statistics

HEADER = """# Performance beside the peers
Written by [tools/compare_peers](../tools/compare_peers); how each peer is set up, and why that is its best, is in
[tests/benchmarks/peers](../tests/benchmarks/peers/README.md). Ours and the peer took turns on the same machine, one
process at a time. best: the fastest of all runs, which others disturbed least; median: of all runs, with the range of
the middle half. Ratios above 1 are in our favour.
"""


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        fields = dict(re.findall(r"^(model name|cpu family|flags)\s*: (.*)$", file.read(), re.MULTILINE))
    with open("/proc/meminfo", encoding="utf-8") as file:
        gib = int(re.search(r"MemTotal:\s+(\d+)", file.read())[1]) / 2**20
    flags = fields.get("flags", "").split()
    features = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return (f"{fields.get('model name', 'unknown processor')}, family {fields.get('cpu family', '?')}, "
            f"{len(os.sched_getaffinity(0))} processors, {gib:.0f} GiB, {' '.join(features)}")


def table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def spread(values):
    """The median and the middle half: '512 (498-520)'."""
    if len(values) < 2:
        return f"{values[0]:.0f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"


def all_of(runs, key):
    return [value for run in runs for value in run[key]]


def settings_text(settings):
    settings = dict(settings)
    environment = settings.pop("environment", {})
    settings.pop("system", None)
    words = [f"{key} {value}" for key, value in settings.items()] + [f"{k}={v}" for k, v in environment.items()]
    return ", ".join(words)


def grouped(notes):
    """(whose, what) pairs as lines of a list: those with the same words once, after all that they are about."""
    owners = {}
    for whose, what in notes:
        owners.setdefault(what, []).append(whose)
    return "\n".join(f"- {'; '.join(whose)}: {what}" for what, whose in owners.items())


def step_section(records):
    rows, notes = [], []
    for r in records:
        method, tokens = r["case"].split()
        count = math.prod(int(word) for word in tokens.split("x"))
        ours = [count / s for s in all_of(r["ours"], "seconds")]
        for peer, runs in r["peers"].items():
            theirs = [count / s for s in all_of(runs, "seconds")]
            our_memory, their_memory = (max(run["peak_resident_bytes"] for run in side) for side in (r["ours"], runs))
            our_start = statistics.median(run["start_seconds"] for run in r["ours"])
            their_start = r.get("peer_start_seconds") or statistics.median(run["start_seconds"] for run in runs)
            rows.append([
                f"{method} {tokens}", f"**{max(ours):.0f}** / {max(theirs):.0f}", f"**{max(ours) / max(theirs):.2f}**",
                f"{spread(ours)} / {spread(theirs)}", f"{statistics.median(ours) / statistics.median(theirs):.2f}",
                f"{our_memory / 1e6:.0f} / {their_memory / 1e6:.0f}", f"{their_memory / our_memory:.2f}",
                f"{our_start:.1f} / {their_start:.1f}", f"{100 * max(run['peak_fraction'] for run in r['ours']):.0f}",
                f"{r['commit']}, {r['date']}"])
            note = settings_text(runs[0]["settings"])
            if r.get("tried"):
                note += "; seconds of a step tried: " + ", ".join(f"{k} {v:.2f}" for k, v in r["tried"].items())
            notes.append((f"{method} {tokens}, {peer}", note))
    return ("## Training steps\n"
            "A model of SmolLM2-135M's shape with random weights, adapters of rank 16 on every linear layer, AdamW,\n"
            "the loss on the second half of each sequence. Ours / PEFT's, in tokens a second, all tokens counted.\n"
            "memory: the process's most, in MB. start: seconds from nothing to the end of the first step. peak%: our\n"
            "useful operations, of what the processor can do. measured: a commit, with + where there were changes beside it.\n\n"
            + table(["step", "best", "ratio", "median", "ratio", "memory", "ratio", "start", "peak%", "measured"], rows)
            + "\n" + grouped(notes) + "\n")


def generate_section(records):
    rows, notes = [], []
    for r in records:
        ours = r["ours"]
        for runs in r["peers"].values():
            name = f"{runs[0]['peer']}, {runs[0]['weights']}"
            notes.append((f"{r['case']}, {name}", settings_text(runs[0]["settings"])))
            row = [r["case"], name]
            for key in ("prompt_tokens_per_second", "tokens_per_second"):
                mine, theirs = all_of(ours, key), all_of(runs, key)
                row += [f"**{max(mine):.0f}** / {max(theirs):.0f}", f"**{max(mine) / max(theirs):.2f}**",
                        f"{spread(mine)} / {spread(theirs)}"]
            our_memory, their_memory = (max(run["peak_resident_bytes"] for run in side) for side in (ours, runs))
            rows.append(row + [f"{our_memory / 1e6:.0f} / {their_memory / 1e6:.0f}", f"{r['commit']}, {r['date']}"])
    run = records[0]["ours"][0]
    return (f"## Generation\n"
            f"SmolLM2-135M: a prompt of {run['prompt_tokens']} tokens, then {run['new_tokens']} more, greedily. Ours / "
            "the peer's,\nin tokens a second; memory in MB.\n\n"
            + table(["weights", "peer", "prompt, best", "ratio", "median", "generation, best", "ratio", "median",
                     "memory", "measured"], rows)
            + "\n" + grouped(notes) + "\n")


def product_kind(name):
    product = name.split("/")[2]
    if product in ("fwd", "dx"):
        return product
    kind, rank = product.split("_r")
    return f"{kind}, rank {rank}"


def matmul_section(records):
    products = {(p["name"], p["dtype"], p["threads"]): p | {"measured": f"{r['commit']}, {r['date']}"}
                for r in records for p in r["products"]}
    groups = {}
    for p in products.values():
        groups.setdefault((p["name"].split("/")[0], p["dtype"], p["threads"], product_kind(p["name"])), []).append(p)
    rows = []
    for (model, dtype, threads, kind), group in groups.items():
        ratios = [p["ratio"] for p in group]
        rows.append([model, dtype, str(threads), kind, str(len(group)), f"{statistics.geometric_mean(ratios):.2f}",
                     f"{min(ratios):.2f}", f"{statistics.geometric_mean(p['ratio_median'] for p in group):.2f}",
                     f"{statistics.mean(p['peak_percent'] for p in group):.0f}", group[-1]["measured"]])
    slowest = sorted(products.values(), key=lambda p: p["ratio"])[:20]
    worst = [[p["name"], p["dtype"], str(p["threads"]), f"{p['ours']:.0f} / {p['onednn']:.0f}", f"{p['ratio']:.2f}",
              f"{p['ratio_median']:.2f}", p["layout"]] for p in slowest]
    return ("## Matrix products\n"
            "Every product of a training step beside oneDNN's matmul in its fastest layout, in one process. The ratio\n"
            "of rates is a geometric mean over the shapes and numbers of tokens.\n\n"
            + table(["model", "dtype", "threads", "product", "shapes", "ratio (best)", "least", "ratio (medians)",
                     "peak%", "measured"], rows)
            + "\nThe 20 products in which ours does least well, in GFLOP/s:\n\n"
            + table(["product", "dtype", "threads", "ours / oneDNN", "ratio", "of medians", "oneDNN's layout"], worst))


GROWTH_REASONS = {
    "tokens": "A sequence of so many tokens. Few tokens leave the products waiting for weights: each weight is packed for\n"
              "its product anew, which costs as much as some 5 rows of it, and is read from memory. Past 1024 tokens a token\n"
              "costs more again: attention's operations grow with the square of the length, are 45 % of all at 4096, and\n"
              "run at some half of the peak, between exponentials. Memory is the weights and the optimizer's state, then a\n"
              "fixed amount a token, as attention keeps no scores; a whole chunk of the loss's logits comes with 512 tokens.",
    "rank": "A rank adds 6 operations for each adapter weight and token, and the optimizer's pass over the adapters. Up\n"
            "to 16 it is all but free: a product of rank 4 fills a quarter of a vector's 16 columns. Memory: some 20\n"
            "bytes for each adapter weight, namely value, gradient and two moments in f32, and a copy in bf16.",
    "layers": "A straight line: a layer costs what a layer costs, and the head and its loss come on top.",
    "threads": "Products are split without splitting a sum. What does not double is what waits for memory.",
}


def growth_section(records):
    parts = []
    for r in sorted(records, key=lambda r: list(GROWTH_REASONS).index(r["case"])):
        rows = []
        for run in r["runs"]:
            count = math.prod(int(word) for word in run["tokens"].split("x"))
            best = min(run["seconds"])
            at = {"tokens": run["tokens"], "rank": run["rank"], "layers": run["layers"], "threads": run["threads"]}
            rows.append([run["method"], str(at[r["case"]]), f"{1000 * best:.0f}", f"{1e6 * best / count:.0f}",
                         f"{count / best:.0f}", f"{100 * run['peak_fraction']:.0f}",
                         f"{run['peak_resident_bytes'] / 1e6:.0f}"])
        parts.append(f"{GROWTH_REASONS[r['case']]}\n\n"
                     + table(["step", r["case"], "ms", "us a token", "tokens/s", "peak%", "memory, MB"], rows)
                     + f"\nMeasured with {r['commit']}, {r['date']}.\n")
    return ("## How cost grows\nOurs alone, the step of the first table (4 x 256 tokens, rank 16, 30 layers), with one thing "
            "changed.\n\n" + "\n".join(parts))


def versions_section(records):
    found = {}
    for r in records:
        for runs in r.get("peers", {}).values():
            found |= runs[0]["versions"]
        for product in r.get("products", []):
            found["oneDNN"] = product["version"]
    machines = sorted({r["machine"] for r in records})
    return ("## Machine and versions\n" + "".join(f"- {name}\n" for name in machines)
            + "- " + ", ".join(f"{name} {version}" for name, version in sorted(found.items())) + "\n")


SECTIONS = {"step": step_section, "generate": generate_section, "growth": growth_section, "matmul": matmul_section}


def write(results, output):
    """Does nothing before the first result."""
    newest = {}
    if os.path.exists(results):
        with open(results, encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                newest[record["kind"], record["case"]] = record
    if not newest:
        return
    text = [HEADER]
    for kind, section in SECTIONS.items():
        if records := [r for (k, _), r in newest.items() if k == kind]:
            text.append(section(records))
    text.append(versions_section(list(newest.values())))
    with open(output, "w", encoding="utf-8") as file:
        file.write("\n".join(text))
