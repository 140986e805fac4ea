"""The .tflite reader: the schema's tables, whole models, and what it says of broken files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as litert_schema
from ai_edge_litert.interpreter import Interpreter

from edgeinfer.engine import ops, tflite_schema
from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.model import from_tflite
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor
from edgeinfer.engine.tflite import read_tflite
from edgeinfer.engine.tflite_writer import write_tflite
from edgeinfer.errors import ModelError, UnsupportedError
from tests import models
from tests.conftest import shared_path


def constants(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int)}


def edited(data: bytes, edit: Callable[[Any], None]) -> bytes:
    """The model after `edit` changed it as LiteRT's own objects, written by LiteRT's schema."""
    model = litert_schema.ModelT.InitFromPackedBuf(data)
    edit(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="module")
def small() -> bytes:
    return write_tflite(models.network("int8"))


def test_operators_are_those_of_the_schema() -> None:
    codes = constants(litert_schema.BuiltinOperator)
    assert {i: n for i, n in enumerate(tflite_schema.OPERATORS) if i in codes} == codes


def test_types_are_those_of_the_schema() -> None:
    codes = constants(litert_schema.TensorType)
    assert dict(enumerate(tflite_schema.TENSOR_TYPE_NAMES)) == codes
    for code, name in enumerate(tflite_schema.TENSOR_TYPES):
        assert name is None or name.upper() == codes[code]


def test_enumerations_are_those_of_the_schema() -> None:
    pairs = {
        "activation": litert_schema.ActivationFunctionType,
        "padding": litert_schema.Padding,
        "mirror": litert_schema.MirrorPadMode,
        "weights": litert_schema.FullyConnectedOptionsWeightsFormat,
    }
    for name, enum in pairs.items():
        assert dict(enumerate(tflite_schema.ENUMS[name])) == constants(enum)


class Recorder:
    """Stands for a Builder: remembers the field number and default a setter passes."""

    def __getattr__(self, method: str) -> Callable[..., None]:
        def record(slot: int, _value: Any, default: Any) -> None:
            self.__dict__.update(kind=method, slot=slot, default=default)

        return record


def setters(table: str) -> dict[str, tuple[str, int, Any]]:
    prefix, found = table + "Add", {}
    for name in dir(litert_schema):
        if name.startswith(prefix):
            recorder = Recorder()
            getattr(litert_schema, name)(recorder, 0)
            got = recorder.__dict__
            plain = name[len(prefix) :].lower()
            found[plain] = (got["kind"], got["slot"], got["default"])
    return found


SLOT_TYPES = {
    "PrependInt32Slot": ("i32",),
    "PrependUint32Slot": ("u32",),
    "PrependInt64Slot": ("i64",),
    "PrependFloat32Slot": ("f32",),
    "PrependBoolSlot": ("bool",),
    "PrependInt8Slot": ("i8", "type", *tflite_schema.ENUMS),
    "PrependUOffsetTRelativeSlot": ("str", "[i32]", "[f32]"),
}


@pytest.mark.parametrize("union", sorted(tflite_schema.OPTIONS))
def test_option_tables_are_those_of_the_schema(union: int) -> None:
    table = constants(litert_schema.BuiltinOptions)[union]
    want = setters(table)
    want.pop("quantspec", None)  # not read: no runtime looks at it
    fields = tflite_schema.fields(union)
    assert {f.name.replace("_", ""): f.id for f in fields} == {k: v[1] for k, v in want.items()}
    for field in fields:
        kind, _, default = want[field.name.replace("_", "")]
        assert field.type in SLOT_TYPES[kind], field
        assert field.default == default, field


def test_operators_have_the_options_of_their_name() -> None:
    tables = constants(litert_schema.BuiltinOptions)
    by_name = {name.lower(): number for number, name in tables.items()}
    for op in tflite_schema.OPERATORS:
        number = by_name.get(op.replace("_", "").lower() + "options")
        if number is not None:
            assert tflite_schema.union_of(op) == number, op
    assert set(tables) - {tflite_schema.union_of(op) for op in tflite_schema.OPERATORS} == set()


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_written_graph_reads_back(dtype: str) -> None:
    graph = models.network(dtype)
    found = read_tflite(write_tflite(graph))
    assert found.signature == "serving_default"
    assert list(found.graph.inputs) == list(graph.inputs)
    assert list(found.graph.outputs) == list(graph.outputs)
    for want, got in zip(graph.nodes, found.graph.nodes, strict=True):
        assert got.op == want.op
        assert {k: got.attrs[k] for k in want.attrs} == want.attrs
        for a, b in zip(want.inputs + want.outputs, got.inputs + got.outputs, strict=True):
            assert a is not None
            assert b is not None
            assert str(a) == str(b)
            assert (a.data is None) == (b.data is None)
            if a.data is not None:
                np.testing.assert_array_equal(a.data, b.data)
            if a.quant is not None:
                assert b.quant is not None
                np.testing.assert_array_equal(a.quant.scale, b.quant.scale)
                np.testing.assert_array_equal(a.quant.zero, b.quant.zero)


def test_constants_are_views_of_the_file(small: bytes) -> None:
    file = np.frombuffer(small, np.uint8)
    graph = read_tflite(small).graph
    weights = [t.data for t in graph.tensors() if t.data is not None]
    assert weights
    assert all(np.shares_memory(file, w) for w in weights)


def test_variables_and_subgraph() -> None:
    graph = read_tflite(write_tflite(models.variables())).graph
    once, handle, *_ = graph.nodes
    init = once.attrs["init_subgraph"]
    assert [n.op for n in init.nodes] == ["VAR_HANDLE", "ASSIGN_VARIABLE"]
    assert init.nodes[1].input(1).data is not None
    assert handle.attrs["shared_name"] == "state"
    assert handle.outputs[0].dtype == "resource"


def test_names_come_from_the_signature(small: bytes) -> None:
    def rename(model: Any) -> None:
        model.signatureDefs[0].inputs[0].name = "image"
        model.signatureDefs[0].outputs[0].name = "scores"

    model = from_tflite(edited(small, rename))
    assert list(model.inputs) == ["image"]
    assert list(model.outputs) == ["scores"]
    assert model.inputs["image"].name == "x"


def test_two_signatures_give_tensor_names(small: bytes) -> None:
    def twice(model: Any) -> None:
        model.signatureDefs[0].inputs[0].name = "image"
        model.signatureDefs *= 2

    assert list(from_tflite(edited(small, twice)).inputs) == ["x"]


def test_repeated_names_are_told_apart() -> None:
    x = Tensor("x", (2,), "float32")
    outs = [Tensor("y", (2,), "float32") for _ in range(3)]
    graph = Graph("g", [Node("RELU", [x], [y]) for y in outs], {"x": x}, {})
    graph.outputs = dict(zip("abc", outs, strict=True))
    data = edited(write_tflite(graph), lambda m: setattr(m, "signatureDefs", []))
    assert list(read_tflite(data).graph.outputs) == ["y", "y:1", "y:2"]


def test_unknown_batch_becomes_one() -> None:
    def free(model: Any) -> None:
        model.subgraphs[0].tensors[0].shape = np.array([-1, 16, 16, 3], np.int32)

    data = edited(write_tflite(models.network("float32")), free)
    assert read_tflite(data).graph.inputs["x"].shape == (1, 16, 16, 3)


def test_buffers_after_the_flatbuffer(small: bytes) -> None:
    """Models above 2 GB keep their buffers behind the flatbuffer, by offset and size."""
    want = read_tflite(small).graph

    def move(model: Any) -> None:
        buffer = model.buffers[1]
        moved.append(bytes(buffer.data))
        buffer.data, buffer.offset, buffer.size = None, 1 << 20, len(moved[-1])

    moved: list[bytes] = []
    data = edited(small, move)
    data = data.ljust(1 << 20, b"\0") + moved[0]
    got = read_tflite(data).graph
    for a, b in zip(want.tensors(), got.tensors(), strict=True):
        if a.data is not None:
            np.testing.assert_array_equal(a.data, b.data)
    with pytest.raises(ModelError, match="outside the file"):
        read_tflite(data[: 1 << 20])


def test_four_bit_weights_are_unpacked() -> None:
    values = np.array([[-8, 7, 1], [0, -1, 3]], np.int8)
    flat = np.append(values.reshape(-1) & 15, 0).astype(np.uint8)
    packed = flat[0:6:2] | flat[1:6:2] << 4
    x, y = Tensor("x", (1, 3), "float32"), Tensor("y", (1, 2), "float32")
    w = Tensor("w", (2, 3), "int4", per_tensor(0.5), packed)
    node = Node("FULLY_CONNECTED", [x, w, None], [y], {"fused_activation_function": "NONE"})
    got = read_tflite(write_tflite(Graph("g", [node], {"x": x}, {"y": y}))).graph.nodes[0].input(1)
    assert got.dtype == "int8"
    np.testing.assert_array_equal(got.data, values)


def relu(**changes: Any) -> Graph:
    x, y = Tensor("x", (1, 4), "float32"), Tensor("y", (1, 4), "float32")
    for name, value in changes.items():
        setattr(x, name, value)
    return Graph("g", [Node("RELU", [x], [y])], {"x": x}, {"y": y})


def test_old_axis_of_scales_is_repaired_where_it_is_certain() -> None:
    def shape_of(*shape: int) -> bytes:
        quant = Quantisation(np.full(4, 0.5, np.float32), np.zeros(4, np.int32), 7)
        return write_tflite(relu(shape=shape, dtype="int8", quant=quant))

    quant = read_tflite(shape_of(1, 3, 3, 4)).graph.inputs["x"].quant
    assert quant is not None
    assert quant.axis == 3
    with pytest.raises(ModelError, match="4 scales on axis 7"):
        read_tflite(shape_of(4, 3, 3, 4))


def test_unsupported_forms_are_named() -> None:
    def sparse(model: Any) -> None:
        model.subgraphs[0].tensors[0].sparsity = litert_schema.SparsityParametersT()

    def strings(model: Any) -> None:
        model.subgraphs[0].tensors[0].type = litert_schema.TensorType.STRING

    def blocks(model: Any) -> None:
        quant = litert_schema.QuantizationParametersT()
        quant.detailsType = 2
        quant.details = litert_schema.BlockwiseQuantizationT()
        model.subgraphs[0].tensors[0].quantization = quant

    data = write_tflite(relu())
    for edit, word in ((sparse, "sparse"), (strings, "STRING"), (blocks, "blocks")):
        with pytest.raises(UnsupportedError, match=word):
            read_tflite(edited(data, edit), "m.tflite")
    with pytest.raises(UnsupportedError, match="INT4"):
        read_tflite(write_tflite(relu(dtype="int4")))


def test_newest_operators_have_their_names() -> None:
    def newest(model: Any) -> None:
        model.operatorCodes[0].deprecatedBuiltinCode = 127
        model.operatorCodes[0].builtinCode = 206

    node = read_tflite(edited(write_tflite(relu()), newest)).graph.nodes[0]
    assert node.op == "STABLEHLO_COMPOSITE"


def first(model: Any) -> Any:
    return model.subgraphs[0].tensors[0]


def put(place: Callable[[Any], Any], **values: Any) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        for name, value in values.items():
            setattr(place(model), name, value)

    return edit


def graph_of(model: Any) -> Any:
    return model.subgraphs[0]


def node_of(model: Any) -> Any:
    return model.subgraphs[0].operators[0]


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


BROKEN = {
    "version": (put(lambda m: m, version=2), "version: 2"),
    "no subgraph": (put(lambda m: m, subgraphs=[]), "subgraphs: there is none"),
    "input index": (put(graph_of, inputs=i32(9)), "graph inputs: tensor 9 of 2"),
    "output index": (put(graph_of, outputs=i32(-1)), "graph outputs: tensor -1 of 2"),
    "operand": (put(node_of, inputs=i32(5)), "operator 0: tensor 5 of 2"),
    "no output": (put(node_of, outputs=i32()), "no output"),
    "code": (put(node_of, opcodeIndex=3), "code 3 of 1"),
    "buffer": (put(first, buffer=77), "buffer 77 of"),
    "huge shape": (put(first, shape=i32(2**31 - 1, 2**31 - 1)), "shape"),
    "negative shape": (put(first, shape=i32(1, -4)), "shape"),
    "rank": (put(first, shape=i32(*[1] * 9)), "shape"),
    "order": (put(graph_of, inputs=i32()), "read before it is written"),
    "twice": (put(node_of, outputs=i32(0)), "written twice"),
    "unwritten": (put(node_of, outputs=i32(-1, -1)), "no output"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models_are_named(name: str) -> None:
    edit, words = BROKEN[name]
    with pytest.raises(ModelError, match=words) as error:
        read_tflite(edited(write_tflite(relu()), edit), "m.tflite")
    assert str(error.value).startswith("m.tflite: damaged model, ")


def test_data_of_the_wrong_size() -> None:
    graph = relu()
    graph.nodes[0].inputs.append(Tensor("w", (3,), "int32", data=np.zeros(5, np.int32)))
    with pytest.raises(ModelError, match="20 bytes of data for 12"):
        read_tflite(write_tflite(graph))


def test_scales_and_zero_points_must_fit() -> None:
    def quantised(scale: list[float], zero: list[int]) -> bytes:
        quant = Quantisation(np.float32(scale), np.array(zero), 1)
        return write_tflite(relu(dtype="int8", quant=quant))

    for scale, zero, words in (
        ([1.0, 2.0, 3.0, 4.0], [0, 0], "4 scales, 2 zero points"),
        ([float("nan")], [0], "finite"),
        ([-1.0], [0], "finite"),
        ([1.0], [1 << 40], "beyond 32 bits"),
    ):
        with pytest.raises(ModelError, match=words):
            read_tflite(quantised(scale, zero))


def test_subgraph_within_itself_is_refused() -> None:
    def itself(model: Any) -> None:
        node = model.subgraphs[0].operators[0]
        node.builtinOptions.initSubgraphIndex = 0

    with pytest.raises(ModelError, match="subgraph"):
        read_tflite(edited(write_tflite(models.variables()), itself))


def test_overlapping_parts_do_not_multiply() -> None:
    """3000 tensors that share one name of 100 kB would need 300 MB of names."""
    b = flatbuffers.Builder(1024)
    name = b.CreateString("n" * 100_000)

    def vector(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in offsets:
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    def table(**slots: int) -> int:
        b.StartObject(8)
        for slot, offset in slots.items():
            b.PrependUOffsetTRelativeSlot(int(slot[1:]), offset, 0)
        return int(b.EndObject())

    tensors = vector([table(_3=name) for _ in range(3000)])
    subgraphs = vector([table(_0=tensors)])
    b.StartObject(8)
    b.PrependUint32Slot(0, 3, 0)
    b.PrependUOffsetTRelativeSlot(2, subgraphs, 0)
    b.Finish(b.EndObject(), b"TFL3")
    with pytest.raises(ModelError, match="over and over"):
        read_tflite(bytes(b.Output()))


@pytest.mark.parametrize("size", [0, 4, 8, 15, 16, 40])
def test_short_files(small: bytes, size: int) -> None:
    with pytest.raises(ModelError):
        read_tflite(small[:size])


def test_hardware_of_compiled_operators() -> None:
    for op in tflite_schema.HARDWARE:
        hardware, missing = tflite_schema.hardware_of(op) or ("", "")
        assert hardware
        assert missing
    assert tflite_schema.hardware_of("CONV_2D") is None


def test_stamp_names_the_chip() -> None:
    name = "models/edgetpu/simple_model_qualcomm_sm8650_precompiled.tflite"
    node = read_tflite(shared_path(name).read_bytes()).graph.nodes[0]
    with pytest.raises(UnsupportedError, match=r"Qualcomm SM8650.*dispatch library"):
        ops.lower(node, ops.Context("xnnpack"))


def test_refusals_of_what_no_kernel_runs() -> None:
    cases = {
        "edgetpu-custom-op": r"Edge TPU; it needs libedgetpu\.so",
        "ethos-u": "Arm Ethos-U NPU",
        "nobodys-op": r"nobodys-op .* custom operator that neither",
        "CUMSUM": r"CUMSUM .* no kernel of ours; name a fallback",
    }
    for op, words in cases.items():
        x = Tensor("x", (1, 4), "float32")
        with pytest.raises(UnsupportedError, match=words):
            ops.lower(Node(op, [x], [x]), ops.Context("xnnpack"))


def real_models() -> list[str]:
    """Every .tflite of the shared folder; one name that skips where it is absent."""
    try:
        folder = shared_path("models")
    except pytest.skip.Exception:
        return ["models"]
    return sorted(str(p.relative_to(folder.parent)) for p in folder.rglob("*.tflite"))


@pytest.mark.parametrize("name", real_models())
def test_real_model_agrees_with_litert(name: str) -> None:
    path = shared_path(name)
    graph = read_tflite(path.read_bytes(), name).graph
    try:
        interpreter = Interpreter(model_path=str(path))
    except (ValueError, RuntimeError):
        interpreter = None  # compiled for an NPU, or custom: reading it must work all the same
    assert graph.nodes
    if interpreter is None:
        return
    details = {d["index"]: d for d in interpreter.get_tensor_details()}
    for io in ("input", "output"):
        given = getattr(interpreter, f"get_{io}_details")()
        mine = list(getattr(graph, io + "s").values())
        for want, got in zip([details[d["index"]] for d in given], mine, strict=True):
            agree(got, want)
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        (only,) = signatures.values()
        assert sorted(only["inputs"]) == sorted(graph.inputs)
        assert sorted(only["outputs"]) == sorted(graph.outputs)
    by_name = {d["name"] or f"tensor {i}": d for i, d in details.items()}
    for tensor in graph.tensors():
        if tensor.dtype != "resource" and tensor.name:
            agree(tensor, by_name[tensor.name])


def agree(got: Tensor, want: dict[str, Any]) -> None:
    assert got.name == (want["name"] or f"tensor {want['index']}")
    assert got.shape == tuple(want["shape"])
    assert got.dtype == np.dtype(want["dtype"]).name
    scales = want["quantization_parameters"]["scales"]
    assert scales.size == (0 if got.quant is None else got.quant.scale.size)
    if got.quant is not None:
        np.testing.assert_array_equal(got.quant.scale, scales)
        np.testing.assert_array_equal(
            got.quant.zero, want["quantization_parameters"]["zero_points"]
        )
        if got.quant.per_channel:
            assert got.quant.axis == want["quantization_parameters"]["quantized_dimension"]
