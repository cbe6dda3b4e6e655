"""The peer of file import: pandas reads Online Retail from CSV and cleans it by the same rules.

    python benches/peers/import_pandas.py FILE [pyarrow]

The last word it prints is the seconds of the work alone, without starting Python and loading pandas.
"""
import sys
import time

import pandas as pd

begun = time.perf_counter()
engine = {"engine": "pyarrow"} if "pyarrow" in sys.argv else {"encoding": "utf-8"}
df = pd.read_csv(sys.argv[1], dtype={"InvoiceNo": str, "StockCode": str, "CustomerID": str}, **engine)
df["InvoiceDate"] = pd.to_datetime(df["InvoiceDate"])
df = df.drop_duplicates()
df = df[df["CustomerID"].notna()]
returns = df[df["InvoiceNo"].str.startswith("C")]
df = df[~df["InvoiceNo"].str.startswith("C")]
code = df["StockCode"].str.upper()
df = df[code.str.match(r"^\d{5}")]
df = df[df["UnitPrice"] > 0]
titles = df.groupby("StockCode")["Description"].agg(lambda texts: texts.value_counts().index[0] if texts.notna().any() else "")
print(len(df), len(returns), len(titles), time.perf_counter() - begun)
