"""The peer of `cargo xtask bench steps`: a training step of SASRec, GRU and LSTM in PyTorch.

    python sasrec_step.py

Reads lines `KIND LENGTH ITEMS REPETITIONS`, answers with the milliseconds each repetition took; KIND is `sasrec`, `gru` or
`lstm`. SASRec: 2 blocks, hidden 64, 1 head, feed-forward 64 to 64 and back, batch 128, every position names the next of ITEMS
items by the tied embeddings, cross-entropy, backward, AdamW. No dropout, no padding. GRU and LSTM: batch 64, input and
hidden 64, ITEMS unused, forward and backward of the whole sequence and AdamW. Two threads. The first line printed is the
peer's name and version.
"""

import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(2)
torch.manual_seed(1)
WIDTH, BATCH = 64, 128


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.other = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.qkv, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).unsqueeze(1).chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1))
        return x + self.down(F.gelu(self.up(self.other(x))))


class SasRec(torch.nn.Module):
    def __init__(self, length, items):
        super().__init__()
        self.items = torch.nn.Embedding(items + 1, WIDTH)
        torch.nn.init.normal_(self.items.weight, std=0.02)
        self.places = torch.nn.Embedding(length, WIDTH)
        self.blocks = torch.nn.ModuleList([Block(), Block()])
        self.norm = torch.nn.LayerNorm(WIDTH)

    def forward(self, ids, targets):
        x = self.items(ids) + self.places.weight
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x).view(-1, WIDTH) @ self.items.weight[1:].T
        return F.cross_entropy(logits, targets.view(-1))


def step_of(kind, length, items):
    if kind == "sasrec":
        model = SasRec(length, items)
        ids = torch.randint(1, items + 1, (BATCH, length))
        targets = torch.randint(0, items, (BATCH, length))
        loss = lambda: model(ids, targets)
    else:
        model = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind](WIDTH, WIDTH, batch_first=True)
        x = torch.randn(64, length, WIDTH, requires_grad=True)
        d = torch.randn(64, length, WIDTH)
        loss = lambda: (model(x)[0] * d).sum()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad(set_to_none=False)
        loss().backward()
        optimizer.step()

    return step


def main():
    print(f"PyTorch {torch.__version__}", flush=True)
    steps = {}
    for line in sys.stdin:
        kind, *numbers = line.split()
        length, items, repetitions = map(int, numbers)
        key = (kind, length, items)
        if key not in steps:
            steps[key] = step_of(*key)
        took = []
        for _ in range(repetitions):
            start = time.perf_counter()
            steps[key]()
            took.append(f"{(time.perf_counter() - start) * 1e3:.4f}")
        print(" ".join(took), flush=True)


main()
