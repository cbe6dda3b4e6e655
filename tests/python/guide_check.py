"""Runs every command of a guide's `sh` blocks, as a reader would paste them.

    python tests/python/guide_check.py docs/guides/api.md http://127.0.0.1:8686
    python tests/python/guide_check.py docs/guides/import.md target/release

A block fails when one of its commands does (curl is called with -f). With an address each block is run by
itself against that server; it writes, so the server should be made for it. With a folder of programs the
blocks are run one after the other in one shell, in a folder that holds nothing but the project's `data`. Those programs and
this Python, with what it has installed, come first on the path; pip may fetch nothing; a server that a block starts gets a
free port, and is ended with the shell. Each line of an `output` block must have been printed by some command, numbers aside.
Each `toml` block must be a configuration that `qhatu` takes: a file of features where it declares one, a part of `qhatu.toml`
otherwise.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

WRITTEN_BASE = "http://127.0.0.1:8686"
# However the shell ends, it ends what it left running, and waits for that.
HEAD = """set -euo pipefail
trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT"""


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    guide, base = pathlib.Path(sys.argv[1]), sys.argv[2].rstrip("/")
    blocks = fenced(guide, "sh")
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
    port = str(free_port())
    marked = [f"echo '== block {number}'\n{block}" for number, block in enumerate(blocks, 1)]
    script = "\n".join([HEAD, *marked]).replace(WRITTEN_BASE, f"http://127.0.0.1:{port}")
    path = os.pathsep.join([str(programs), str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    told = {"PATH": path, "QHATU__SERVE__PORT": port, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(pathlib.Path("data").resolve(), pathlib.Path(folder) / "data")
        done = subprocess.run(["bash", "-c", script], cwd=folder, env={**os.environ, **told},
                              capture_output=True, text=True, check=False)
    reached = done.stdout.count("== block ")
    if done.returncode != 0:
        print(f"block {reached} failed:\n{blocks[reached - 1]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    print(f"{guide}: {reached} of {len(blocks)} blocks, exit status {done.returncode}")
    if done.returncode or not blocks:
        return 1
    return 0 if all_taken(guide, programs) and all_printed(guide, done.stdout + done.stderr) else 1


def fenced(guide: pathlib.Path, kind: str) -> list[str]:
    """What stands in the guide's blocks of a kind, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", guide.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def all_taken(guide: pathlib.Path, programs: pathlib.Path) -> bool:
    """Whether each `toml` block of the guide is taken for a configuration, or for a file of features."""
    taken = True
    for block in fenced(guide, "toml"):
        with tempfile.TemporaryDirectory() as folder:
            shop = pathlib.Path(folder)
            features = block.startswith("[[feature]]")
            declared = '[features]\ndeclarations = "features.toml"\n'
            (shop / "features.toml").write_text(block if features else "", encoding="utf-8")
            (shop / "qhatu.toml").write_text(declared if features else block, encoding="utf-8")
            done = subprocess.run([programs / "qhatu", "features", "list", "--dir", folder],
                                  capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{guide}: this is no configuration:\n{block}\n{done.stderr}")
            taken = False
    return taken


def all_printed(guide: pathlib.Path, printed: str) -> bool:
    """Whether the lines of the guide's `output` blocks were printed, whatever their numbers; `…` stands for lines left out."""
    known = {shape(line) for line in printed.splitlines()} | {"…", ""}
    missing = [line for block in fenced(guide, "output") for line in block.splitlines() if shape(line) not in known]
    print("".join(f"{guide}: no command printed {line!r}\n" for line in missing), end="")
    return not missing


def shape(line: str) -> str:
    """A line without its numbers and without the width of its gaps."""
    return " ".join(re.sub(r"[-+]?\d+(\.\d+)?", "#", line).split())


if __name__ == "__main__":
    sys.exit(main())
