"""The real models of the shared data folder: equal to LiteRT, or refused in one clear sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import edgeinfer as ei
from edgeinfer.errors import UnsupportedError
from tests.conftest import shared_path

MODELS = """
anomaly/ad01_fp32 anomaly/ad01_int8 classify/mobilenet_v1_0.25_224_1_metadata_1
classify/mobilenet_v1_0.25_224_quant classify/pretrainedResnet classify/pretrainedResnet_quant
detect/FastestDet_float32.derived detect/FastestDet_full_integer_quant.derived
detect/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29 edgetpu/mobilenet_v1_0.25_128_quant
edgetpu/split_concat face/face_detection_short_range kws/kws_ref_model kws/kws_ref_model_float32
kws/micro_speech_quantized mnist/keras_lstm_mnist_ptq mnist/trained_lstm mnist/trained_lstm_int8
person/vww_96_float person/vww_96_int8 segment/deeplabv3_mnv2_dm05_pascal_quant
segment/selfie_segmentation speed/autoencoder_640_fp32 speed/autoencoder_640_int8
speed/kws_dscnn_49x10_fp32 speed/kws_dscnn_49x10_int8 speed/mobilenetv2_224_fp32
speed/mobilenetv2_224_int8 speed/mobilenetv3_small_224_fp32 speed/mobilenetv3_small_224_int8
speed/resnet8_cifar_fp32 speed/resnet8_cifar_int8 speed/tiny_fc_16x4_fp32 speed/tiny_fc_16x4_int8
speed/unet16_160_fp32 speed/unet16_160_int8 speed/vww_mbv1_025_96_fp32
speed/vww_mbv1_025_96_int8 speed/yolov5n_320_fp32 speed/yolov5n_320_int8
wakeword/hey_jarvis wakeword/okay_nabu
""".split()
INTEGER = [m for m in MODELS if any(w in m for w in ("int8", "quant", "uint8", "integer", "ptq"))]
INTEGER += ["edgetpu/split_concat", "kws/kws_ref_model", "wakeword/hey_jarvis"]
INTEGER += ["wakeword/okay_nabu"]
#: Inputs above this number of bytes: on the fastest ISA alone; the definition would be slow.
_LARGE = 50_000
#: Stateful or not, what one run leaves behind must not change the next.
_RUNS = 3

#: Bounds that are not 1e-5 of the largest magnitude. The keyword model has 8-bit weights under
#: float activations: LiteRT quantises those anew in every run, we compute in float. The person
#: segmentation is ill-conditioned: LiteRT's own answer moves by 4e-5 when every pixel is changed in
#: its last place (ours differ by 5e-5 from it, on the definition).
BOUNDS = {"kws/kws_ref_model_float32": 1e-3, "segment/selfie_segmentation": 1e-4}
#: Noise is no person: every probability is below 1e-7 there, so only a photograph tells something.
PICTURES_ONLY = ("segment/selfie_segmentation",)

REFUSED = {
    "edgetpu/deeplabv3_mnv2_dm05_pascal_quant_edgetpu": "Edge TPU",
    "edgetpu/keras_lstm_mnist_ptq_edgetpu": "Edge TPU",
    "edgetpu/mobilenet_v1_0.25_128_quant_edgetpu": "Edge TPU",
    "edgetpu/split_concat_edgetpu": "Edge TPU",
    "edgetpu/testconv1-edgetpu": "Edge TPU",
    "edgetpu/person_detect_vela": "Ethos-U",
    "edgetpu/simple_model_qualcomm_sm8650_precompiled": "Qualcomm|DISPATCH_OP",
    "edgetpu/model_invoking_error": "fake-op-double",
    "kws/audio_preprocessor_int8": "SignalWindow",
}


def _path(model: str) -> Path:
    return shared_path(f"models/{model}.tflite")


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] == 3 and shape[1] >= 32


def _read(path: Path, mode: int) -> np.ndarray:
    image = cv2.imread(str(path), mode)
    assert image is not None, path
    return np.asarray(image)


def _picture(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A photograph as the input wants it: its pixels, less 128 for int8, 0..1 for floats."""
    image = _read(shared_path("models/images/cat.png"), cv2.IMREAD_COLOR)
    image = cv2.resize(image[:, :, ::-1], (shape[2], shape[1]))[None]
    if dtype == "float32":
        return np.asarray(image / 255.0, np.float32)
    return np.asarray(image.astype(np.int16) - (128 if dtype == "int8" else 0), dtype)


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "float32":
        return rng.random(shape, np.float32)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def _feeds(model: str, session: ei.Session) -> list[list[np.ndarray]]:
    """Random inputs, then a photograph where the model takes one."""
    rng, inputs = np.random.default_rng(0), session.inputs.values()
    feeds = [[_random(rng, t.shape, t.dtype) for t in inputs] for _ in range(_RUNS - 1)]
    if all(_is_image(t.shape) for t in inputs):
        picture = [_picture(t.shape, t.dtype) for t in inputs]
        return [picture] if model in PICTURES_ONLY else [*feeds, picture]
    return feeds


