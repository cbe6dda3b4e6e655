"""The peer of `cargo xtask bench als`: implicit's AlternatingLeastSquares on the counts that ours wrote.

    python als_implicit.py FOLDER

Reads lines `SEED SETTINGS`, answers with the seconds that fitting took and leaves the best ten items of each asked shopper in
FOLDER/lists.tsv, of all items and of those never bought (see crates/qhatu-train/examples/als_bench.rs). SETTINGS as JSON: `faded`
(counts with purchases faded, or plain ones), `alpha`, `solved` (whether shoppers' factors are solved for when lists are
made, or are those of the last iteration), and the rest as AlternatingLeastSquares takes them. The confidence of what was bought is
`1 + alpha × count`, as in the paper; implicit takes confidences themselves. Two threads, those of BLAS one, as implicit
advises. The first line printed is the peer's name and version.
"""

import json
import os
import pathlib
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import implicit
import numpy as np
import scipy.sparse
from implicit.als import AlternatingLeastSquares

FOLDER = pathlib.Path(sys.argv[1])
THREADS = 2
ROWS, COLUMNS, COUNTS, FADED = np.loadtxt(FOLDER / "counts.tsv", dtype=np.float64).T
ITEMS = int((FOLDER / "items.txt").read_text())
ASKED = np.array((FOLDER / "asked.txt").read_text().split(), dtype=np.int32)


def confidences(counts, alpha):
    values = (1 + alpha * counts).astype(np.float32)
    return scipy.sparse.csr_matrix((values, (ROWS.astype(int), COLUMNS.astype(int))), shape=(int(ROWS.max()) + 1, ITEMS))


def fit(seed, settings):
    matrix = confidences(FADED if settings.pop("faded") else COUNTS, settings.pop("alpha"))
    solved = settings.pop("solved")
    model = AlternatingLeastSquares(**settings, alpha=1.0, num_threads=THREADS, random_state=seed)
    start = time.perf_counter()
    model.fit(matrix, show_progress=False)
    seconds = time.perf_counter() - start
    lists = []
    for without_known in [False, True]:
        items, _ = model.recommend(
            ASKED, matrix[ASKED], N=10, filter_already_liked_items=without_known, recalculate_user=solved)
        lists.append(items)
    text = lambda items: " ".join(map(str, items))
    lines = [f"{text(everything)}\t{text(new)}\n" for everything, new in zip(*lists)]
    (FOLDER / "lists.tsv").write_text("".join(lines))
    return seconds


def main():
    print(f"implicit {implicit.__version__}", flush=True)
    for line in sys.stdin:
        seed, settings = line.split(" ", 1)
        print(f"{fit(int(seed), json.loads(settings)):.6f}", flush=True)


main()
