"""The peer of `cargo xtask bench scan`: FAISS's flat index, exact, one query after the other, two threads.

    python inner_product_faiss.py ROWS WIDTH K QUERIES      prints {"name": …, "p50": ms, "p90": ms, "p99": ms}
"""

import json
import sys
import time

import faiss
import numpy as np

faiss.omp_set_num_threads(2)


def main():
    rows, width, k, queries = map(int, sys.argv[1:])
    random = np.random.default_rng(1)
    index = faiss.IndexFlatIP(width)
    index.add(random.normal(scale=0.1, size=(rows, width)).astype(np.float32))
    took = []
    for _ in range(queries + 5):
        query = random.normal(size=(1, width)).astype(np.float32)
        start = time.perf_counter()
        index.search(query, k)
        took.append((time.perf_counter() - start) * 1e3)
    p50, p90, p99 = np.percentile(took[5:], [50, 90, 99])
    print(json.dumps({"name": f"FAISS {faiss.__version__}, IndexFlatIP", "p50": p50, "p90": p90, "p99": p99}))


if __name__ == "__main__":
    main()
