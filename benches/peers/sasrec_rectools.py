"""The peer of `cargo xtask bench sasrec`: RecTools' SASRec by leave-one-out, full softmax, hidden 64, 2 blocks, length 200.

    gzip -dc sequences.tsv.gz | python sasrec_rectools.py SECONDS [SEED]

Trains an epoch at a time until so many seconds of training have passed, or until ten epochs bring nothing. Prints, separated by
tabs, `name VERSION`, `epoch NUMBER SECONDS - NDCG@10` of the validation items, and `test NDCG@10 HR@10 SECONDS`. Two threads.
"""

import sys
import time

import numpy as np
import pandas as pd
import rectools
import torch
from rectools.dataset import Dataset
from rectools.models import SASRecModel

torch.set_num_threads(2)


def judged(model, known, wanted):
    users = wanted["user_id"].to_numpy()
    dataset = Dataset.construct(known)
    found = model.recommend(users=users, dataset=dataset, k=10, filter_viewed=True)
    both = found.merge(wanted, on="user_id", suffixes=("", "_wanted"))
    hits = both[both["item_id"] == both["item_id_wanted"]]
    return float((1 / np.log2(hits["rank"] + 1)).sum() / len(users)), len(hits) / len(users)


def main():
    limit, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    torch.manual_seed(seed)
    lines = pd.read_csv(sys.stdin, sep="\t").rename(columns={"user": "user_id", "item": "item_id"})
    lines["weight"] = 1
    place = lines.groupby("user_id").cumcount()
    lines["datetime"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(place, unit="s")
    left = lines.groupby("user_id").cumcount(ascending=False)
    train, valid, test = lines[left > 1], lines[left == 1], lines[left == 0]
    columns = ["user_id", "item_id"]
    model = SASRecModel(n_factors=64, n_blocks=2, n_heads=1, session_max_len=200, batch_size=128, lr=1e-3,
                        dropout_rate=0.2, loss="softmax", dataloader_num_workers=0, recommend_torch_device="cpu")
    print(f"name\tRecTools {rectools.__version__}", flush=True)
    dataset, spent, best, epoch, since = Dataset.construct(train), 0.0, -1.0, 0, 0
    while spent < limit and since < 10:
        start = time.perf_counter()
        model.fit_partial(dataset, min_epochs=1, max_epochs=1)
        spent, epoch = spent + time.perf_counter() - start, epoch + 1
        ndcg, _ = judged(model, train, valid[columns])
        since = 0 if ndcg > best else since + 1
        best = max(best, ndcg)
        print(f"epoch\t{epoch}\t{spent:.1f}\t-\t{ndcg:.5f}", flush=True)
    ndcg, hits = judged(model, pd.concat([train, valid]), test[columns])
    print(f"test\t{ndcg:.5f}\t{hits:.5f}\t{spent:.1f}", flush=True)


main()
