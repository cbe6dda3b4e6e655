"""Holds our measures to 1e-9 against trec_eval and against a second formulation of each.

    cargo run -p qhatu-train --example shared_cases > cases.json
    python tests/python/metrics_check.py cases.json

NDCG, recall, MRR, MAP and hit rate: trec_eval (pytrec_eval-terrier, MIT), the reference of the field; its map_cut_k
divides by all relevant items, ours by min(k, relevant), so the factor between the two is taken out. What trec_eval does
not have (coverage, novelty, diversity, bootstrap, classification) is written here anew: sets and dense matrices instead
of lists, pairs instead of sorting, the random generator from its published definition. Classification is held against scikit-learn too,
where it is defined there.
"""

import itertools
import json
import math
import sys

import numpy as np
import pytrec_eval
import sklearn.metrics

TOLERANCE = 1e-9
MASK = (1 << 64) - 1


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    checks = {"ranking": ranking, "lists": lists, "intervals": intervals, "classification": classification}
    compared, faults = 0, []
    for name, check in checks.items():
        for number, case in enumerate(cases[name]):
            for what, ours, theirs in check(case):
                compared += 1
                if not same(ours, theirs):
                    faults.append(f"{name} {number}: {what}: ours {ours}, expected {theirs}")
    print("\n".join(faults[:20]) or f"{compared} figures agree to {TOLERANCE}")
    return 1 if faults or compared < 5000 else 0


def same(ours, theirs):
    if isinstance(ours, list) or ours is None or theirs is None:
        return ours == theirs
    return abs(ours - theirs) <= TOLERANCE


def ranking(case):
    scores, k = np.array(case["scores"]), case["k"]
    order = [int(item) + 1 for item in np.lexsort((np.arange(len(scores)), -scores))]
    yield "list", case["list"], [item for item in order if item not in case["excluded"]][: case["asked"]]
    expected = dict.fromkeys(["ndcg", "recall", "mrr", "map", "hit_rate"], 0.0)
    relevant, top = set(case["relevant"]), case["list"][:k]
    if relevant and top:
        expected = by_trec_eval(top, relevant, k)
    for name, value in expected.items():
        yield f"{name}@{k}", case[name], value
    for name, value in by_sets(top, relevant, k).items():
        yield f"{name}@{k} by sets", case[name], value


def by_trec_eval(top, relevant, k):
    measures = {f"ndcg_cut.{k}", f"recall.{k}", "recip_rank", f"map_cut.{k}", f"success.{k}"}
    evaluator = pytrec_eval.RelevanceEvaluator({"q": {str(item): 1 for item in relevant}}, measures)
    found = evaluator.evaluate({"q": {str(item): float(-place) for place, item in enumerate(top)}})["q"]
    return {
        "ndcg": found[f"ndcg_cut_{k}"],
        "recall": found[f"recall_{k}"],
        "mrr": found["recip_rank"],
        "map": found[f"map_cut_{k}"] * len(relevant) / min(k, len(relevant)),
        "hit_rate": found[f"success_{k}"],
    }


def by_sets(top, relevant, k):
    if not relevant or k == 0:
        return dict.fromkeys(["ndcg", "recall", "mrr", "map", "hit_rate"], 0.0)
    prefixes = [len(relevant.intersection(top[: end + 1])) for end in range(len(top))]
    gains = np.diff(np.array([0, *prefixes]))
    discounts = 1 / np.log2(np.arange(2, len(top) + 2))
    best = np.sum(1 / np.log2(np.arange(2, min(k, len(relevant)) + 2)))
    places = np.flatnonzero(gains)
    return {
        "ndcg": float(gains @ discounts / best) if top else 0.0,
        "recall": len(relevant.intersection(top)) / len(relevant),
        "mrr": float(1 / (places[0] + 1)) if len(places) else 0.0,
        "map": sum(prefixes[place] / (place + 1) for place in places) / min(k, len(relevant)),
        "hit_rate": float(bool(relevant.intersection(top))),
    }


