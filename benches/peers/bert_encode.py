"""The peers of `cargo xtask bench bert`: a BERT of MiniLM-L6's shape with random weights.

    python bert_encode.py torch|onnx

Reads lines `SEQUENCES TOKENS REPETITIONS`, answers with the milliseconds each repetition took. Two threads,
no padding, mean of the tokens' vectors, as ours. The first line printed is the peer's name and version.
"""

import io
import sys
import time

import numpy as np
import torch
import transformers

torch.set_num_threads(2)
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


def with_onnx(model):
    import onnxruntime

    model.bert.config._attn_implementation = "eager"
    file = io.BytesIO()
    axes = {"ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}}
    program = torch.onnx.export(model, (torch.ones(2, 8, dtype=torch.int64),), dynamo=True, dynamic_shapes=axes,
                                input_names=["ids"], verbose=False)
    program.save(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return f"ONNX Runtime {onnxruntime.__version__}", lambda ids: session.run(None, {"ids": ids.numpy()})


def main():
    model = Encoder().eval()
    name, run = {"torch": with_torch, "onnx": with_onnx}[sys.argv[1]](model)
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
