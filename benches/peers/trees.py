"""The peers of `cargo xtask bench trees`: LightGBM, XGBoost, scikit-learn on the rows and folds that ours wrote.

    python trees.py lightgbm|xgboost|sklearn FOLDER

Answers the same lines as crates/qhatu-train/examples/trees_bench, two threads each:

    quality boosting|forest|logistic SEED all|no_page_values   ROC-AUC, PR-AUC, log-loss, F1, Brier, ECE: means over five folds, then deviations
    fit TIMES      seconds to fit the rows, repeated so often, from the matrix to the model
    row COUNT      microseconds to score a row, one at a time
    rank orders|made_up SEED   NDCG@10 by LambdaRank, its mean over five folds and their deviation

The first line printed is the peer's name and version. Settings: 200 trees, 31 leaves, depth 6, rate 0.05; forests of
100 trees; orders by trees as `lambda_mart` has them: 60 of 31 leaves of 100 rows at least, rate 0.1, L2 of 1; the rest as
the library has it.
"""
import ctypes
import pathlib
import sys
import time
import warnings

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, log_loss, roc_auc_score

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(sys.argv[2])
NAMES = (FOLDER / "columns.txt").read_text().split("\n")
MATRIX = np.fromfile(FOLDER / "matrix.f32", dtype="<f4").reshape(-1, len(NAMES) + 1)
X, Y = np.ascontiguousarray(MATRIX[:, :-1]), MATRIX[:, -1]
FOLDS = np.fromfile(FOLDER / "folds.u8", dtype=np.uint8).reshape(10, -1)
LIGHTGBM = {
    "num_leaves": 31, "max_depth": 6, "learning_rate": 0.05, "verbose": -1, "num_threads": 2, "deterministic": True,
}
XGBOOST = {
    "max_depth": 6, "max_leaves": 31, "grow_policy": "lossguide", "eta": 0.05, "nthread": 2, "tree_method": "hist",
}
# Trees, and what differs from the settings above: XGBoost counts hessians in a leaf and no rows, and has an L2 of 1.
RANKED = {
    "made_up": (200, {}, {}),
    "orders": (
        60,
        {"max_depth": -1, "learning_rate": 0.1, "min_data_in_leaf": 100, "lambda_l2": 1.0},
        {"max_depth": 0, "eta": 0.1},
    ),
}


class LightGbm:
    def __init__(self):
        import lightgbm

        self.library, self.name = lightgbm, f"LightGBM {lightgbm.__version__}"

    def fit(self, kind, seed, x, y):
        own = LIGHTGBM | {"objective": "binary", "seed": seed}
        return self.library.train(own, self.library.Dataset(x, y), 200)

    def tell(self, model, x):
        return model.predict(x, num_threads=2)

    def row(self, model, count):
        """By the fastest call there is: the C interface's single row, prepared once."""
        library, rows = self.library.basic._LIB, X[:4096].astype(np.float64)
        handle, ready = model._handle, ctypes.c_void_p()
        library.LGBM_BoosterPredictForMatSingleRowFastInit(
            handle, ctypes.c_int(1), ctypes.c_int(0), ctypes.c_int(-1), ctypes.c_int(1),
            ctypes.c_int32(rows.shape[1]), ctypes.c_char_p(b"num_threads=1"), ctypes.byref(ready))
        size, out = ctypes.c_int64(), (ctypes.c_double * 1)()
        call = library.LGBM_BoosterPredictForMatSingleRowFast
        pointers = [ctypes.c_void_p(rows[place].ctypes.data) for place in range(len(rows))]
        size_at, out_at = ctypes.byref(size), out
        start = time.perf_counter()
        for place in range(count):
            call(ready, pointers[place % 4096], size_at, out_at)
        whole = time.perf_counter() - start
        # What Python and ctypes need for a call that does nothing is not the peer's.
        nothing = ctypes.CDLL(None).getppid
        start = time.perf_counter()
        for place in range(count):
            nothing(ready, pointers[place % 4096], size_at, out_at)
        return (whole - (time.perf_counter() - start)) * 1e6 / count

    def rank(self, kind, seed, x, y, groups, judged):
        trees, settings, _ = RANKED[kind]
        own = LIGHTGBM | {"objective": "lambdarank", "seed": seed} | settings
        return self.library.train(own, self.library.Dataset(x, y, group=groups), trees).predict(judged)


