"""Makes the seeds of the fuzz targets that other programs can write, from the demo's data.

    .tools/python/bin/python fuzz/seeds.py

UCI Online Retail (CC BY 4.0, see data/online_retail/README.md) as CSV in several ways of writing, as JSON
Lines, and as Parquet in the compressions and types that pandas writes; and the small checkpoints that the tests
of text models hold, each file behind the byte that chooses it. The seeds of models come from
`cargo run -p qhatu-models --example fuzz_seeds`.
"""

import gzip
import hashlib
import io
import json
import pathlib
import tomllib
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parents[1]
CORPUS = ROOT / "fuzz/corpus"


def keep(target: str, name: str, content: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def rows() -> pd.DataFrame:
    whole = pd.read_parquet(ROOT / "data/online_retail/online_retail.parquet")
    picked = [whole.head(6), whole[whole.CustomerID.isna()].head(2), whole[whole.InvoiceNo.str.startswith("C")].head(2)]
    return pd.concat(picked)


def csv(frame: pd.DataFrame) -> None:
    """The first byte chooses mapping and delimiter, the second encoding and packing (fuzz_targets/csv.rs)."""
    text = frame.to_csv(index=False)
    keep("csv", "plain", b"\x00\x00" + text.encode())
    keep("csv", "semicolons", b"\x00\x00" + frame.to_csv(index=False, sep=";", decimal=",").encode())
    keep("csv", "latin", b"\x00\x01" + text.replace("HANGING", "MAÑANA").encode("cp1252"))
    keep("csv", "utf16", b"\x00\x02" + text[:600].encode("utf-16"))
    keep("csv", "gz", b"\x00\x0c" + gzip.compress(text.encode(), mtime=0))
    names = {"InvoiceNo": "order_id", "StockCode": "item_id", "Description": "title", "Quantity": "quantity",
             "InvoiceDate": "time", "UnitPrice": "price", "CustomerID": "user_id", "Country": "country"}
    wide = frame.rename(columns=names).assign(
        event_id="", kind="compra", session_id="s", currency="GBP", state="paid", query="", description="",
        category="Home > Kitchen", brand="", stock=3, ubigeo="150101")
    keep("csv", "wide", b"\x01\x00" + wide.to_csv(index=False).encode())


def parquet(frame: pd.DataFrame) -> None:
    for compression in ["NONE", "snappy", "zstd", "gzip"]:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(frame.head(4), preserve_index=False), sink, compression=compression)
        keep("parquet", compression.lower(), sink.getvalue().to_pybytes())
    events = pa.table({
        "event_id": ["e1", "e2"], "time": pa.array([1322000000000, None], pa.timestamp("ms", "UTC")),
        "kind": ["view", "purchase"], "user_id": ["u", None], "session_id": [None, "s"],
        "item_id": pa.array(["i", "i"]).dictionary_encode(), "quantity": pa.array([1, 2], pa.int32()),
        "price": pa.array([1, 2], pa.decimal128(9, 2)), "currency": ["PEN", "PEN"], "order_id": [None, "o"],
        "state": [None, "paid"], "query": pa.array([None, None], pa.string()), "flag": [True, None],
        "day": pa.array([15000, None], pa.date32()), "small": pa.array([1.5, None], pa.float32()),
    })
    sink = pa.BufferOutputStream()
    pq.write_table(events, sink, compression="NONE", use_dictionary=["item_id"])
    keep("parquet", "types", sink.getvalue().to_pybytes())


