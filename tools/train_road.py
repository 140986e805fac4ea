"""Trains the road network of the CarRacing scene, quantises it and writes edgeinfer/models/road.*.

    python tools/road_data.py --frames 18000 --seed 10000 --out out/road_data
    python tools/road_data.py --frames 18000 --seed 20000 --out out/road_data
    python tools/train_road.py --data out/road_data --epochs 9

Input: the 96x96 RGB camera image as it is. Output: 20 coordinates of the centre line (x forward, y
left, metres, at 0, 4, ... 36 m of arc length), speed, yaw rate, each less its mean and divided by
its deviation over the training set, and the logit of "the car is on the road". The means and
deviations stand in road.json beside the model.

Quantisation is static, after training: batch normalisation folded into the weights, int8 symmetric
weights per output channel, int8 asymmetric activations whose range covers all but 0.01 % of what
2000 training frames give (Jacob et al. 2018; Nagel et al. 2021, arXiv:2106.08295).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor
from edgeinfer.engine.tflite_writer import write_tflite

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "edgeinfer" / "models"
OUTPUTS = 23
BAR = 84  # image row at which the indicator bar begins
#: (channels out, kernel, stride) of the convolutions, then widths of the dense layers.
CONVOLUTIONS = ((16, 5, 2), (24, 3, 2), (32, 3, 2), (48, 3, 1), (64, 3, 2), (32, 1, 1))
DENSE = (128, OUTPUTS)


def network() -> nn.Sequential:
    """The float network; NCHW inside torch, input in 0..1."""
    layers: list[nn.Module] = []
    channels = 3
    for out, kernel, stride in CONVOLUTIONS:
        # TFLite's SAME padding of an even size at stride 2 is one less before than after.
        total = kernel - stride if stride == 2 else kernel - 1
        before = total // 2
        layers.append(nn.ZeroPad2d((before, total - before, before, total - before)))
        layers.append(nn.Conv2d(channels, out, kernel, stride, bias=False))
        layers += [nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    layers += [nn.Flatten(), nn.Linear(6 * 6 * channels, DENSE[0]), nn.ReLU()]
    layers.append(nn.Linear(DENSE[0], DENSE[1]))
    return nn.Sequential(*layers)


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All shards: images uint8 [n, 96, 96, 3], labels float32 [n, 23] (the last: offset, m)."""
    shards = [np.load(p) for p in sorted(folder.glob("shard_*.npz"))]
    if not shards:
        sys.exit(f"{folder}: no shard_*.npz; run tools/road_data.py first")
    return tuple(np.concatenate([s[k] for s in shards]) for k in ("images", "labels"))


def augment(x: torch.Tensor, y: torch.Tensor, rng: torch.Generator) -> None:
    """Mirror half the views (not the bar, which shows the motion) and vary their colours."""
    n = len(x)
    flip = torch.rand(n, generator=rng) < 0.5
    x[flip, :, :BAR] = x[flip, :, :BAR].flip(3)
    y[flip, 1:20:2] *= -1
    gain = 0.75 + 0.5 * torch.rand(n, 3, 1, 1, generator=rng)
    shift = 0.1 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)
    x[:, :, :BAR] = (x[:, :, :BAR] * gain + shift).clamp(0, 1)


def loss_of(out: torch.Tensor, y: torch.Tensor, scale: tuple[torch.Tensor, torch.Tensor]) -> Any:
    """Huber loss of the coordinates and the motion, cross entropy of being on the road."""
    mean, deviation = scale
    near = (y[:, 22] < 10).float()[:, None]
    wanted = (y[:, :22] - mean) / deviation
    weight = torch.ones(22)
    weight[:8] = 2.0  # where the car is on the road matters most
    weight[20:] = 2.0
    regression = nn.functional.smooth_l1_loss(out[:, :22], wanted, reduction="none", beta=0.1)
    on_road = (y[:, 22] < 7.5).float()
    return (regression * weight * near).mean() + 0.05 * nn.functional.binary_cross_entropy_with_logits(
        out[:, 22], on_road
    )