def _litert(path: Path, rounding: str) -> Interpreter:
    kinds = {"xnnpack": OpResolverType.AUTO, "tflite": OpResolverType.BUILTIN_REF}
    interpreter = Interpreter(str(path), experimental_op_resolver_type=kinds[rounding])
    interpreter.allocate_tensors()
    return interpreter


def _same(want: np.ndarray, got: np.ndarray, relative: float, note: str) -> None:
    assert want.shape == got.shape
    assert want.dtype == got.dtype
    if want.dtype.kind == "f":
        bound = relative * max(float(np.abs(want).max(initial=0)), 1e-30)
        np.testing.assert_allclose(got, want, rtol=0, atol=bound, err_msg=note)
    else:
        assert np.count_nonzero(want != got) == 0, note


def _compare(model: str, isa: str | None, rounding: str) -> None:
    """Every output of every run; the session was given no fallback, so it runs on our kernels."""
    path = _path(model)
    session = ei.Session(ei.load(path), isa=isa, rounding=rounding)
    interpreter = _litert(path, rounding)
    for run, feed in enumerate(_feeds(model, session)):
        places = interpreter.get_input_details()
        for name, detail, value in zip(session.inputs, places, feed, strict=True):
            session[name] = value
            interpreter.set_tensor(detail["index"], value)
        session.run()
        interpreter.invoke()
        outputs = zip(session.outputs, interpreter.get_output_details(), strict=True)
        for name, detail in outputs:
            want, relative = interpreter.get_tensor(detail["index"]), BOUNDS.get(model, 1e-5)
            _same(want, session[name], relative, f"{name}, run {run}")


@pytest.mark.parametrize("model", MODELS)
def test_equal_to_litert(model: str) -> None:
    """8 bits to the bit, floats within 1e-5 of the largest magnitude, on the fastest ISA here."""
    _compare(model, None, "xnnpack")


@pytest.mark.parametrize("model", MODELS)
def test_definition_equal_to_litert(model: str) -> None:
    """The same of the reference kernels, for models with small inputs."""
    inputs = ei.load(_path(model)).inputs.values()
    if sum(t.count for t in inputs) > _LARGE:
        pytest.skip("a large input: the definition would be slow; the fastest ISA is compared")
    _compare(model, "ref", "xnnpack")


@pytest.mark.parametrize("model", INTEGER)
def test_tflite_rounding_equal_to_the_reference_operators(model: str) -> None:
    if "mobilenetv3" in model:
        pytest.skip("LiteRT's reference operators abort the process on this model")
    _compare(model, None, "tflite")


@pytest.mark.parametrize("model", REFUSED)
def test_refused_by_name(model: str) -> None:
    """One sentence that names the hardware a model was compiled for, or the operator."""
    with pytest.raises(UnsupportedError, match=REFUSED[model]):
        ei.Session(ei.load(_path(model)))


def test_every_model_of_the_folder_is_covered() -> None:
    """No .tflite file is left out; person_detect has its own form of quantisation (reader)."""
    folder = shared_path("models")
    found = {p.relative_to(folder).as_posix()[:-7] for p in folder.rglob("*.tflite")}
    assert found == {*MODELS, *REFUSED, "person/person_detect"}


def test_old_person_detector_runs_though_litert_refuses_it() -> None:
    path = _path("person/person_detect")
    with pytest.raises((RuntimeError, ValueError)):
        _litert(path, "xnnpack")
    session = ei.Session(ei.load(path))
    score = {}
    for name in ("person", "no_person"):
        image = _read(shared_path(f"models/person/{name}.bmp"), cv2.IMREAD_GRAYSCALE)
        (x,), (y,) = session.inputs, session.outputs
        session[x] = image.view(np.int8).reshape(session[x].shape)
        session.run()
        score[name] = session[y][0].tolist()
    assert score["person"][1] > score["person"][0]
    assert score["no_person"][1] < score["no_person"][0]
