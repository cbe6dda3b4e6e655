"""The peer of file import: pandas reads Online Retail from CSV and cleans it by the same rules."""
import sys

import pandas as pd

df = pd.read_csv(sys.argv[1], dtype={"InvoiceNo": str, "StockCode": str, "CustomerID": str}, encoding="utf-8")
df["InvoiceDate"] = pd.to_datetime(df["InvoiceDate"])
df = df.drop_duplicates()
df = df[df["CustomerID"].notna()]
returns = df[df["InvoiceNo"].str.startswith("C")]
df = df[~df["InvoiceNo"].str.startswith("C")]
code = df["StockCode"].str.upper()
df = df[code.str.match(r"^\d{5}")]
df = df[df["UnitPrice"] > 0]
titles = df.groupby("StockCode")["Description"].agg(lambda texts: texts.value_counts().index[0] if texts.notna().any() else "")
print(len(df), len(returns), len(titles))
