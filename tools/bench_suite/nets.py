"""The networks of the suite: published architectures at their usual sizes, random weights.

Sources: MobileNetV1 arXiv 1704.04861; V2 and SSDLite 1801.04381; V3 1905.02244; EfficientNet-Lite
(TensorFlow TPU repository); YOLOv5n v6 (Ultralytics, 320x320); U-Net 1505.04597 with 16 channels at
the top; ResNet8, DS-CNN, VWW and the autoencoder of MLPerf Tiny 2106.07597; encoder 1706.03762.
"""

from __future__ import annotations

from collections.abc import Callable

from build import Net
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.tensor import Tensor

Relu6 = "RELU6"


def _divisible(value: float, by: int = 8) -> int:
    """The nearest multiple, at least 90 % of the value (of the MobileNet papers' code)."""
    found = max(by, int(value + by / 2) // by * by)
    return found + by if found < 0.9 * value else found


def _classify(net: Net, x: Tensor, classes: int) -> Graph:
    return net.graph(net.softmax(net.fc(net.mean(x), classes)))


def _mobilenet_v1(name: str, size: int, width: float, classes: int) -> Graph:
    net = Net(name)
    x = net.conv(net.input(1, size, size, 3), int(32 * width), 3, 2, Relu6)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
            (1024, 2), (1024, 1)]  # fmt: skip
    for channels, stride in plan:
        x = net.dw(x, 3, stride, Relu6)
        x = net.conv(x, int(channels * width), act=Relu6)
    return _classify(net, x, classes)


def mobilenet_v1() -> Graph:
    """MobileNetV1 1.0, 224x224."""
    return _mobilenet_v1("mobilenetv1_224", 224, 1.0, 1000)


def vww() -> Graph:
    """Visual wake words: MobileNetV1 0.25, 96x96."""
    return _mobilenet_v1("vww_mbv1_025_96", 96, 0.25, 2)


def _inverted(net: Net, x: Tensor, expand: int, channels: int, kernel: int, stride: int) -> Tensor:
    y = x if expand == 1 else net.conv(x, expand * x.shape[3], act=Relu6)
    y = net.conv(net.dw(y, kernel, stride, Relu6), channels)
    return net.add(x, y) if stride == 1 and x.shape[3] == channels else y


V2 = [(1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 32, 3, 2, 3), (6, 64, 3, 2, 4), (6, 96, 3, 1, 3),
      (6, 160, 3, 2, 3), (6, 320, 3, 1, 1)]  # fmt: skip
LITE0 = [(1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3),
         (6, 112, 5, 1, 3), (6, 192, 5, 2, 4), (6, 320, 3, 1, 1)]  # fmt: skip


def _blocks(name: str, plan: list[tuple[int, int, int, int, int]]) -> Graph:
    net = Net(name)
    x = net.conv(net.input(1, 224, 224, 3), 32, 3, 2, Relu6)
    for expand, channels, kernel, first, count in plan:
        for i in range(count):
            x = _inverted(net, x, expand, channels, kernel, first if i == 0 else 1)
    return _classify(net, net.conv(x, 1280, act=Relu6), 1000)


def mobilenet_v2() -> Graph:
    """MobileNetV2 1.0, 224x224."""
    return _blocks("mobilenetv2_224", V2)


def efficientnet_lite0() -> Graph:
    """EfficientNet-Lite0, 224x224."""
    return _blocks("efficientnet_lite0_224", LITE0)


def mobilenet_v3_small() -> Graph:
    """MobileNetV3-Small 1.0, 224x224."""
    net = Net("mobilenetv3_small_224")
    x = net.one("HARD_SWISH", net.conv(net.input(1, 224, 224, 3), 16, 3, 2))
    plan = [(3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2),
            *[(5, 240, 40, 1, 1, 1)] * 2, (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1),
            (5, 288, 96, 1, 1, 2), *[(5, 576, 96, 1, 1, 1)] * 2]  # fmt: skip
    for kernel, wide, channels, squeeze, swish, stride in plan:
        x = _v3_block(net, x, kernel, wide, channels, bool(squeeze), bool(swish), stride)
    x = net.mean(net.one("HARD_SWISH", net.conv(x, 576)))
    x = net.one("HARD_SWISH", net.fc(x, 1024))
    return net.graph(net.softmax(net.fc(x, 1000)))