def json_lines(frame: pd.DataFrame) -> None:
    """The first byte chooses packing and mapping (fuzz_targets/json_lines.rs)."""
    own = [{"event_id": f"e{n}", "time": row.InvoiceDate.isoformat() + "Z", "kind": "purchase",
            "user_id": str(row.CustomerID), "item_id": row.StockCode, "quantity": max(1, int(row.Quantity)),
            "price": {"micros": int(row.UnitPrice * 1e6), "currency": "GBP"}, "order_id": row.InvoiceNo}
           for n, row in enumerate(frame.itertuples())]
    lines = lambda things: "\n".join(json.dumps(thing) for thing in things).encode()
    keep("json_lines", "own", b"\x00" + lines(own))
    items = [{"item_id": row.StockCode, "title": row.Description, "stock": 3} for row in frame.itertuples()]
    keep("json_lines", "described", b"\x00" + lines(items + [{"user_id": "17850", "country": "Peru"}]))
    keep("json_lines", "gz", b"\x02" + gzip.compress(lines(own[:2]), mtime=0))
    product = {"item_id": "85123A", "price": 2.55, "quantity": 6}
    payload = {"client_id": "c.1", "user_id": "17850", "timestamp_micros": "1291209960000000", "events": [
        {"name": "purchase", "params": {"transaction_id": "536365", "currency": "GBP", "items": [product]}},
        {"name": "view_item_list", "params": {"items": [product]}},
        {"name": "search", "params": {"search_term": "heart"}}, {"name": "page_view", "params": {}}]}
    export = {"event_name": "refund", "event_timestamp": 1291209960000000, "user_pseudo_id": "p1",
              "event_params": [{"key": "ga_session_id", "value": {"int_value": 77}}],
              "ecommerce": {"transaction_id": "536365"}, "items": [product]}
    keep("json_lines", "ga4", b"\x00" + lines([payload, export]))
    mended = {"file": "a.csv", "line": 3, "reason": "no price", "detail": "price GBP 0.00",
              "text": "2010-12-01,u,85123A,2", "header": "time,user_id,item_id,price"}
    keep("json_lines", "mended", b"\x00" + lines([mended]))
    keep("json_lines", "mapped", b"\x04" + lines([{"time": "2010-12-01", "kind": "vista", "user_id": 17850, "item_id": "a"}]))
    events = {"events": own[:2]}
    for name, route, body in [("events", 0, events), ("payload", 0, payload), ("items", 3, {"items": items[:2]}),
                              ("users", 4, {"users": [{"user_id": "u", "country": "Peru"}]}),
                              ("recommend", 1, {"user_id": "17850", "k": 3, "placement": "home", "cart": ["i1"],
                                                "filter": {"category": "Home", "in_stock": True}})]:
        keep("http", name, bytes([route]) + json.dumps(body).encode())
    keep("http", "query", b"\x02user_id=17850&k=3&placement=cart&cart=i1&price_min=1&in_stock=true")
    keep("http", "list", b"\x05after=u&limit=2")


def manifest() -> None:
    """Beside a file of the seven bytes b"tensors" (fuzz_targets/manifest.rs)."""
    listed = [{"name": "model.safetensors", "bytes": 7, "sha256": hashlib.sha256(b"tensors").hexdigest()}]
    version = {"model": "recommender", "version": 1, "created": "2026-11-24T00:00:00Z", "kind": "ease", "config": {},
               "run_id": "r", "data_fingerprint": "d", "code_version": "0", "protocol": "p",
               "metrics": {"all.ndcg_at_10": 0.25}, "baselines": {"popularity": {"all.ndcg_at_10": 0.1}}}
    whole = {"format": "qhatu-artifact", "format_version": 1, "version": version, "files": listed}
    keep("manifest", "whole", json.dumps(whole).encode())
    step = {"version": 1, "at": "2026-11-24T00:00:00Z", "reason": "better", "rollback": False}
    alias = {"name": "champion", "moves": [step, step | {"version": 2}, step | {"rollback": True}]}
    keep("manifest", "alias", json.dumps(alias).encode())


