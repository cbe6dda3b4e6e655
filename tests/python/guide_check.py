"""Runs every command of a guide's `sh` blocks against a server, as a reader would paste them.

    python tests/python/guide_check.py docs/guides/api.md http://127.0.0.1:8686

A block fails when one of its commands does (curl is called with -f). It writes: run it against a server
made for it.
"""

import pathlib
import re
import subprocess
import sys

WRITTEN_BASE = "http://127.0.0.1:8686"


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    guide, base = pathlib.Path(sys.argv[1]), sys.argv[2].rstrip("/")
    blocks = re.findall(r"^```sh\n(.*?)^```", guide.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    failed = 0
    for number, block in enumerate(blocks, 1):
        script = "set -euo pipefail\n" + block.replace(WRITTEN_BASE, base)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            failed += 1
            print(f"block {number} failed:\n{block}\n{done.stdout}{done.stderr}")
    print(f"{guide}: {len(blocks)} blocks, {failed} failed")
    return 1 if failed or not blocks else 0


if __name__ == "__main__":
    sys.exit(main())