def _v3_block(net: Net, x: Tensor, kernel: int, wide: int, channels: int, squeeze: bool,
              swish: bool, stride: int) -> Tensor:  # fmt: skip
    def active(make: Callable[..., Tensor], *args: int) -> Tensor:
        return net.one("HARD_SWISH", make(*args)) if swish else make(*args, act="RELU")

    y = x if wide == x.shape[3] else active(net.conv, x, wide)
    y = active(net.dw, y, kernel, stride)
    if squeeze:
        gate = net.conv(net.mean(y, keep=True), _divisible(wide / 4), act="RELU")
        gate = net.mul(net.conv(gate, wide, act=Relu6, around=3.0), 1 / 6)  # hard sigmoid
        y = net.mul(y, gate)
    y = net.conv(y, channels)
    return net.add(x, y) if stride == 1 and x.shape[3] == channels else y


def ssdlite_v2() -> Graph:
    """SSDLite with MobileNetV2, 320x320, 91 classes; boxes and scores, before box decoding."""
    net = Net("ssdlite_mobilenetv2_320")
    x = net.conv(net.input(1, 320, 320, 3), 32, 3, 2, Relu6)
    maps = []
    for expand, channels, kernel, first, count in V2:
        for i in range(count):
            if channels == 160 and i == 0:  # the expansion of block 13, at stride 16
                x = net.conv(x, expand * x.shape[3], act=Relu6)
                maps.append(x)
                x = net.conv(net.dw(x, kernel, first, Relu6), channels)
            else:
                x = _inverted(net, x, expand, channels, kernel, first if i == 0 else 1)
    x = net.conv(x, 1280, act=Relu6)
    maps.append(x)
    for channels in (512, 256, 256, 128):
        x = net.dw(net.conv(x, channels // 2, act=Relu6), 3, 2, Relu6)
        maps.append(x := net.conv(x, channels, act=Relu6))
    heads = [_head(net, m, 3 if i == 0 else 6, 4) for i, m in enumerate(maps)]
    scores = [_head(net, m, 3 if i == 0 else 6, 91) for i, m in enumerate(maps)]
    return net.graph(net.concat(heads, 1), net.one("LOGISTIC", net.concat(scores, 1)))


def _head(net: Net, x: Tensor, anchors: int, values: int) -> Tensor:
    y = net.conv(net.dw(x, 3, act=Relu6), anchors * values)
    return net.reshape(y, 1, y.shape[1] * y.shape[2] * anchors, values)


def _silu_conv(net: Net, x: Tensor, channels: int, kernel: int = 1, stride: int = 1) -> Tensor:
    return net.silu(net.conv(x, channels, kernel, stride))


def _c3(net: Net, x: Tensor, channels: int, count: int, shortcut: bool = True) -> Tensor:
    half = channels // 2
    y = _silu_conv(net, x, half)
    for _ in range(count):
        z = _silu_conv(net, _silu_conv(net, y, half), half, 3)
        y = net.add(y, z) if shortcut else z
    return _silu_conv(net, net.concat([y, _silu_conv(net, x, half)]), channels)


def yolov5n() -> Graph:
    """YOLOv5n v6, 320x320, 80 classes; the three heads, before box decoding."""
    net = Net("yolov5n_320")
    x = _silu_conv(net, net.input(1, 320, 320, 3), 16, 6, 2)
    kept = []
    for channels, count in ((32, 1), (64, 2), (128, 3), (256, 1)):
        x = _c3(net, _silu_conv(net, x, channels, 3, 2), channels, count)
        kept.append(x)
    x = _silu_conv(net, x, 128)
    pools = [x]
    for _ in range(3):
        pools.append(net.pool(pools[-1], 5, 1))
    top = _silu_conv(net, _silu_conv(net, net.concat(pools), 256), 128)
    x = _c3(net, net.concat([net.up(top), kept[2]]), 128, 1, False)
    middle = _silu_conv(net, x, 64)
    p3 = _c3(net, net.concat([net.up(middle), kept[1]]), 64, 1, False)
    p4 = _c3(net, net.concat([_silu_conv(net, p3, 64, 3, 2), middle]), 128, 1, False)
    p5 = _c3(net, net.concat([_silu_conv(net, p4, 128, 3, 2), top]), 256, 1, False)
    heads = [net.one("LOGISTIC", net.conv(p, 255)) for p in (p5, p4, p3)]
    return net.graph(*heads)


def unet16() -> Graph:
    """U-Net with 16 channels at the top, 160x160, one class."""
    net = Net("unet16_160")

    def pair(x: Tensor, channels: int) -> Tensor:
        return net.conv(net.conv(x, channels, 3, act="RELU"), channels, 3, act="RELU")

    x, kept = net.input(1, 160, 160, 3), []
    for channels in (16, 32, 64):
        kept.append(pair(x, channels))
        x = net.pool(kept[-1], 2, 2)
    x = pair(x, 128)
    for channels in (64, 32, 16):
        x = pair(net.concat([net.up(x), kept.pop()]), channels)
    return net.graph(net.one("LOGISTIC", net.conv(x, 1)))


def resnet8() -> Graph:
    """ResNet8 of MLPerf Tiny, CIFAR-10."""
    net = Net("resnet8_cifar")
    x = net.conv(net.input(1, 32, 32, 3), 16, 3, act="RELU")
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(net.conv(x, channels, 3, stride, "RELU"), channels, 3)
        x = net.add(y, x if stride == 1 else net.conv(x, channels, 1, stride), "RELU")
    return _classify(net, x, 10)


def ds_cnn() -> Graph:
    """DS-CNN of MLPerf Tiny, keyword spotting on 49x10 features."""
    net = Net("kws_dscnn_49x10")
    x = net.conv(net.input(1, 49, 10, 1), 64, (10, 4), 2, "RELU")
    for _ in range(4):
        x = net.conv(net.dw(x, 3, act="RELU"), 64, act="RELU")
    return _classify(net, x, 12)


def _dense(name: str, depth: int, units: tuple[int, ...]) -> Graph:
    net = Net(name)
    x = net.input(1, depth)
    for n in units[:-1]:
        x = net.fc(x, n, "RELU")
    return net.graph(net.fc(x, units[-1]))


def autoencoder() -> Graph:
    """The anomaly detector of MLPerf Tiny."""
    return _dense("autoencoder_640", 640, (*[128] * 4, 8, *[128] * 4, 640))


def tiny_fc() -> Graph:
    """Two dense layers: all overhead."""
    return _dense("tiny_fc_16x4", 16, (16, 4))


def lstm() -> Graph:
    """Keyword spotting with an LSTM of 128 units on 49x40 features."""
    net = Net("kws_lstm_49x40")
    x = net.lstm(net.input(1, 49, 40), 128)
    return net.graph(net.softmax(net.fc(net.reshape(x, 1, 49 * 128), 12)))


def encoder() -> Graph:
    """Transformer encoder: 2 layers, 64 tokens of 128, 4 heads, 512 inside."""
    net, (tokens, depth, heads) = Net("encoder_64x128"), (64, 128, 4)
    x = net.input(1, tokens, depth)
    for _ in range(2):
        x = net.layer_norm(net.add(x, _attention(net, x, heads)))
        x = net.layer_norm(net.add(x, net.fc(net.fc(x, 4 * depth, "RELU"), depth)))
    return net.graph(net.fc(net.mean(x, (1,)), 12))


def _attention(net: Net, x: Tensor, heads: int) -> Tensor:
    _, tokens, depth = x.shape
    size = depth // heads

    def split(y: Tensor) -> Tensor:
        return net.transpose(net.reshape(y, 1, tokens, heads, size), 0, 2, 1, 3)

    q, k, v = (split(net.fc(x, depth)) for _ in range(3))
    scores = net.softmax(net.mul(net.matmul(q, k, adj_y=True), size**-0.5))
    y = net.transpose(net.matmul(scores, v), 0, 2, 1, 3)
    return net.fc(net.reshape(y, 1, tokens, depth), depth)


#: Name, maker, and the multiply-accumulates it must have, in millions.
NETS: dict[str, tuple[Callable[[], Graph], float]] = {
    "mobilenetv1_224": (mobilenet_v1, 568.7),
    "mobilenetv2_224": (mobilenet_v2, 300.8),
    "efficientnet_lite0_224": (efficientnet_lite0, 385.0),
    "mobilenetv3_small_224": (mobilenet_v3_small, 56.5),
    "ssdlite_mobilenetv2_320": (ssdlite_v2, 804.0),
    "yolov5n_320": (yolov5n, 558.5),
    "unet16_160": (unet16, 1043.7),
    "resnet8_cifar": (resnet8, 12.5),
    "kws_dscnn_49x10": (ds_cnn, 2.66),
    "vww_mbv1_025_96": (vww, 7.49),
    "autoencoder_640": (autoencoder, 0.264),
    "tiny_fc_16x4": (tiny_fc, 0.00032),
    "kws_lstm_49x40": (lstm, 4.29),
    "encoder_64x128": (encoder, 27.26),
}
