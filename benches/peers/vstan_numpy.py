"""The peer of `vstan`: STAN (Garg et al., SIGIR 2019), VS-kNN (Ludewig and Jannach, 2018) and VSTAN (Ludewig et al., 2021).

Written from the papers' formulas on NumPy arrays; names as in session-rec. `vstan_numpy.py TRAIN TEST CONFIG n` answers every
n-th prefix of TEST by the latest `m` sessions of each of its items, and prints HR@20, MRR@20 and percentiles of milliseconds a query as
JSON. The files have no times: sessions are spread evenly over 100 days.
"""
import json
import sys
import time

import numpy as np

K_JUDGED = 20
train, test, config, every = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])

sessions, places, numbers = [], [], 0
for line in open(train):
    last = {}
    for place, item in enumerate(map(int, line.split())):
        last[item] = place
    sessions.append(np.fromiter(last.keys(), dtype=np.int64))
    places.append(np.fromiter(last.values(), dtype=np.float64))
items = int(max(session.max() for session in sessions))
holding = [[] for _ in range(items + 1)]
for number, session in enumerate(sessions):
    for item in session:
        holding[item].append(number)
idf = np.array([np.log(len(sessions) / len(having)) if having else 0.0 for having in holding])
# Of each item the latest sessions alone are looked at.
holding = [np.array(having[-config.get("m", len(sessions)) :], dtype=np.int64) for having in holding]
lengths = np.array([len(session) for session in sessions], dtype=np.float64)
ages = (len(sessions) - 1 - np.arange(len(sessions))) * (100 / len(sessions))
similarity = np.zeros(len(sessions))
latest = np.zeros(len(sessions))
asked = np.zeros(items + 1, dtype=bool)


def weight(p, length):
    kind = config.get("weighting", "exponential")
    if kind == "exponential":
        return np.exp(-p / config["lambda_spw"])
    return {"div": 1 - p / length, "quadratic": (1 - p / length) ** 2, "log": 1 / np.log10(p + 1.7), "same": 1.0}[kind]


def vote(p):
    kind = config.get("weighting_score", "exponential")
    if kind == "exponential":
        return np.exp(-p / config["lambda_ipw"])
    return {"div": 1 / (p + 1), "quadratic": 1 / (p + 1) ** 2, "log": 1 / np.log10(p + 2.7), "same": 1.0}[kind]


def recommend(prefix, how_many):
    length = len(prefix)
    query = {item: length - 1 - place for place, item in enumerate(prefix) if item <= items}
    for item, place in sorted(query.items(), key=lambda pair: -pair[1]):
        similarity[holding[item]] += weight(place, length)
        latest[holding[item]] = place
        asked[item] = True
    met = np.unique(np.concatenate([holding[item] for item in query]))[::-1]
    found = similarity[met]
    if config.get("similarity", "cosine") == "cosine":
        found = found / np.sqrt(lengths[met])
    if config["lambda_snh"] > 0:
        found = found * np.exp(-(ages[met] - ages[met].min()) / config["lambda_snh"])
    best = np.argsort(-found, kind="stable")[: config["k"]]
    scores = np.zeros(items + 1)
    for session, near in zip(met[best], found[best]):
        own, at = sessions[session], places[session]
        votes = np.full(len(own), near * vote(latest[session]))
        if config["lambda_inh"] > 0:
            votes *= np.exp(-np.abs(at - at[asked[own]].max()) / config["lambda_inh"])
        scores[own] += votes * (1 + config["lambda_idf"] * idf[own])
    similarity[met] = 0
    asked[list(query)] = False
    best = np.argpartition(scores, len(scores) - how_many)[-how_many:]
    return best[np.argsort(-scores[best], kind="stable")]


took, hits, ranks = [], 0, 0.0
asks = [line.split("\t") for line in open(test)][::every]
for prefix, label in asks:
    prefix, label = list(map(int, prefix.split())), int(label)
    begun = time.perf_counter()
    listed = recommend(prefix, K_JUDGED + 1)[:K_JUDGED]
    took.append((time.perf_counter() - begun) * 1e3)
    place = np.flatnonzero(listed == label)
    if len(place):
        hits, ranks = hits + 1, ranks + 1 / (place[0] + 1)
p50, p90, p99 = np.percentile(took, [50, 90, 99])
said = {"hr_at_20": hits / len(asks), "mrr_at_20": ranks / len(asks), "p50": p50, "p90": p90, "p99": p99}
print(json.dumps(said | {"numpy": np.__version__}))
