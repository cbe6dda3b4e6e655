"""Whether `transformers` (and `sentence-transformers`, where it is there) load what we write, and find the same
numbers in it.

    qhatu text import ORIGINAL --out WRITTEN && python check_export.py ORIGINAL WRITTEN

`cargo xtask bench bert` runs it with its own Python, which has PyTorch.
"""

import importlib.util
import sys

import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

TEXTS = ["Polo de algodón para niña talla M – color azul", "White hanging heart T-light holder", "té 😀"]
IDS = torch.tensor([[2, 10, 20, 30, 40, 3]])


def tokens(folder):
    return [AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for text in TEXTS]


def outputs(folder):
    with torch.no_grad():
        found = AutoModel.from_pretrained(folder).eval()(input_ids=IDS)
    return found.last_hidden_state, found.pooler_output


def vectors(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu").encode(TEXTS, convert_to_tensor=True)


def logits(folder):
    model, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    print(f"{folder}: missing {info['missing_keys']}")
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits, info["missing_keys"]


def main():
    original, written = sys.argv[1:]
    assert tokens(original) == tokens(written), "the tokens differ"
    for ours, theirs in zip(outputs(written), outputs(original)):
        # The same weights at other addresses are summed in another order.
        gap = (ours - theirs).abs().max().item()
        assert gap < 1e-5, f"the outputs differ by {gap}"
    if importlib.util.find_spec("sentence_transformers"):
        gap = (vectors(original) - vectors(written)).abs().max().item()
        assert gap < 1e-5, f"the vectors differ by {gap}"
    (ours, missing), (theirs, before) = logits(written), logits(original)
    assert set(missing) == set(before), "the head for hidden tokens was lost"
    if not missing:
        assert (ours - theirs).abs().max().item() < 1e-5, "the logits differ"
    print("the same tokens, vectors and weights")


main()
