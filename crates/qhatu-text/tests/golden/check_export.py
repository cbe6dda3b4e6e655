"""Whether `transformers` and `sentence-transformers` load what we write, and find the same numbers in it.

    qhatu text import ORIGINAL --out WRITTEN && python check_export.py ORIGINAL WRITTEN

Needs PyTorch, which is too large for `cargo xtask test`; run it when the export changes.
"""

import sys

import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForMaskedLM, AutoTokenizer

TEXTS = ["Polo de algodón para niña talla M – color azul", "White hanging heart T-light holder", "té 😀"]


def tokens(folder):
    return [AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for text in TEXTS]


def vectors(folder):
    return SentenceTransformer(folder, device="cpu").encode(TEXTS, convert_to_tensor=True)


def logits(folder):
    model, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    print(f"{folder}: missing {info['missing_keys']}")
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([[2, 10, 20, 30, 40, 3]])).logits, info["missing_keys"]


def main():
    original, written = sys.argv[1:]
    assert tokens(original) == tokens(written), "the tokens differ"
    gap = (vectors(original) - vectors(written)).abs().max().item()
    assert gap == 0.0, f"the vectors differ by {gap}"
    (ours, missing), (theirs, before) = logits(written), logits(original)
    assert set(missing) == set(before), "the head for hidden tokens was lost"
    if not missing:
        assert (ours - theirs).abs().max().item() == 0.0, "the logits differ"
    print("the same tokens, vectors and weights")


main()