class XgBoost:
    def __init__(self):
        import xgboost

        self.library, self.name = xgboost, f"XGBoost {xgboost.__version__}"

    def fit(self, kind, seed, x, y):
        own = XGBOOST | {"objective": "binary:logistic", "seed": seed}
        return self.library.train(own, self.library.QuantileDMatrix(x, y, nthread=2), 200)

    def tell(self, model, x):
        return model.inplace_predict(x)

    def row(self, model, count):
        model.set_param({"nthread": 1})
        rows = [X[place : place + 1] for place in range(4096)]
        start = time.perf_counter()
        for place in range(count):
            model.inplace_predict(rows[place % 4096])
        return (time.perf_counter() - start) * 1e6 / count

    def rank(self, kind, seed, x, y, groups, judged):
        trees, _, settings = RANKED[kind]
        own = XGBOOST | {"objective": "rank:ndcg", "lambdarank_pair_method": "topk", "seed": seed} | settings
        matrix = self.library.DMatrix(x, y, group=groups)
        return self.library.train(own, matrix, trees).inplace_predict(judged)


class Sklearn:
    def __init__(self):
        import sklearn

        self.name = f"scikit-learn {sklearn.__version__}"

    def fit(self, kind, seed, x, y):
        from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if kind == "forest":
            model = RandomForestClassifier(100, random_state=seed, n_jobs=2)
        elif kind == "logistic":
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        else:
            model = HistGradientBoostingClassifier(
                learning_rate=0.05, max_iter=200, max_leaf_nodes=31, max_depth=6, early_stopping=False,
                random_state=seed)
        return model.fit(x, y)

    def tell(self, model, x):
        return model.predict_proba(x)[:, 1]


def quality(peer, kind, seed, columns):
    used = [at for at, name in enumerate(NAMES) if columns == "all" or name != "PageValues"]
    figures = []
    for fold in range(5):
        judging = FOLDS[seed] == fold
        model = peer.fit(kind, seed, X[~judging][:, used], Y[~judging])
        told, truth = peer.tell(model, X[judging][:, used]), Y[judging]
        figures.append([
            roc_auc_score(truth, told), average_precision_score(truth, told), log_loss(truth, told),
            f1_score(truth, told >= 0.5), brier_score_loss(truth, told), ece(truth, told)])
    # The means, then how far folds lie apart.
    return [*np.mean(figures, axis=0), *np.std(figures, axis=0, ddof=1)]


def ece(truth, told):
    bins = np.minimum((told * 10).astype(int), 9)
    return np.abs(np.bincount(bins, told - truth, 10)).sum() / len(truth)


def ndcg(y, told, groups):
    found, start = [], 0
    for size in groups:
        grades, order = y[start : start + size], np.argsort(-told[start : start + size], kind="stable")
        weights = 1 / np.log2(np.arange(2, 12))[: min(10, size)]
        best = np.sum((2 ** np.sort(grades)[::-1][:10] - 1) * weights)
        found.append(np.sum((2 ** grades[order][:10] - 1) * weights) / best if best > 0 else 1.0)
        start += size
    return float(np.mean(found))


def rank(peer, kind, seed):
    groups, folds = np.loadtxt(FOLDER / f"{kind}.groups", dtype=int).T
    rows = np.fromfile(FOLDER / f"{kind}.f32", dtype="<f4").reshape(groups.sum(), -1)
    figures = []
    for fold in range(5):
        judging, group_judges = np.repeat(folds == fold, groups), folds == fold
        (taught, judged), y = (rows[~judging, :-1], rows[judging, :-1]), rows[:, -1]
        told = peer.rank(kind, seed, taught, y[~judging], groups[~group_judges], judged)
        figures.append(ndcg(y[judging], told, groups[group_judges]))
    return [np.mean(figures), np.std(figures, ddof=1)]


def main():
    peer, fitted = {"lightgbm": LightGbm, "xgboost": XgBoost, "sklearn": Sklearn}[sys.argv[1]](), None
    print(peer.name, flush=True)
    for line in sys.stdin:
        match line.split():
            case ["quality", kind, seed, columns]:
                answer = quality(peer, kind, int(seed), columns)
            case ["fit", times]:
                x, y = np.tile(X, (int(times), 1)), np.tile(Y, int(times))
                start = time.perf_counter()
                fitted = peer.fit("boosting", 1, x, y)
                answer = [time.perf_counter() - start]
            case ["row", count]:
                answer = [peer.row(fitted, int(count))]
            case ["rank", kind, seed]:
                answer = rank(peer, kind, int(seed))
        print(" ".join(f"{number:.6f}" for number in answer), flush=True)


main()
