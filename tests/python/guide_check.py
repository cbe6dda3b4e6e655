"""Runs every command of a guide's `sh` blocks against a server, as a reader would paste them.

    python tests/python/guide_check.py docs/guides/api.md http://127.0.0.1:8686
    python tests/python/guide_check.py docs/guides/import.md target/release

A block fails when one of its commands does (curl is called with -f). With an address each block is run by
itself against that server; it writes, so the server should be made for it. With a folder of programs the
blocks are run one after the other in one shell, with those programs on the path, in a folder that holds nothing but the
project's `data`.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

WRITTEN_BASE = "http://127.0.0.1:8686"


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    guide, base = pathlib.Path(sys.argv[1]), sys.argv[2].rstrip("/")
    blocks = re.findall(r"^```sh\n(.*?)^```", guide.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    if not base.startswith("http"):
        return in_one_shell(guide, blocks, pathlib.Path(base).resolve())
    failed = 0
    for number, block in enumerate(blocks, 1):
        script = "set -euo pipefail\n" + block.replace(WRITTEN_BASE, base)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            failed += 1
            print(f"block {number} failed:\n{block}\n{done.stdout}{done.stderr}")
    print(f"{guide}: {len(blocks)} blocks, {failed} failed")
    return 1 if failed or not blocks else 0


def in_one_shell(guide: pathlib.Path, blocks: list[str], programs: pathlib.Path) -> int:
    marked = [f"echo '== block {number}'\n{block}" for number, block in enumerate(blocks, 1)]
    script = "set -euo pipefail\n" + "\n".join(marked)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(pathlib.Path("data").resolve(), pathlib.Path(folder) / "data")
        done = subprocess.run(["bash", "-c", script], cwd=folder, env={**os.environ, "PATH": path},
                              capture_output=True, text=True, check=False)
    reached = done.stdout.count("== block ")
    if done.returncode != 0:
        print(f"block {reached} failed:\n{blocks[reached - 1]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    print(f"{guide}: {reached} of {len(blocks)} blocks, exit status {done.returncode}")
    return 1 if done.returncode or not blocks else 0


if __name__ == "__main__":
    sys.exit(main())
