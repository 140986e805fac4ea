"""The image path against a numpy statement of its definition, OpenCV, and itself on each ISA."""

import itertools

import cv2
import numpy as np
import pytest

from edgeinfer import _native
from edgeinfer.errors import ShapeError
from edgeinfer.image import ImageTransform

VECTOR = [i for i in _native.isas() if i != "ref"]
SIZES = [((1, 1), (3, 5)), ((2, 2), (2, 2)), ((5, 7), (13, 17)), ((37, 53), (16, 16)),
         ((64, 48), (9, 33)), ((90, 161), (32, 32)), ((33, 130), (33, 130))]  # fmt: skip


def picture(h, w, c, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, c), np.uint8)


@pytest.mark.parametrize("isa", VECTOR)
@pytest.mark.parametrize(("source", "dest"), SIZES)
def test_every_isa_gives_the_bytes_of_ref(isa, source, dest):
    colours = ["rgb->bgr", "rgb->grey", "grey->grey", "grey->rgb", "bgra->rgb", "rgba->bgra"]
    kinds = itertools.product(colours, ["uint8", "int8", "float32"],
                              ["bilinear", "nearest", "area"], ["letterbox", "crop"])  # fmt: skip
    for colour, dtype, filter_, layout in kinds:
        c_in = {"rgb": 3, "bgra": 4, "rgba": 4, "grey": 1}[colour.split("->")[0]]
        c_out = {"rgb": 3, "bgr": 3, "bgra": 4, "grey": 1}[colour.split("->")[1]]
        mean = [120.3, 110.7, 99.1, 0.5][:c_out]
        scale = [1 / 57.3, 1 / 58.1, 1 / 60.9, 1 / 255][:c_out]
        frame = picture(*source, c_in)
        got = [
            ImageTransform(source, (*dest, c_out), dtype, layout, colour, mean, scale, (0.0173, 3),
                           filter_, isa=i)(frame)
            for i in ("ref", isa)
        ]  # fmt: skip
        assert got[0].tobytes() == got[1].tobytes(), (colour, dtype, filter_, layout)


@pytest.mark.parametrize(("source", "dest"), [((720, 1280), (320, 320)), ((50, 60), (111, 97))])
def test_bilinear_is_opencv_within_one(source, dest):
    frame = picture(*source, 3)
    got = ImageTransform(source, (*dest, 3), layout="stretch", colour="bgr->rgb")(frame)
    want = cv2.cvtColor(cv2.resize(frame, dest[::-1]), cv2.COLOR_BGR2RGB)
    difference = np.abs(got.astype(int) - want)
    assert difference.max() <= 1
    assert difference.mean() < 0.2


def test_nearest_is_opencv_exactly():
    frame = picture(67, 91, 3)
    got = ImageTransform((67, 91), (40, 130, 3), layout="stretch", filter="nearest")(frame)
    np.testing.assert_array_equal(
        got, cv2.resize(frame, (130, 40), interpolation=cv2.INTER_NEAREST_EXACT)
    )


@pytest.mark.parametrize("dest", [(45, 80), (31, 57)])
def test_area_is_opencv_within_one(dest):
    frame = picture(180, 320, 3)
    got = ImageTransform((180, 320), (*dest, 3), layout="stretch", filter="area")(frame)
    want = cv2.resize(frame, dest[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(got.astype(int) - want).max() <= 1


def test_same_size_is_the_identity_and_grey_is_opencv():
    frame = picture(40, 50, 3)
    same = ImageTransform((40, 50), (40, 50, 3))(frame)
    np.testing.assert_array_equal(same, frame)
    grey = ImageTransform((40, 50), (40, 50, 1), colour="rgb->grey")(frame)[..., 0]
    assert np.abs(grey.astype(int) - cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)).max() <= 1


def test_normalised_float_and_int8_follow_their_formula():
    frame = picture(16, 16, 3)
    mean, scale = [123.7, 116.3, 103.5], [1 / 58.4, 1 / 57.1, 1 / 57.4]
    real = (frame.astype(np.float64) - mean) * scale
    got = ImageTransform((16, 16), (1, 16, 16, 3), "float32", mean=mean, scale=scale)(frame)
    np.testing.assert_allclose(got[0], real, atol=2e-6)
    q = ImageTransform((16, 16), (16, 16, 3), "int8", mean=mean, scale=scale, quant=(0.0187, -14))
    np.testing.assert_array_equal(q(frame), np.clip(np.rint(real / 0.0187 - 14), -128, 127))


def test_letterbox_pads_and_maps_boxes_back():
    frame = np.full((720, 1280, 3), 200, np.uint8)
    t = ImageTransform(frame.shape, (320, 320, 3), pad=(1, 2, 3))
    out = t(frame)
    assert (out[70:250] == 200).all()
    assert (out[:70] == (1, 2, 3)).all()
    assert (out[250:] == (1, 2, 3)).all()
    np.testing.assert_allclose(t.placement.to_source(np.array([[0, 70, 320, 250]])),
                               [[0, 0, 1280, 720]], atol=1e-3)  # fmt: skip


def test_crop_and_strided_source_take_only_their_part():
    frame = picture(60, 80, 3)
    got = ImageTransform((60, 80), (20, 30, 3), layout="stretch", crop=(11, 23, 20, 30))(frame)
    np.testing.assert_array_equal(got, frame[11:31, 23:53])
    view = frame[5:45, 8:58]  # rows with a stride
    got = ImageTransform((40, 50), (40, 50, 3))(view)
    np.testing.assert_array_equal(got, view)


def test_bad_options_and_arrays_are_named_errors():
    with pytest.raises(ValueError, match="out of range"):
        ImageTransform((0, 5), (4, 4, 3))
    with pytest.raises(ValueError, match="out of range"):
        ImageTransform((9, 9), (4, 4, 3), crop=(5, 0, 5, 9))
    with pytest.raises(ValueError, match="image transform"):
        ImageTransform((9, 9), (4, 4, 3), quant=(0.0, 0))
    with pytest.raises(ShapeError, match="tensor shape"):
        ImageTransform((9, 9), (4, 4, 1))
    t = ImageTransform((9, 9), (4, 4, 3))
    with pytest.raises(ShapeError, match="frame"):
        t(picture(8, 9, 3))
    with pytest.raises(ShapeError, match="out"):
        t(picture(9, 9, 3), np.empty((4, 4, 3), np.int8))


def test_c_refuses_short_memory():
    t = ImageTransform((9, 9), (4, 4, 3))
    frame, out = picture(9, 9, 3), np.empty((4, 4, 3), np.uint8)
    ffi, lib = _native.ffi, _native.lib
    src, dst = ffi.from_buffer("uint8_t[]", frame), ffi.from_buffer(out)
    for size, stride, room in [(242, 27, 48), (243, 26, 48), (243, 27, 47), (243, 2**62, 48)]:
        assert lib.ei_image_run(t._ptr, src, size, stride, dst, room, t._work) == 1
    assert lib.ei_image_run(t._ptr, src, 243, 27, dst, 48, t._work) == 0
