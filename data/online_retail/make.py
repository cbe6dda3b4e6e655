"""Makes online_retail.parquet from the published rows as CSV, and checks that nothing changed.

    python make.py make SOURCE.csv[.gz]     writes online_retail.parquet beside this file
    python make.py verify SOURCE.csv[.gz]   compares every cell, in order
"""
import pathlib
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

TARGET = pathlib.Path(__file__).with_name("online_retail.parquet")
ROWS = 541_909


def source(path):
    """The published rows: texts as they are, an empty cell as a gap."""
    rows = pd.read_csv(path, dtype={"InvoiceNo": str, "StockCode": str, "Description": str, "CustomerID": str},
                       keep_default_na=False, na_values={"CustomerID": [""], "Description": [""]})
    rows["InvoiceDate"] = pd.to_datetime(rows["InvoiceDate"])
    rows["CustomerID"] = rows["CustomerID"].str.removesuffix(".0")
    return rows


def make(path):
    rows = source(path)
    table = pa.table({
        "InvoiceNo": pa.array(rows["InvoiceNo"], pa.string()),
        "StockCode": pa.array(rows["StockCode"], pa.string()),
        "Description": pa.array(rows["Description"], pa.string(), from_pandas=True),
        "Quantity": pa.array(rows["Quantity"], pa.int32()),
        "InvoiceDate": pa.array(rows["InvoiceDate"], pa.timestamp("s")),
        "UnitPrice": pa.array(rows["UnitPrice"], pa.float64()),
        "CustomerID": pa.array(rows["CustomerID"], pa.string(), from_pandas=True),
        "Country": pa.array(rows["Country"], pa.string()),
    })
    pq.write_table(table, TARGET, compression="zstd", compression_level=19, row_group_size=ROWS)


def verify(path):
    rows, kept = source(path), pd.read_parquet(TARGET)
    assert len(kept) == ROWS, len(kept)
    for name in rows:
        left, right = rows[name], kept[name]
        assert ((left == right) | (left.isna() & right.isna())).all(), name
    print(f"{TARGET.name}: {len(kept)} rows, every cell equal")


if __name__ == "__main__":
    {"make": make, "verify": verify}[sys.argv[1]](sys.argv[2])
