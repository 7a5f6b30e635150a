"""What every peer script measures about its own process, and how it prints a result."""
import importlib.metadata
import json
import os
import sys
import time


def seconds_since_process_start():
    """Counts the interpreter's start and every import, since a user waits for them too."""
    with open("/proc/self/stat", encoding="ascii") as file:
        after_name = file.read().rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22: ticks after boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def peak_resident_bytes():
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def versions(*packages):
    return {"python": sys.version.split()[0]} | {name: importlib.metadata.version(name) for name in packages}


def thread_environment():
    """The variables that change how fast the same program runs here."""
    names = ("OMP_", "GOMP_", "KMP_", "MALLOC_", "LD_PRELOAD")
    return {key: value for key, value in sorted(os.environ.items()) if key.startswith(names)}


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def print_result(**fields):
    print(json.dumps(fields), flush=True)
