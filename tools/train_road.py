"""Trains the road network of the CarRacing scene, quantises it and writes edgeinfer/models/road.*.

    python tools/road_data.py --frames 18000 --seed 10000 --out out/road_data
    python tools/road_data.py --frames 18000 --seed 20000 --out out/road_data
    python tools/train_road.py --data out/road_data

Input: the 96x96 RGB camera image as it is, uint8. Output, 14 numbers: the point of the centre line
beside the car (x forward, y left, m), the headings (rad) of nine pieces of the line, 4 m each, from
there on, speed (m/s), yaw rate (rad/s), each less its mean and divided by its deviation over the
training set; and the logarithm of the mean error (m) that the network expects of its line. Means
and deviations stand in road.json beside the model. Headings rather than coordinates, because eight
bits of a heading leave a smooth line.

Quantisation is static, after training: batch normalisation folded into the weights, int8 symmetric
weights per output channel, int8 asymmetric activations whose range covers all but 0.01 % of what
training frames give (Jacob et al. 2018; Nagel et al. 2021, arXiv:2106.08295).
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
PIECES, STEP_M = 9, 4.0
REAL = 2 + PIECES + 2  # outputs in units: point, headings, speed, yaw rate
BAR = 84  # image row at which the indicator bar begins
#: (channels out, kernel, stride) of the convolutions, then widths of the dense layers.
CONVOLUTIONS = (
    (16, 3, 2), (24, 3, 2), (40, 3, 2), (40, 3, 1), (64, 3, 2), (64, 3, 1), (24, 1, 1),
)  # fmt: skip
DENSE = (128, REAL + 1)
ERROR_FLOOR_M = 0.05
Arrays = tuple[np.ndarray, np.ndarray]


def network() -> nn.Sequential:
    """The float network; NCHW inside torch, input in 0..1."""
    layers: list[nn.Module] = []
    channels = 3
    for out, kernel, stride in CONVOLUTIONS:
        # TFLite's SAME padding of an even size at stride 2 is one less before than after.
        total = kernel - stride if stride == 2 else kernel - 1
        before = total // 2
        if total:
            layers.append(nn.ZeroPad2d((before, total - before, before, total - before)))
        layers.append(nn.Conv2d(channels, out, kernel, stride, bias=False))
        layers += [nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    layers += [nn.Flatten(), nn.Linear(6 * 6 * channels, DENSE[0]), nn.ReLU()]
    layers.append(nn.Linear(DENSE[0], DENSE[1]))
    return nn.Sequential(*layers)


def load(folder: Path) -> Arrays:
    """All shards: images uint8 [n, 96, 96, 3], labels float32 [n, 23] of tools/road_data.py."""
    shards = [np.load(p) for p in sorted(folder.glob("shard_*.npz"))]
    if not shards:
        sys.exit(f"{folder}: no shard_*.npz; run tools/road_data.py first")
    return tuple(np.concatenate([s[k] for s in shards]) for k in ("images", "labels"))


def targets(labels: np.ndarray) -> np.ndarray:
    """float32 [n, 13]: first point, headings, speed, yaw rate."""
    centre = labels[:, :20].reshape(-1, PIECES + 1, 2)
    d = np.diff(centre, axis=1)
    heading = np.unwrap(np.arctan2(d[..., 1], d[..., 0]), axis=1)
    return np.concatenate([centre[:, 0], heading, labels[:, 20:22]], 1).astype(np.float32)


def scales(t: np.ndarray) -> Arrays:
    """Mean and deviation of each target; mirrored ones have no mean."""
    mean, deviation = t.mean(0), t.std(0) + 1e-3
    mean[: 2 + PIECES] = mean[-1] = 0.0
    deviation[1] = np.sqrt((t[:, 1] ** 2).mean())
    return mean, deviation


def line(real: torch.Tensor) -> torch.Tensor:
    """Points [n, 10, 2] of the centre line from targets [n, 13]."""
    heading = real[:, 2 : 2 + PIECES]
    pieces = STEP_M * torch.stack((heading.cos(), heading.sin()), 2)
    first = real[:, None, :2]
    return torch.cat((first, first + torch.cumsum(pieces, 1)), 1)


def augment(x: torch.Tensor, t: torch.Tensor, rng: torch.Generator) -> None:
    """Mirror half the views (not the bar, which shows the motion) and vary their colours."""
    n = len(x)
    flip = torch.rand(n, generator=rng) < 0.5
    x[flip, :, :BAR] = x[flip, :, :BAR].flip(3)
    t[flip, 1 : 2 + PIECES] *= -1
    swap = torch.rand(n, generator=rng) < 0.3
    x[swap, :, :BAR] = x[swap][:, torch.randperm(3, generator=rng), :BAR]
    x[:, :, :BAR] *= 0.7 + 0.5 * torch.rand(n, 3, 1, 1, generator=rng)
    x[:, :, :BAR] += 0.12 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)
    x.clamp_(0, 1)


def loss_of(out: torch.Tensor, t: torch.Tensor, mean: torch.Tensor, dev: torch.Tensor) -> Any:
    """Huber loss of the scaled targets, distance of the points, Huber loss of the log error."""
    weight = torch.ones(REAL)
    weight[[0, 1, REAL - 2]] = 2.0
    huber = nn.functional.smooth_l1_loss
    scaled = (huber(out[:, :REAL], (t - mean) / dev, reduction="none", beta=0.1) * weight).mean()
    distance = (line(out[:, :REAL] * dev + mean) - line(t)).norm(dim=2).mean(1)
    # A lost road says nothing by being twice as far off: logarithmic beyond 4 m.
    bounded = torch.where(distance < 4, distance, 4 * (1 + torch.log(distance.clamp(min=1) / 4)))
    expected = torch.log(distance.detach() + ERROR_FLOOR_M)
    return scaled + 0.15 * bounded.mean() + 0.05 * huber(out[:, REAL], expected)


def epoch(net: nn.Module, data: Arrays, scale: Any, args: Any, opt: Any, rng: Any) -> float:
    """One pass over the data; mean loss."""
    x, t = data
    optimiser, schedule = opt
    order = torch.randperm(len(x), generator=rng).numpy()
    total, batches = 0.0, len(x) // args.batch
    for i in range(batches):
        pick = order[i * args.batch : (i + 1) * args.batch]
        images = torch.from_numpy(x[pick]).permute(0, 3, 1, 2).float() / 255
        wanted = torch.from_numpy(t[pick])
        augment(images, wanted, rng)
        with torch.autocast("cpu", torch.bfloat16):
            out = net(images.contiguous(memory_format=torch.channels_last))
        loss = loss_of(out.float(), wanted, *scale)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += loss.item()
    return total / batches


def train(net: nn.Module, data: Arrays, scale: Any, args: Any) -> None:
    """AdamW with one cosine cycle, in bfloat16 where the machine has it."""
    rng = torch.Generator().manual_seed(args.seed)
    net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-4)
    steps = args.epochs * (len(data[0]) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, steps, pct_start=0.15)
    net.train()
    for n in range(args.epochs):
        start = time.monotonic()
        mean = epoch(net, data, scale, args, (optimiser, schedule), rng)
        print(f"epoch {n + 1}: loss {mean:.4f}, {time.monotonic() - start:.0f} s", flush=True)
        torch.save(net.state_dict(), args.data / "road.pt")


def fold(net: nn.Sequential) -> list[Arrays]:
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
            if isinstance(layers[i - 1], nn.Flatten):  # flattened CHW -> HWC
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
                    seen[k].append(out.numpy().reshape(-1)[:: 17 if out.dim() == 4 else 1])
                    k += 1
    limits = []
    for parts in seen:
        lo, hi = np.quantile(np.concatenate(parts), [0.0001, 0.9999])
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


def _layer(op: str, name: str, x: Tensor, wb: Arrays, y: Tensor, attrs: dict) -> Node:
    w = _weights(f"{name}/weights", wb[0])
    return Node(op, [x, w, _bias(f"{name}/bias", wb[1], x, w)], [y], attrs, name)


def quantise(folded: list[Arrays], limits: list[tuple[float, float]]) -> Graph:
    """The int8 graph; its input is uint8 pixels, which QUANTIZE turns to int8 (less 128)."""
    image = Tensor("image", (1, 96, 96, 3), "uint8", per_tensor(1 / 255, 0))
    x = Tensor("pixels", (1, 96, 96, 3), "int8", per_tensor(1 / 255, -128))
    nodes, size = [Node("QUANTIZE", [image], [x], {}, "pixels")], 96
    for i, (out, _, stride) in enumerate(CONVOLUTIONS):
        size //= stride
        y = _activation(f"conv{i + 1}", (1, size, size, out), limits[i])
        attrs = {
            "padding": "SAME", "stride_w": stride, "stride_h": stride,
            "dilation_w_factor": 1, "dilation_h_factor": 1, "fused_activation_function": "RELU",
        }  # fmt: skip
        nodes.append(_layer("CONV_2D", y.name, x, folded[i], y, attrs))
        x = y
    flat = Tensor("flat", (1, x.count), "int8", x.quant)
    shape = Tensor("flat/shape", (2,), "int32", data=np.array(flat.shape, np.int32))
    nodes.append(Node("RESHAPE", [x, shape], [flat], {"new_shape": list(flat.shape)}, "flat"))
    x = flat
    for i, units in enumerate(DENSE, len(CONVOLUTIONS)):
        last = i == len(CONVOLUTIONS) + len(DENSE) - 1
        y = _activation("road" if last else "dense1", (1, units), limits[i])
        attrs = {"fused_activation_function": "NONE" if last else "RELU"}
        nodes.append(_layer("FULLY_CONNECTED", y.name, x, folded[i], y, attrs))
        x = y
    return Graph("road", nodes, {"image": image}, {"road": x})


def run_float(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """Outputs [n, 14] of the float network."""
    net.eval()
    with torch.no_grad():
        parts = [torch.from_numpy(x[i : i + 200]) for i in range(0, len(x), 200)]
        return torch.cat([net(p.permute(0, 3, 1, 2).float() / 255) for p in parts]).numpy()


def run_int8(path: Path, x: np.ndarray) -> np.ndarray:
    """Outputs [n, 14] of the model file, dequantised, on our engine."""
    import edgeinfer as ei

    session = ei.Session(ei.load(path))
    out = session.outputs["road"]
    results = np.zeros((len(x), DENSE[-1]), np.float32)
    for i, image in enumerate(x):
        session["image"][...] = image
        session.run()
        results[i] = out.scale * (session["road"][0].astype(np.float32) - out.zero)
    return results


def report(out: np.ndarray, t: np.ndarray, mean: np.ndarray, dev: np.ndarray) -> dict[str, float]:
    """Mean errors: of the line within 12 m and beyond, headings, speed, yaw rate."""
    real = out[:, :REAL] * dev + mean
    points = (line(torch.from_numpy(real)) - line(torch.from_numpy(t))).norm(dim=2).numpy()
    error = np.abs(real - t)
    figures = {
        "line_0_to_12_m": points[:, :4].mean(),
        "line_16_to_36_m": points[:, 4:].mean(),
        "line_median_m": np.median(points.mean(1)),
        "heading_rad": error[:, 2 : 2 + PIECES].mean(),
        "speed_mps": error[:, -2].mean(),
        "yaw_rate_rad_s": error[:, -1].mean(),
    }
    return {k: round(float(v), 4) for k, v in figures.items()}


def write(net: nn.Sequential, data: Arrays, held: Arrays, scale: Any, args: Any) -> None:
    """Quantise, compare, write model and record."""
    rng = np.random.default_rng(args.seed)
    picked = rng.choice(len(data[0]), min(2000, len(data[0])), replace=False)
    graph = quantise(fold(net), ranges(net, data[0][picked]))
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "road.tflite"
    path.write_bytes(write_tflite(graph, "road geometry, CarRacing-v3"))
    mean, deviation = (v.numpy() for v in scale)
    record: dict[str, Any] = {
        "model": "road.tflite: int8 road geometry from the 96x96 image of CarRacing-v3",
        "licence": "Apache-2.0, trained by tools/train_road.py on frames of the simulator alone",
        "command": f"python tools/train_road.py --epochs {args.epochs} --seed {args.seed}",
        "data": f"{len(data[0])} training and {len(held[0])} test frames of tools/road_data.py "
        "(seeds from 10000 and from 20000, none of 0-99; 60 % of the episodes with random colours)",
        "seed": args.seed,
        "torch": torch.__version__,
        "test_error_fp32": report(run_float(net, held[0]), held[1], mean, deviation),
        "test_error_int8": report(run_int8(path, held[0]), held[1], mean, deviation),
        "step_m": STEP_M,
        "road_width_m": round(80 / 6, 4),
        "mean": [round(float(v), 6) for v in mean],
        "deviation": [round(float(v), 6) for v in deviation],
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({k: v for k, v in record.items() if k.startswith("test")}, indent=1))


def main() -> None:
    """Train, quantise, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/road_data"))
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", type=Path, help="quantise these (road.pt), do not train")
    parser.add_argument("--out", type=Path, default=MODELS)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    x, labels = load(args.data)
    t, cut = targets(labels), len(x) - len(x) // 20  # held out: the last episodes, other tracks
    data, held = (x[:cut], t[:cut]), (x[cut:], t[cut:])
    scale = tuple(torch.from_numpy(v) for v in scales(data[1]))
    net = network()
    if args.weights:
        net.load_state_dict(torch.load(args.weights))
    else:
        train(net, data, scale, args)
    write(net, data, held, scale, args)


if __name__ == "__main__":
    main()
