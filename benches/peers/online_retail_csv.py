"""Writes data/online_retail/online_retail.parquet as a CSV file, as the shop's system would."""
import pathlib
import sys

import pandas as pd

root = pathlib.Path(__file__).resolve().parents[2]
out = pathlib.Path(sys.argv[1])
if not out.exists():
    pd.read_parquet(root / "data/online_retail/online_retail.parquet").to_csv(out, index=False)
