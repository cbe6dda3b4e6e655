"""Writes golden.safetensors: inputs, outputs and gradients of each operation, by PyTorch in double precision.

    python make.py golden.safetensors        (torch, numpy and safetensors; made with torch 2.15.0)

Each case is a name, and its tensors are NAME.input…, NAME.output, NAME.d_output and NAME.d_input…; the
gradients are those of sum(output * d_output). Numbers are rounded to f32 first, so that both sides begin
with the same.
"""

import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20110921)
tensors = {}


def numbers(*shape, scale=1.0):
    return (torch.randn(*shape, dtype=torch.float32) * scale).double()


def case(name, output, **inputs):
    """Keeps inputs, output and the gradients of all inputs under `name`."""
    d_output = numbers(*output.shape) if output.dim() else torch.ones((), dtype=torch.float64)
    gradients = torch.autograd.grad(output, list(inputs.values()), d_output)
    kept = {"output": output, "d_output": d_output, **inputs}
    kept |= {f"d_{key}": gradient for key, gradient in zip(inputs, gradients)}
    for key, tensor in kept.items():
        tensors[f"{name}.{key}"] = tensor.detach().float().reshape(tensor.shape or (1,)).contiguous().clone()


def leaf(*shape, scale=1.0):
    return numbers(*shape, scale=scale).requires_grad_()


def linear():
    x, w, b = leaf(5, 7), leaf(3, 7), leaf(3)
    case("linear", F.linear(x, w, b), x=x, w=w, b=b)


def embedding():
    table = leaf(6, 4)
    case("embedding", F.embedding(torch.tensor([3, 0, 3, 5]), table), table=table)


def layer_norm():
    x, w, b = leaf(4, 24), leaf(24), leaf(24)
    case("layer_norm", F.layer_norm(x, (24,), w, b, 1e-5), x=x, w=w, b=b)


