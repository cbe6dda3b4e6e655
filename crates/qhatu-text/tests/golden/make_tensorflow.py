"""Checkpoints of the tests in tests/layouts.rs, written by the reference libraries.

    python make_tensorflow.py        (tensorflow, keras-hub, safetensors; after make_bert.py)

Writes tiny_tensorflow/ (tiny_bert's weights as the original TensorFlow BERT keeps them: Google's names, a
tensor bundle), tiny_keras_hub/ (a random KerasHub BertBackbone as a preset) and
tiny_keras_hub_expected.safetensors (its outputs).
"""

import json
import os
import shutil
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent
IDS = [[2, 10, 20, 30, 40, 3], [2, 7, 3, 9, 11, 4, 30, 3], [2, 3]]
TYPES = [[0] * 6, [0, 0, 0, 1, 1, 1, 1, 1], [0, 0]]


def google(name):
    """Google's name of a tensor of Hugging Face's."""
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    name = name.replace("layer.", "layer_").replace("_embeddings.weight", "_embeddings")
    name = name.replace("predictions.bias", "predictions.output_bias")
    if name.startswith("cls.seq_relationship"):
        return name.replace(".weight", ".output_weights").replace("p.bias", "p.output_bias").replace(".", "/")
    return name.replace(".weight", ".kernel").replace(".", "/")


def bundle():
    folder = HERE / "tiny_tensorflow"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(HERE / "tiny_bert/vocab.txt", folder)
    shutil.copy(HERE / "tiny_bert/tokenizer_config.json", folder)
    config = json.loads((HERE / "tiny_bert/config.json").read_text())
    names = [
        "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size", "initializer_range",
        "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers",
        "type_vocab_size", "vocab_size",
    ]
    (folder / "bert_config.json").write_text(json.dumps({name: config[name] for name in names}, indent=1) + "\n")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in load_file(HERE / "tiny_bert/model.safetensors").items():
            name = google(name)
            value = value.T if name.endswith("/kernel") else value
            tf.compat.v1.get_variable(name, initializer=np.ascontiguousarray(value))
        tf.compat.v1.get_variable("global_step", initializer=np.int64(7))
        tf.compat.v1.get_variable("bert/pooler/dense/bias/adam_m", initializer=np.zeros(16, np.float32))
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver()
        saver.save(session, str(folder / "bert_model.ckpt"), write_meta_graph=False, write_state=False)


def preset():
    keras.utils.set_random_seed(11)
    folder = HERE / "tiny_keras_hub"
    shutil.rmtree(folder, ignore_errors=True)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=48, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=20, dropout=0.0,
        max_sequence_length=16,
    )
    for variable in backbone.weights:
        variable.assign(variable.numpy() + np.random.normal(0, 0.2, variable.shape).astype(np.float32))
    backbone.save_to_preset(str(folder))
    backbone.save(str(HERE / "tiny_keras_hub.keras"))
    expected = {}
    for place, (ids, types) in enumerate(zip(IDS, TYPES)):
        found = backbone(
            {
                "token_ids": np.array([ids]), "segment_ids": np.array([types]),
                "padding_mask": np.ones((1, len(ids)), dtype="int32"),
            }
        )
        expected[f"hidden_{place}"] = np.array(found["sequence_output"][0])
        expected[f"pooled_{place}"] = np.array(found["pooled_output"][0])
    save_file(expected, HERE / "tiny_keras_hub_expected.safetensors")


bundle()
preset()
