"""Makes encoders.json: what scikit-learn makes of a small table, for tests/encoders.rs to agree with.

    pip install scikit-learn==1.9.1 && python crates/qhatu-features/tests/golden/encoders.py

The table is the worked example's (counts, a price, a category, with gaps), fitted on the first 80 rows of
100; a column without a value and a constant one stand beside them. Fixed seed.
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

ROWS, TRAINING = 100, 80


def main():
    random = np.random.default_rng(42)
    gaps = lambda values: np.where(random.random(ROWS) < 0.1, np.nan, values)
    numbers = {
        "num_product_views": gaps(random.integers(1, 21, ROWS).astype(float)),
        "num_search_queries": gaps(random.integers(0, 11, ROWS).astype(float)),
        "product_price": gaps(random.uniform(10, 1000, ROWS)),
        "constant": np.full(ROWS, 0.1),
        "never_known": np.where(np.arange(ROWS) < TRAINING, np.nan, 3.0),
    }
    category = random.choice(["Electronics", "Clothing", "Books"], ROWS).astype(object)
    category[TRAINING + 3] = "Toys"
    mean = lambda: SimpleImputer(strategy="mean", keep_empty_features=True)
    recipes = {
        "mean": mean,
        "standard": lambda: make_pipeline(mean(), StandardScaler()),
        "min_max": lambda: make_pipeline(mean(), MinMaxScaler()),
    }
    expected = {
        f"{name}.{recipe}": apply(make(), values.reshape(-1, 1)).ravel().tolist()
        for name, values in numbers.items()
        for recipe, make in recipes.items()
    }
    column = category.reshape(-1, 1)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    label = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    expected["category.one_hot"] = apply(one_hot, column).T.tolist()
    expected["category.label"] = apply(label, column).ravel().tolist()
    golden = {
        "made_by": f"scikit-learn {sklearn.__version__}",
        "training_rows": TRAINING,
        "numbers": {name: [None if np.isnan(v) else v for v in values] for name, values in numbers.items()},
        "category": category.tolist(),
        "expected": expected,
    }
    path = pathlib.Path(__file__).with_name("encoders.json")
    path.write_text(json.dumps(golden) + "\n", encoding="utf-8")


def apply(step, values):
    return step.fit(values[:TRAINING]).transform(values)


if __name__ == "__main__":
    main()
