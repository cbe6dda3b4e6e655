"""Writes sessions as text for the session-kNN benchmark: TRAIN (a session a line) and TEST (prefix, tab, next item).

`session_files.py retailrocket DATA OUT` takes the published split of DATA/retailrocket as it is;
`session_files.py online_retail - OUT` takes the demo's invoices by time, the last tenth as the test: each line of
an invoice after the first is foreseen from those before it.
"""
import gzip
import pathlib
import sys


def retailrocket(data, out):
    folder = pathlib.Path(data) / "retailrocket"
    (out / "train.txt").write_bytes(gzip.open(folder / "sessions_train.txt.gz").read())
    lines = gzip.open(folder / "sessions_test_prefix_label.tsv.gz", "rt").read().splitlines()
    (out / "test.tsv").write_text("\n".join(line for line in lines if line[0].isdigit()) + "\n")


def online_retail(_, out):
    import pandas as pd

    root = pathlib.Path(__file__).resolve().parents[2]
    df = pd.read_parquet(root / "data/online_retail/online_retail.parquet")
    df = df[df["CustomerID"].notna() & ~df["InvoiceNo"].str.startswith("C") & df["StockCode"].str.match(r"^\d{5}")]
    df = df.drop_duplicates(["InvoiceNo", "StockCode"])
    number = {code: place + 1 for place, code in enumerate(sorted(df["StockCode"].unique()))}
    order = df.groupby("InvoiceNo")["InvoiceDate"].min().sort_values(kind="stable").index
    lines = df.groupby("InvoiceNo")["StockCode"].agg(lambda codes: [number[code] for code in codes])
    sessions = [lines[invoice] for invoice in order]
    cut = len(sessions) * 9 // 10
    text = lambda items: " ".join(map(str, items))
    (out / "train.txt").write_text("".join(text(items) + "\n" for items in sessions[:cut]))
    tests = [(items[:at], items[at]) for items in sessions[cut:] for at in range(1, len(items), 7)]
    (out / "test.tsv").write_text("".join(f"{text(prefix)}\t{label}\n" for prefix, label in tests))


if __name__ == "__main__":
    kind, data, out = sys.argv[1:]
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    {"retailrocket": retailrocket, "online_retail": online_retail}[kind](data, out)
