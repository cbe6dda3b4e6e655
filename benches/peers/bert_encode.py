"""The peers of `cargo xtask bench bert`: a BERT of MiniLM-L6's shape with random weights.

    python bert_encode.py torch|onnx|onnx_int8|torch_step

Reads lines `SEQUENCES TOKENS REPETITIONS`, answers with the milliseconds each repetition took. Two threads,
no padding, mean of the tokens' vectors, as ours; `torch_step` is a step of fine-tuning, the first half of the
sequences against the second (in-batch negatives), without dropout. The first line printed is the peer's name
and version.
"""

import io
import pathlib
import sys
import tempfile
import time

import numpy as np
import torch
import transformers

THREADS = 2
torch.set_num_threads(THREADS)
torch.manual_seed(1)
CONFIG = transformers.BertConfig(
    hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, use_cache=False
)


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bert = transformers.BertModel(CONFIG, add_pooling_layer=False)

    def forward(self, ids):
        return self.bert(input_ids=ids).last_hidden_state.mean(dim=1)


def with_torch(model):
    def run(ids):
        with torch.inference_mode():
            model(ids)

    return f"PyTorch {torch.__version__}", run


def exported(model):
    model.bert.config._attn_implementation = "eager"
    file = io.BytesIO()
    axes = {"ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}}
    program = torch.onnx.export(model, (torch.ones(2, 8, dtype=torch.int64),), dynamo=True, dynamic_shapes=axes,
                                input_names=["ids"], verbose=False)
    program.save(file)
    return file.getvalue()


def session(content, name):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return f"{name} {onnxruntime.__version__}", lambda ids: session.run(None, {"ids": ids.numpy()})


def with_onnx(model):
    return session(exported(model), "ONNX Runtime")


def with_onnx_int8(model):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        before, after = pathlib.Path(folder) / "f32.onnx", pathlib.Path(folder) / "int8.onnx"
        before.write_bytes(exported(model))
        quantize_dynamic(before, after, weight_type=QuantType.QInt8)
        content = after.read_bytes()
    products = sum(node.op_type == "MatMulInteger" for node in onnx.load_from_string(content).graph.node)
    assert products >= 6 * CONFIG.num_hidden_layers, f"{products} products in whole numbers"
    return session(content, "ONNX Runtime int8")


def with_torch_step(model):
    model.train()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    model.bert.config.attention_probs_dropout_prob = 0.0
    for layer in model.bert.encoder.layer:
        layer.attention.self.dropout_prob = 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)

    def run(ids):
        optimizer.zero_grad(set_to_none=True)
        queries, answers = torch.nn.functional.normalize(model(ids)).chunk(2)
        loss = torch.nn.functional.cross_entropy(queries @ answers.T / 0.05, torch.arange(len(queries)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return f"PyTorch {torch.__version__}", run


def main():
    model = Encoder().eval()
    name, run = globals()[f"with_{sys.argv[1]}"](model)
    print(name, flush=True)
    for line in sys.stdin:
        sequences, tokens, repetitions = map(int, line.split())
        ids = torch.from_numpy(
            (np.arange(sequences)[:, None] * 31 + np.arange(tokens)[None] * 97).astype(np.int64) % 30000
        )
        took = []
        for _ in range(repetitions):
            start = time.perf_counter()
            run(ids)
            took.append(f"{(time.perf_counter() - start) * 1e3:.4f}")
        print(" ".join(took), flush=True)


main()
