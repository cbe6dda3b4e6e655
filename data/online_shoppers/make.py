"""Makes online_shoppers.parquet from the published rows as CSV, and checks that nothing changed.

    python make.py make SOURCE.csv     writes online_shoppers.parquet beside this file
    python make.py verify SOURCE.csv   compares every cell, in order
"""
import pathlib
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

TARGET = pathlib.Path(__file__).with_name("online_shoppers.parquet")
ROWS, BUYERS = 12_330, 1_908
# Numbers that only name something.
CODES = ["OperatingSystems", "Browser", "Region", "TrafficType"]
TEXTS = ["Month", "VisitorType"]
TRUTHS = ["Weekend", "Revenue"]


def source(path):
    rows = pd.read_csv(path, dtype={name: str for name in CODES + TEXTS})
    return rows.astype({name: bool for name in TRUTHS})


def kind(name):
    if name in CODES + TEXTS:
        return pa.string()
    return pa.bool_() if name in TRUTHS else pa.float64()


def make(path):
    rows = source(path)
    table = pa.table({name: pa.array(rows[name], kind(name)) for name in rows})
    pq.write_table(table, TARGET, compression="zstd", compression_level=19, row_group_size=ROWS)


def verify(path):
    rows, kept = source(path), pd.read_parquet(TARGET)
    assert len(kept) == ROWS and kept["Revenue"].sum() == BUYERS, len(kept)
    assert list(kept) == list(rows)
    for name in rows:
        assert (rows[name] == kept[name]).all(), name
    print(f"{TARGET.name}: {len(kept)} rows, every cell equal")


if __name__ == "__main__":
    {"make": make, "verify": verify}[sys.argv[1]](sys.argv[2])
