"""Loads exported trees with XGBoost and holds its margins against ours.

    cargo run -p qhatu-models --example xgboost_export > trees.json
    python tests/python/xgboost_check.py trees.json

Boosting with the logistic and the squared objective and a forest, with missing values and categories.
"""
import json
import sys
import tempfile

import numpy as np
import xgboost

TOLERANCE = 1e-4


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        exported = json.load(file)
    rows = np.array(exported["rows"], dtype=np.float32)
    kinds = ["c" if category else "float" for category in exported["categorical"]]
    matrix = xgboost.DMatrix(rows, feature_names=list("abcde"), feature_types=kinds, enable_categorical=True)
    faults = 0
    for number, own in enumerate(exported["models"]):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(own["model"], file)
            file.flush()
            booster = xgboost.Booster(model_file=file.name)
        margins = booster.predict(matrix, output_margin=True)
        far = float(np.max(np.abs(margins - np.array(own["margins"]))))
        print(f"model {number}: {booster.num_boosted_rounds()} trees, {len(rows)} rows, margins differ by {far:.2e}")
        faults += not far <= TOLERANCE
    return 1 if faults or len(exported["models"]) != 3 else 0


if __name__ == "__main__":
    sys.exit(main())
