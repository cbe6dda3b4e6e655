"""Order lines of UCI Online Retail for `cargo xtask bench cold`: order, day, item and title, with tabs between.

    python cold_lines.py OUT.tsv

Lines of known customers that are neither returns nor postage and the like; an item has the title it bears most often.
Order lines keep the file's order.
"""

import pathlib
import sys

import pandas as pd

DATA = pathlib.Path(__file__).resolve().parents[2] / "data/online_retail/online_retail.parquet"

rows = pd.read_parquet(DATA)
rows = rows[rows.CustomerID.notna() & (rows.Quantity > 0) & (rows.UnitPrice > 0)]
rows = rows[rows.StockCode.str.match(r"^\d") & rows.Description.notna()]
rows["Description"] = rows.Description.str.split().str.join(" ")
titles = rows.groupby("StockCode").Description.agg(lambda names: names.mode().iloc[0])
rows["title"] = rows.StockCode.map(titles)
rows["day"] = pd.to_datetime(rows.InvoiceDate).dt.strftime("%Y-%m-%d")
rows[["InvoiceNo", "day", "StockCode", "title"]].to_csv(sys.argv[1], sep="\t", header=False, index=False)
