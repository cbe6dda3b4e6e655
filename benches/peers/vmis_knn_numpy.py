"""The peer of the session-kNN kernel: VMIS-kNN (Kersbergen et al., SIGMOD 2022, algorithm 2) on NumPy arrays.

Written from the paper's formulas with m = 500 sessions an item, k = 100 neighbours and the last 30 items: inverted
index of recent sessions, linear decay, votes weighed by idf. Prints the percentiles of milliseconds a query as JSON,
over every n-th prefix of TEST (`vmis_knn_numpy.py TRAIN TEST n`).
"""
import json
import sys
import time

import numpy as np

M, K, LAST = 500, 100, 30
train, test, every = sys.argv[1], sys.argv[2], int(sys.argv[3])

sessions = [np.unique(np.array(line.split(), dtype=np.int32)) for line in open(train)]
items = int(max(session[-1] for session in sessions if len(session)))
index = [[] for _ in range(items + 1)]
for number, session in enumerate(sessions):
    for item in session:
        index[item].append(number)
idf = np.array([np.log(len(sessions) / len(having)) if having else 0.0 for having in index], dtype=np.float32)
index = [np.array(having[-M:], dtype=np.int32) for having in index]
similarity = np.zeros(len(sessions), dtype=np.float32)
latest = np.zeros(len(sessions), dtype=np.float32)


def recommend(prefix, how_many):
    query = list(dict.fromkeys(item for item in reversed(prefix) if item <= items))[:LAST]
    weights = 1 - np.arange(len(query), dtype=np.float32) / max(len(query), 1)
    lists = [index[item] for item in query]
    for having, weight in zip(lists, weights):
        similarity[having] += weight
    for having, weight in zip(reversed(lists), reversed(weights)):
        latest[having] = weight
    met = np.unique(np.concatenate(lists)) if lists else np.empty(0, dtype=np.int32)
    if len(met) > K:
        met = met[np.argpartition(similarity[met], len(met) - K)[-K:]]
    scores = np.zeros(items + 1, dtype=np.float32)
    for session in met:
        scores[sessions[session]] += similarity[session] * latest[session]
    for having in lists:
        similarity[having] = 0
    scores *= idf
    best = np.argpartition(scores, len(scores) - how_many)[-how_many:]
    return best[np.argsort(-scores[best])]


prefixes = [list(map(int, line.split("\t")[0].split())) for line in open(test)][::every]
took = []
for prefix in prefixes:
    begun = time.perf_counter()
    recommend(prefix, 21)
    took.append((time.perf_counter() - begun) * 1e3)
p50, p90, p99 = np.percentile(took, [50, 90, 99])
print(json.dumps({"p50": p50, "p90": p90, "p99": p99, "numpy": np.__version__}))
