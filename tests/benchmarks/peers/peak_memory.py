#!/usr/bin/env python3
"""peak_memory.py COMMAND...: runs it, then says on standard error how much memory it had at most, in bytes."""
import resource
import subprocess
import sys

status = subprocess.run(sys.argv[1:]).returncode
print("peak resident bytes:", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)
sys.exit(status)