def activations():
    for name, f in {"gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu}.items():
        x = leaf(64, scale=3.0)
        case(name, f(x), x=x)


STARTS = [0, 1, 5, 12]


def packed_attention(qkv, heads, causal):
    """Each sequence by itself through PyTorch's own attention."""
    width = qkv.shape[1] // 3
    parts = []
    for start, end in zip(STARTS, STARTS[1:]):
        q, k, v = (
            part.reshape(end - start, heads, width // heads).transpose(0, 1)
            for part in qkv[start:end].split(width, dim=1)
        )
        parts.append(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(0, 1).reshape(-1, width))
    return torch.cat(parts)


def attention():
    for causal in (True, False):
        qkv = leaf(12, 24)
        case("attention_causal" if causal else "attention_bidirectional", packed_attention(qkv, 2, causal), qkv=qkv)


# When each of the twelve tokens was, and how many tokens of its sequence it sees.
TIMES = [5, 0, 1, 1, 9, 2, 2, 3, 7, 8, 15, 40]
SEEN = [1, 2, 2, 3, 4, 2, 2, 3, 5, 5, 6, 7]


def masked_attention(qkv, heads, bias):
    """Each sequence by itself; `bias` gives for a sequence heads × rows × keys what is added, −∞ where nothing is seen."""
    width = qkv.shape[1] // 3
    parts = []
    for start, end in zip(STARTS, STARTS[1:]):
        q, k, v = (
            part.reshape(end - start, heads, width // heads).transpose(0, 1)
            for part in qkv[start:end].split(width, dim=1)
        )
        mask = bias(start, end)
        parts.append(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(0, 1).reshape(-1, width))
    return torch.cat(parts)


def attention_with_bias():
    """A bias by distance, both ways; one by the time between two tokens, causal; and a number of tokens that each sees."""

    def by_distance(start, end):
        rows, keys = torch.arange(end - start)[:, None], torch.arange(end - start)[None]
        return table[:, (rows - keys).abs().clamp(max=3) + 4 * (keys > rows)]

    def by_time(start, end):
        times = torch.tensor(TIMES[start:end])
        apart = (times[:, None] - times[None]).abs()
        bucket = sum((apart >= bound).long() for bound in (1, 4, 16))
        hidden = torch.ones(end - start, end - start).triu(1).bool()
        return table[:, bucket].masked_fill(hidden, -torch.inf)

    def visible(start, end):
        hidden = torch.arange(end - start)[None] >= torch.tensor(SEEN[start:end])[:, None]
        return torch.zeros(1, end - start, end - start, dtype=torch.float64).masked_fill(hidden, -torch.inf)

    for name, bias, buckets in (("distance", by_distance, 8), ("time", by_time, 4)):
        qkv, table = leaf(12, 24), leaf(2, buckets)
        case(f"attention_{name}", masked_attention(qkv, 2, bias), qkv=qkv, table=table)
    qkv = leaf(12, 24)
    case("attention_visible", masked_attention(qkv, 2, visible), qkv=qkv)


def cross_entropy():
    x, w, b = leaf(6, 5), leaf(9, 5), leaf(9)
    targets = torch.tensor([0, 8, -100, 3, 3, 7])
    loss = F.cross_entropy(F.linear(x, w, b), targets, ignore_index=-100, reduction="sum")
    case("cross_entropy", loss, x=x, w=w, b=b)


def recurrent():
    """Each sequence by itself through PyTorch's GRU and LSTM, states from 0."""
    for name, kind in {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}.items():
        layer = kind(5, 18, batch_first=True, dtype=torch.float64)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(numbers(*parameter.shape, scale=0.5))
        x = leaf(12, 5)
        parts = [layer(x[None, start:end])[0][0] for start, end in zip(STARTS, STARTS[1:])]
        named = {key.removesuffix("_l0"): parameter for key, parameter in layer.named_parameters()}
        case(name, torch.cat(parts), x=x, **named)


NEGATIVES = torch.tensor([2, 8, 0, 5, 5])
TARGETS = torch.tensor([0, 8, 3, 7])


def sampled():
    """One target a row against shared negatives; a negative that is the target does not count."""
    for name in ("sampled_softmax", "sampled_softmax_corrected", "bce", "gbce"):
        x, w, b = leaf(4, 5), leaf(9, 5), leaf(9)
        logits = F.linear(x, w, b)
        positive = logits.gather(1, TARGETS[:, None])
        hits = NEGATIVES[None] == TARGETS[:, None]
        negative = logits[:, NEGATIVES].masked_fill(hits, -torch.inf)
        if name.startswith("sampled"):
            if name.endswith("corrected"):
                negative = negative - torch.log(torch.tensor(len(NEGATIVES) / 9, dtype=torch.float64))
            both = torch.cat([positive, negative], 1)
            loss = F.cross_entropy(both, torch.zeros(4, dtype=torch.int64), reduction="sum")
        else:
            beta = 1.0 if name == "bce" else 0.4
            loss = -(beta * F.logsigmoid(positive)).sum() - F.logsigmoid(-negative[~hits]).sum()
        case(name, loss, x=x, w=w, b=b)


def binary():
    """Binary cross-entropy with a weight for the positive class, and focal loss as torchvision has it."""
    labels = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    z = leaf(6, scale=2.0)
    weight = torch.tensor(3.0, dtype=torch.float64)
    case("weighted_bce", F.binary_cross_entropy_with_logits(z, labels, pos_weight=weight, reduction="sum"), z=z)
    z = leaf(6, scale=2.0)
    p = torch.sigmoid(z)
    surprise = F.binary_cross_entropy_with_logits(z, labels, reduction="none")
    p_t = p * labels + (1 - p) * (1 - labels)
    alpha = 0.25 * labels + 0.75 * (1 - labels)
    case("focal", (alpha * surprise * (1 - p_t) ** 2).sum(), z=z)


def contrastive():
    """Pairs 0 and 2 belong together: each leaves the other's answer out."""
    q, a = leaf(4, 5), leaf(4, 5)
    scores = q @ a.T / 0.5
    out = torch.zeros(4, 4, dtype=torch.bool)
    out[0, 2] = out[2, 0] = True
    loss = F.cross_entropy(scores.masked_fill(out, -torch.inf), torch.arange(4), reduction="sum")
    case("contrastive", loss, q=q, a=a)


def block():
    """A layer of torch.nn.TransformerEncoderLayer, whose linear maps have the layout of ours."""
    for norm_first in (True, False):
        name = "block_before" if norm_first else "block_behind"
        layer = torch.nn.TransformerEncoderLayer(
            8, 2, 12, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first, dtype=torch.float64
        )
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(numbers(*parameter.shape, scale=0.5))
        x = leaf(12, 8)
        parts = []
        for start, end in zip(STARTS, STARTS[1:]):
            mask = torch.nn.Transformer.generate_square_subsequent_mask(end - start, dtype=torch.float64)
            parts.append(layer(x[None, start:end], src_mask=mask)[0])
        named = {key.replace(".", "_"): parameter for key, parameter in layer.named_parameters()}
        case(name, torch.cat(parts), x=x, **named)


def adamw():
    """Three steps on two tensors, the second without decay, with clipping to norm 1."""
    w, b = leaf(3, 4), leaf(4)
    tensors["adamw.w"], tensors["adamw.b"] = w.detach().float().clone(), b.detach().float().clone()
    groups = [{"params": [w], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.98), eps=1e-8)
    for step in range(3):
        w.grad, b.grad = numbers(3, 4), numbers(4)
        tensors[f"adamw.d_w{step}"], tensors[f"adamw.d_b{step}"] = w.grad.float().clone(), b.grad.float().clone()
        torch.nn.utils.clip_grad_norm_([w, b], 1.0)
        optimizer.step()
    tensors["adamw.w_after"], tensors["adamw.b_after"] = w.detach().float().clone(), b.detach().float().clone()


if __name__ == "__main__":
    makers = (linear, embedding, layer_norm, activations, attention, cross_entropy, block, adamw)
    for make in (*makers, recurrent, sampled, binary, contrastive, attention_with_bias):
        make()
    save_file(tensors, sys.argv[1])
