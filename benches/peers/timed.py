"""Runs a command on two processors and prints its seconds and peak memory in MiB.

    python benches/peers/timed.py OUTPUT COMMAND ARGUMENT…

What the command prints goes to the file OUTPUT; `-` throws it away.
"""

import os
import resource
import subprocess
import sys
import time

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
with open(os.devnull if sys.argv[1] == "-" else sys.argv[1], "w") as output:
    start = time.monotonic()
    done = subprocess.run(sys.argv[2:], stdout=output)
    seconds = time.monotonic() - start
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(done.returncode)