def train(net: nn.Module, x: np.ndarray, y: np.ndarray, scale: Any, args: Any) -> None:
    """AdamW with one cosine cycle."""
    rng = torch.Generator().manual_seed(args.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-4)
    steps = args.epochs * (len(x) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, steps, pct_start=0.15)
    net.train()
    for epoch in range(args.epochs):
        start, total = time.monotonic(), 0.0
        order = torch.randperm(len(x), generator=rng).numpy()
        for i in range(len(x) // args.batch):
            pick = order[i * args.batch : (i + 1) * args.batch]
            images = torch.from_numpy(x[pick]).permute(0, 3, 1, 2).float() / 255
            labels = torch.from_numpy(y[pick].copy())
            augment(images, labels, rng)
            with torch.autocast("cpu", torch.bfloat16):
                out = net(images)
            loss = loss_of(out.float(), labels, scale)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        mean = total / (len(x) // args.batch)
        print(f"epoch {epoch + 1}: loss {mean:.4f}, {time.monotonic() - start:.0f} s", flush=True)


def fold(net: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weights OHWI or [out, in], bias) of each layer with its batch normalisation folded in."""
    folded = []
    layers = list(net)
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            norm = layers[i + 1]
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = layer.weight * gain[:, None, None, None]
            bias = norm.bias - norm.running_mean * gain
            folded.append((weight.permute(0, 2, 3, 1), bias))
        elif isinstance(layer, nn.Linear):
            weight = layer.weight
            if layer.in_features > 1000:  # flattened CHW -> HWC
                cells = weight.reshape(len(weight), -1, 6, 6)
                weight = cells.permute(0, 2, 3, 1).reshape(len(weight), -1)
            folded.append((weight, layer.bias))
    return [(w.detach().numpy().copy(), b.detach().numpy().copy()) for w, b in folded]


def ranges(net: nn.Sequential, x: np.ndarray) -> list[tuple[float, float]]:
    """Range of each layer's output over the frames, 0 included."""
    seen: list[list[np.ndarray]] = [[] for _ in (*CONVOLUTIONS, *DENSE)]
    net.eval()
    with torch.no_grad():
        for i in range(0, len(x), 250):
            out = torch.from_numpy(x[i : i + 250]).permute(0, 3, 1, 2).float() / 255
            k = 0
            for j, layer in enumerate(net):
                out = layer(out)
                if isinstance(layer, nn.ReLU) or j == len(net) - 1:
                    seen[k].append(out.numpy().reshape(-1)[:: 1 if k > 5 else 17])
                    k += 1
    limits = []
    for parts in seen:
        values = np.concatenate(parts)
        lo, hi = np.quantile(values, [0.0001, 0.9999])
        limits.append((min(float(lo), 0.0), max(float(hi), 1e-3)))
    return limits


def _activation(name: str, shape: tuple[int, ...], limits: tuple[float, float]) -> Tensor:
    scale = (limits[1] - limits[0]) / 255
    zero = int(np.clip(round(-128 - limits[0] / scale), -128, 127))
    return Tensor(name, shape, "int8", per_tensor(scale, zero))


def _weights(name: str, w: np.ndarray) -> Tensor:
    scale = np.abs(w).reshape(len(w), -1).max(1) / 127
    scale = np.maximum(scale, 1e-9).astype(np.float32)
    q = np.clip(np.rint(w / scale.reshape(-1, *[1] * (w.ndim - 1))), -127, 127).astype(np.int8)
    return Tensor(name, q.shape, "int8", Quantisation(scale, np.zeros(len(w), np.int32)), q)


def _bias(name: str, b: np.ndarray, x: Tensor, w: Tensor) -> Tensor:
    assert w.quant is not None
    scale = (np.float32(x.scale) * w.quant.scale).astype(np.float32)
    q = np.rint(b / scale).astype(np.int32)
    return Tensor(name, q.shape, "int32", Quantisation(scale, np.zeros(len(q), np.int32)), q)


def quantise(folded: list, limits: list[tuple[float, float]]) -> Graph:
    """The int8 graph. The input is uint8 pixels less 128: scale 1/255, zero point -128."""
    image = Tensor("image", (1, 96, 96, 3), "int8", per_tensor(1 / 255, -128))
    nodes, x, size = [], image, 96
    for i, (out, _, stride) in enumerate(CONVOLUTIONS):
        size //= stride
        w = _weights(f"conv{i + 1}/weights", folded[i][0])
        b = _bias(f"conv{i + 1}/bias", folded[i][1], x, w)
        y = _activation(f"conv{i + 1}", (1, size, size, out), limits[i])
        attrs = {
            "padding": "SAME", "stride_w": stride, "stride_h": stride,
            "dilation_w_factor": 1, "dilation_h_factor": 1, "fused_activation_function": "RELU",
        }  # fmt: skip
        nodes.append(Node("CONV_2D", [x, w, b], [y], attrs, y.name))
        x = y
    flat = Tensor("flat", (1, x.count), "int8", x.quant)
    shape = Tensor("flat/shape", (2,), "int32", data=np.array(flat.shape, np.int32))
    nodes.append(Node("RESHAPE", [x, shape], [flat], {"new_shape": list(flat.shape)}, "flat"))
    x = flat
    for k, units in enumerate(DENSE):
        i = len(CONVOLUTIONS) + k
        name = "road" if k == len(DENSE) - 1 else f"dense{k + 1}"
        w = _weights(f"{name}/weights", folded[i][0])
        b = _bias(f"{name}/bias", folded[i][1], x, w)
        y = _activation(name, (1, units), limits[i])
        act = "NONE" if name == "road" else "RELU"
        attrs = {"fused_activation_function": act, "weights_format": "DEFAULT"}
        nodes.append(Node("FULLY_CONNECTED", [x, w, b], [y], attrs, name))
        x = y
    return Graph("road", nodes, {"image": image}, {"road": x})


def run_int8(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Outputs of the int8 graph, dequantised, on our engine."""
    from edgeinfer.engine.plan import build
    from edgeinfer.engine.session import Session

    session = Session(build(graph))
    out = graph.outputs["road"]
    results = np.zeros((len(x), OUTPUTS), np.float32)
    for i, image in enumerate(x):
        session["image"][...] = (image ^ 0x80).view(np.int8)
        session.run()
        results[i] = out.scale * (session["road"][0].astype(np.float32) - out.zero)
    return results


def report(out: np.ndarray, y: np.ndarray, mean: np.ndarray, dev: np.ndarray) -> dict[str, float]:
    """Mean absolute errors on the frames where the car is within 7.5 m of the centre line."""
    keep = y[:, 22] < 7.5
    error = np.abs(out[:, :22] * dev + mean - y[:, :22])[keep]
    on = (out[:, 22] > 0) == keep
    return {
        "near_m": float(error[:, :8].mean()),
        "far_m": float(error[:, 8:20].mean()),
        "speed_mps": float(error[:, 20].mean()),
        "yaw_rate_rad_s": float(error[:, 21].mean()),
        "on_road_accuracy": float(on.mean()),
    }


def main() -> None:
    """Train, quantise, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/road_data"))
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=MODELS)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    x, y = load(args.data)
    held = len(x) // 20  # the last episodes: no track is in both parts
    train_x, train_y, test_x, test_y = x[:-held], y[:-held], x[-held:], y[-held:]
    near = train_y[:, 22] < 10
    mean, dev = train_y[near, :22].mean(0), train_y[near, :22].std(0) + 1e-3
    mean[1:20:2] = mean[21] = 0.0  # left and right are alike
    net = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scale = torch.from_numpy(mean), torch.from_numpy(dev)
    train(net, train_x, train_y, scale, args)
    net.eval()
    with torch.no_grad():
        float_out = net(torch.from_numpy(test_x).permute(0, 3, 1, 2).float() / 255).numpy()
    rng = np.random.default_rng(args.seed)
    calibration = train_x[rng.choice(len(train_x), min(2000, len(train_x)), replace=False)]
    graph = quantise(fold(net), ranges(net, calibration))
    record: dict[str, Any] = {
        "model": "road.tflite: int8 road geometry from the 96x96 image of CarRacing-v3",
        "licence": "Apache-2.0, trained by tools/train_road.py on frames of the simulator alone",
        "command": "python tools/train_road.py " + " ".join(sys.argv[1:]),
        "data": f"{len(train_x)} training and {held} test frames of tools/road_data.py, "
        "first seeds 10000 and 20000, 60 % of the episodes with random colours",
        "seed": args.seed,
        "torch": torch.__version__,
        "test_error_fp32": report(float_out, test_y, mean, dev),
        "test_error_int8": report(run_int8(graph, test_x), test_y, mean, dev),
        "ahead_m": [4.0 * i for i in range(10)],
        "road_width_m": 80 / 6,
        "mean": [round(float(v), 6) for v in mean],
        "deviation": [round(float(v), 6) for v in dev],
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "road.tflite").write_bytes(write_tflite(graph, "road geometry, CarRacing-v3"))
    (args.out / "road.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({k: record[k] for k in ("test_error_fp32", "test_error_int8")}, indent=1))


if __name__ == "__main__":
    main()