def lists(case):
    k, items = case["k"], case["items"]
    tops = [top[:k] for top in case["lists"]]
    share = len(set(itertools.chain.from_iterable(tops))) / items
    yield "coverage", case["coverage"], share
    wanted = case["coverage_interval"]
    draws = resamples(len(tops), wanted["samples"], wanted["seed"])
    shares = [len(set(itertools.chain.from_iterable(tops[place] for place in drawn))) / items for drawn in draws]
    bias = float(np.mean(shares)) - share
    low, high = (float(end) - bias for end in np.percentile(shares, [2.5, 97.5]))
    yield "coverage, low", wanted["low"], min(share, max(0.0, low))
    yield "coverage, high", wanted["high"], max(share, min(1.0, high))
    shoppers = 1 + max((max(own) for own in case["buyers"] if own), default=0)
    matrix = np.zeros((shoppers, items + 1))
    for item, own in enumerate(case["buyers"]):
        matrix[own, item] = 1
    norms = np.linalg.norm(matrix, axis=0)
    cosine = matrix.T @ matrix / np.where(norms > 0, norms, 1) / np.where(norms > 0, norms, 1)[:, None]
    floor = min((share for share in case["shares"] if share > 0), default=1.0)
    bits = -np.log2(np.maximum(case["shares"], floor))
    category = np.array(case["categories"])
    for number, top in enumerate(tops):
        yield f"novelty {number}", case["novelty"][number], float(bits[top].mean()) if top else None
        pairs = list(itertools.combinations(top, 2))
        far = [1 - cosine[a, b] for a, b in pairs]
        yield f"diversity {number}", case["diversity"][number], float(np.mean(far)) if pairs else None
        other = [category[a] != category[b] for a, b in pairs]
        yield f"categories {number}", case["category_diversity"][number], float(np.mean(other)) if pairs else None


def resamples(n, samples, seed):
    """The places that each resample draws: xoshiro256++ (Blackman and Vigna) seeded by SplitMix64."""
    state = []
    for _ in range(4):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        state.append(mixed ^ (mixed >> 31))

    def rotate(value, by):
        return ((value << by) | (value >> (64 - by))) & MASK

    def step():
        a, b, c, d = state
        answer = (rotate((a + d) & MASK, 23) + a) & MASK
        c, d = c ^ a, d ^ b
        b, a = b ^ c, a ^ d
        state[:] = a, b, c ^ ((state[1] << 17) & MASK), rotate(d, 45)
        return answer

    return [[((step() >> 32) * n) >> 32 for _ in range(n)] for _ in range(samples)]


def intervals(case):
    values, others = np.array(case["values"]), np.array(case["others"])
    for name, sample in (("interval", values), ("paired", values - others)):
        means = [sample[drawn].mean() for drawn in resamples(len(sample), case["samples"], case["seed"])]
        expected = [sample.mean(), np.percentile(means, 2.5), np.percentile(means, 97.5)]
        for what, ours, theirs in zip(("mean", "low", "high"), case[name], expected):
            yield f"{name}, {what}", ours, float(theirs)


def classification(case):
    scores, labels = np.array(case["scores"]), np.array(case["labels"])
    yes, no = scores[labels], scores[~labels]
    wins = (yes[:, None] > no).sum() + (yes[:, None] == no).sum() / 2
    yield "auc_roc", case["auc_roc"], float(wins / (len(yes) * len(no))) if len(yes) and len(no) else None
    # The precision that each positive sees at its own score; rows of equal score are seen together.
    seen = [labels[scores >= score].mean() for score in yes]
    yield "auc_pr", case["auc_pr"], float(np.mean(seen)) if len(yes) else None
    eps = 2.0**-52
    told = np.where(labels, np.clip(scores, eps, 1 - eps), 1 - np.clip(scores, eps, 1 - eps))
    yield "log_loss", case["log_loss"], float(-np.log(told).mean())
    yield "brier", case["brier"], float(((scores - labels) ** 2).mean())
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs((scores[bins == b] - labels[bins == b]).sum()) for b in range(10)]
    yield "ece", case["ece"], float(sum(gaps) / len(scores))
    said = scores >= 0.5
    both = float((said & labels).sum())
    precision, recall = both / max(said.sum(), 1), both / max(labels.sum(), 1)
    yield "accuracy", case["accuracy"], float((said == labels).mean())
    yield "precision", case["precision"], float(precision)
    yield "recall", case["recall"], float(recall)
    yield "f1", case["f1"], float(2 * precision * recall / (precision + recall)) if both else 0.0
    yield from by_scikit_learn(case, scores, labels)


def by_scikit_learn(case, scores, labels):
    known = sklearn.metrics
    if labels.any() and not labels.all():
        yield "auc_roc, scikit-learn", case["auc_roc"], float(known.roc_auc_score(labels, scores))
        yield "auc_pr, scikit-learn", case["auc_pr"], float(known.average_precision_score(labels, scores))
    yield "log_loss, scikit-learn", case["log_loss"], float(known.log_loss(labels, scores, labels=[False, True]))
    yield "brier, scikit-learn", case["brier"], float(known.brier_score_loss(labels, scores, pos_label=True))
    said = scores >= 0.5
    yield "accuracy, scikit-learn", case["accuracy"], float(known.accuracy_score(labels, said))
    yield "f1, scikit-learn", case["f1"], float(known.f1_score(labels, said, zero_division=0))


if __name__ == "__main__":
    sys.exit(main())
