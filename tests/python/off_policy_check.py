"""Holds `qhatu off-policy` on the Open Bandit logs: to 1e-9 against the estimators written here anew, and against what the
other policy really earned in its own log.

    python tests/python/off_policy_check.py QHATU FOLDER

Both ways: the log of Thompson sampling tells what showing at random earns (its probability is 1/80 everywhere), and the
random log tells what Thompson sampling earns (its probabilities are the shares of each item at each position of its own
log; it hardly looks at the shopper). The doubly robust estimate's model is each item's click rate in the other half of
the log, drawn to the mean. Truth and estimate both have intervals; they must meet.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd

ITEMS = 80
TOLERANCE = 1e-9
DATA = pathlib.Path(__file__).parents[2] / "data" / "open_bandit"


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    qhatu, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    logs = {name: pd.read_parquet(DATA / f"{name}.parquet") for name in ("random", "bts")}
    position = logs["random"]["position"].unique()
    flat = {(item, place): 1.0 / ITEMS for item in range(ITEMS) for place in position}
    shares = logs["bts"].groupby("position")["item_id"].value_counts(normalize=True)
    learned = {(item, place): share for (place, item), share in shares.items()}
    faults = []
    for logged, other, policy in (("bts", "random", flat), ("random", "bts", learned)):
        path = folder / f"{logged}.parquet"
        log = prepared(logs[logged], policy)
        log.to_parquet(path, index=False)
        for clip in (float("inf"), 3.0):
            args = [qhatu, "off-policy", str(path), "--json", "--clip", str(clip)]
            found = json.loads(subprocess.run(args, check=True, capture_output=True, text=True).stdout)
            for name, wanted in expected(log, clip).items():
                ours = found[name] if isinstance(found[name], float) else found[name]["mean"]
                if abs(ours - wanted) > TOLERANCE * max(1.0, abs(wanted)):
                    faults.append(f"{logged}, clip {clip}: {name}: ours {ours}, expected {wanted}")
            truth = interval(logs[other]["click"].to_numpy(float))
            print(f"what {other} earns: {truth[0]:.5f} to {truth[1]:.5f}; from the log of {logged}, clip {clip}:")
            for name in ("logged", "ips", "snips", "dm", "dr"):
                print(f"  {name:7} {found[name]['mean']:.5f} [{found[name]['low']:.5f}, {found[name]['high']:.5f}]")
            for name in ("ips", "snips", "dr") if clip > 3.0 else ():
                if found[name]["low"] > truth[1] or found[name]["high"] < truth[0]:
                    faults.append(f"{logged}: {name} [{found[name]['low']}, {found[name]['high']}] misses {truth}")
    print("\n".join(faults) or "all estimates agree")
    return 1 if faults else 0


def prepared(log: pd.DataFrame, policy: dict) -> pd.DataFrame:
    """The columns of the command, with a model of the clicks that has not seen the row's own half."""
    pairs = list(zip(log["item_id"], log["position"]))
    half = np.arange(len(log)) % 2
    rates = [click_rates(log[half != side]) for side in (0, 1)]
    items, position = log["item_id"].to_numpy(), log["position"].to_numpy()
    values = {
        place: np.array([policy.get((item, place), 0.0) for item in range(ITEMS)]) for place in np.unique(position)
    }
    return pd.DataFrame(
        {
            "reward": log["click"].to_numpy(),
            "propensity": log["propensity_score"].to_numpy(),
            "target": [policy.get(pair, 0.0) for pair in pairs],
            "foretold_shown": [rates[side][item] for side, item in zip(half, items)],
            "foretold_target": [float(values[place] @ rates[side]) for side, place in zip(half, position)],
        }
    )


def click_rates(log: pd.DataFrame) -> np.ndarray:
    mean, strength = log["click"].mean(), 100.0
    sums = log.groupby("item_id")["click"].agg(["sum", "count"]).reindex(range(ITEMS), fill_value=0)
    return ((sums["sum"] + strength * mean) / (sums["count"] + strength)).to_numpy()


def expected(log: pd.DataFrame, clip: float) -> dict:
    """Each estimate by dot products over the whole log."""
    raw = log["target"].to_numpy() / log["propensity"].to_numpy()
    w = np.minimum(raw, clip)
    r, q, v = (log[name].to_numpy(float) for name in ("reward", "foretold_shown", "foretold_target"))
    n = len(log)
    return {
        "logged": r.sum() / n,
        "ips": w @ r / n,
        "snips": w @ r / w.sum(),
        "dm": v.sum() / n,
        "dr": (v.sum() + w @ (r - q)) / n,
        "effective_sample_size": w.sum() ** 2 / (w @ w),
        "mean_weight": w.sum() / n,
        "largest_weight": raw.max(),
    }


def interval(values: np.ndarray) -> tuple[float, float]:
    """The normal 95 % interval of a mean."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


if __name__ == "__main__":
    sys.exit(main())