def checkpoints() -> None:
    """The first byte chooses which file of a good folder the rest replaces (fuzz/src/checkpoint.rs)."""
    golden = ROOT / "crates/qhatu-text/tests/golden"
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    cleaning = {"lowercase": True, "stop_words": ["es", "en"], "strip_accents": True}
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "polo", "de", "##s"]
    tokenizer = {"normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                "strip_accents": None, "lowercase": True},
                 "pre_tokenizer": {"type": "BertPreTokenizer"},
                 "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                           "max_input_chars_per_word": 100, "vocab": {word: n for n, word in enumerate(words)}}}
    modules = [{"idx": n, "name": str(n), "path": "", "type": f"sentence_transformers.models.{kind}"}
               for n, kind in enumerate(["Transformer", "Pooling", "Normalize"])]
    own = {"tokenizer.json": tokenizer, "1_Pooling": pooling, "modules.json": modules,
           "sentence_bert_config.json": {"max_seq_length": 8}, "qhatu_text.json": cleaning}
    folders = {"text_huggingface": ("tiny_bert", ["config.json", "model.safetensors", "vocab.txt",
                                                  "tokenizer_config.json"]),
               "text_keras_hub": ("tiny_keras_hub", ["config.json", "model.weights.h5"]),
               "text_tensorflow": ("tiny_tensorflow", ["bert_config.json", "bert_model.ckpt.index",
                                                       "bert_model.ckpt.data-00000-of-00001", "vocab.txt"])}
    for target, (folder, files) in folders.items():
        for place, file in enumerate(files):
            keep(target, file, bytes([place]) + (golden / folder / file).read_bytes())
    for place, (name, content) in enumerate(own.items(), 4):
        keep("text_huggingface", name, bytes([place]) + json.dumps(content).encode())
    keras = {"config": {"lowercase": True, "strip_accents": True}}
    keep("text_keras_hub", "tokenizer.json", b"\x03" + json.dumps(keras).encode())
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for file in ["config.json", "model.weights.h5"]:
            member = zipfile.ZipInfo(file, (2026, 1, 1, 0, 0, 0))
            archive.writestr(member, (golden / "tiny_keras_hub" / file).read_bytes())
    keep("text_keras_archive", "archive", b"\x00" + sink.getvalue())


def texts() -> None:
    template = (ROOT / "crates/qhatu/src/qhatu.toml").read_text()
    keep("configuration", "template", template.encode())
    begun, rest = template.split("# [ingest.mappings.orders]\n")
    mapping, rest = rest.split("# mappings = {}\n", 1)
    plain = "\n".join(line.removeprefix("# ") for line in ("[ingest.mappings.orders]\n" + mapping).splitlines()
                      if not line.startswith("# # "))
    tomllib.loads(plain)
    keep("configuration", "mapping", plain.encode())
    features = (ROOT / "crates/qhatu-features/src/default.toml").read_text()
    keep("features", "default", features.encode())
    for place, text in enumerate(["a", "a + 1", "a / (a + 2) * 3.5 - 1", "((a))"]):
        keep("expression", str(place), text.encode())
    words = {
        "csv": ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID",
                "NaN", "2010-12-01 08:26:00", "S/ 1,234.50", '""', "85123A", "purchase", "refunded"],
        "json_lines": ["event_id", "time", "kind", "item_id", "user_id", "session_id", "events", "params", "items",
                       "event_name", "event_params", "timestamp_micros", "int_value", "string_value", "price",
                       "purchase", "view_item", "refund", "search_term", "header", "reason", "detail", "updated"],
        "configuration": ["[ingest.mappings.a]", "delimiter", "encoding", "columns", "kinds", "rules", "timezone",
                          "date_order", "missing_user", "anonymous_session", "[serve.placements.a]", "[train]"],
        "features": ["[[feature]]", "aggregate", "expression", "window_days", "distinct_orders", "mean_gap_days",
                     "amount", "attribute", "entity", "session", "aliases"],
        "manifest": ["qhatu-artifact", "format_version", "sha256", "bytes", "files", "moves", "rollback"],
        "tensors": ["F32", "U32", "I64", "data_offsets", "__metadata__", "shape", "dtype", "config", "model"],
        "http": ["user_id", "session_id", "placement", "exclude", "filter", "category", "price_min", "events",
                 "items", "users", "quantity", "price", "micros", "currency", "PEN", "buy_again", "similar"],
        "parquet": ["PAR1"],
        "text_huggingface": ["F32", "F16", "BF16", "data_offsets", "__metadata__", "shape", "dtype", "vocab_size",
                             "hidden_size", "num_hidden_layers", "intermediate_size", "model_type", "WordPiece",
                             "max_seq_length", "pooling_mode", "stop_words"],
        "text_keras_hub": ["BertBackbone", "vocabulary_size", "num_layers", "hidden_dim", "TREE", "SNOD", "HEAP",
                           "layers", "vars", "lowercase"],
        "text_keras_archive": ["PK\\x01\\x02", "PK\\x03\\x04", "PK\\x05\\x06", "config.json", "model.weights.h5"],
        "text_tensorflow": ["bert/encoder/layer_0/", "kernel", "gamma", "word_embeddings", "hidden_size"],
    }
    for target, listed in words.items():
        # libFuzzer reads \xNN itself.
        quoted = [json.dumps(word).replace("\\\\x", "\\x") for word in listed]
        (ROOT / f"fuzz/dictionary/{target}.dict").write_text("\n".join(quoted) + "\n")


if __name__ == "__main__":
    frame = rows()
    csv(frame)
    parquet(frame)
    json_lines(frame)
    manifest()
    checkpoints()
    texts()
