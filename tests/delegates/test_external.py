"""Our kernels inside TFLite: results, parts, states, and every refusal."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

import edgeinfer
from edgeinfer import _build
from edgeinfer.cli import main
from edgeinfer.engine.graph import Graph
from edgeinfer.engine.tflite_writer import write_tflite
from tests import models, sanitized
from tests.delegates.test_tflite import with_cumsum


def saved(folder: Path, graph: Graph, name: str = "m.tflite") -> str:
    path = folder / name
    path.write_bytes(write_tflite(graph))
    return str(path)


def opened(model: str, options: dict[str, str], **more: Any) -> Any:
    delegate = load_delegate(edgeinfer.delegate_library(), options)
    made = Interpreter(model, experimental_delegates=[delegate], **more)
    made.allocate_tensors()
    return made


def counts(interpreter: Any) -> tuple[int, int]:
    """Invocations of our kernel and bytes copied, as the library itself counts them."""
    library = ctypes.CDLL(edgeinfer.delegate_library())
    runs, copied = ctypes.c_uint64(), ctypes.c_uint64()
    pointer = interpreter._delegates[0]._get_native_delegate_pointer()
    library.edgeinfer_delegate_counts(
        ctypes.c_void_p(pointer), ctypes.byref(runs), ctypes.byref(copied)
    )
    return runs.value, copied.value


def outputs(interpreter: Any, feeds: dict[str, np.ndarray], runs: int = 1) -> list[np.ndarray]:
    runner = interpreter.get_signature_runner()
    for _ in range(runs):
        found = runner(**feeds)
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_whole_graphs_give_the_runtimes_own_results(
    dtype: str, threads: int, tmp_path: Path
) -> None:
    graph = models.network(dtype)
    model, feeds = saved(tmp_path, graph), models.random_inputs(graph)
    _, options = edgeinfer.tflite_delegate(model, threads=threads)
    with_ours = opened(model, options)
    (ours,), (theirs,) = outputs(with_ours, feeds), outputs(Interpreter(model), feeds)
    sizes = [t.bytes for t in (*graph.inputs.values(), *graph.outputs.values())]
    assert counts(with_ours) == (1, sum(sizes))
    if dtype == "float32":
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    else:
        assert np.array_equal(ours, theirs)


def test_the_rounding_asked_for(tmp_path: Path) -> None:
    graph = models.network("int8", seed=3)
    model, feeds = saved(tmp_path, graph), models.random_inputs(graph)
    _, options = edgeinfer.tflite_delegate(model, rounding="tflite")
    kind = OpResolverType.BUILTIN_REF
    reference = Interpreter(model, experimental_op_resolver_type=kind)
    assert np.array_equal(outputs(opened(model, options), feeds), outputs(reference, feeds))
    with pytest.raises(ValueError, match="xnnpack was asked for, the plan has 'tflite'"):
        opened(model, options | {"rounding": "xnnpack"})


@pytest.mark.parametrize("nodes", ["auto", "0-1"])
def test_parts_leave_the_rest_to_the_runtime(nodes: str, tmp_path: Path) -> None:
    graph = with_cumsum()
    model, feeds = saved(tmp_path, graph), models.random_inputs(graph)
    plan = str(tmp_path / "part.plan")
    assert main(["compile", model, "-o", plan, "--nodes", nodes]) == 0
    made = opened(model, {"plan": plan})
    for ours, theirs in zip(outputs(made, feeds), outputs(Interpreter(model), feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert counts(made)[0] == 1


def test_states_last_from_run_to_run_and_are_each_interpreters_own(tmp_path: Path) -> None:
    graph = models.variables()
    model, feeds = saved(tmp_path, graph), models.random_inputs(graph)
    _, options = edgeinfer.tflite_delegate(model)
    delegate = load_delegate(edgeinfer.delegate_library(), options)
    twins = [Interpreter(model, experimental_delegates=[delegate]) for _ in range(2)]
    for runs, twin in zip((3, 1), twins, strict=True):
        twin.allocate_tensors()
        theirs = outputs(Interpreter(model), feeds, runs)
        np.testing.assert_allclose(outputs(twin, feeds, runs), theirs, atol=1e-6)


@pytest.fixture
def planned(tmp_path: Path) -> tuple[str, Path]:
    model, plan = saved(tmp_path, models.network("int8")), tmp_path / "m.plan"
    assert main(["compile", model, "-o", str(plan)]) == 0
    return model, plan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no plan: give the option plan=FILE"),
        ({"plan": "/nowhere.plan"}, "/nowhere.plan: cannot be read"),
        ({"speed": "1"}, "option 'speed' is unknown"),
        ({"threads": "many"}, "threads=many: give a number"),
        ({"isa": "z80"}, "isa=z80 was asked for"),
    ],
)
def test_options_are_refused_by_name(
    options: dict[str, str], words: str, planned: tuple[str, Path]
) -> None:
    model, plan = planned
    given = options if not options or "plan" in options else {"plan": str(plan)} | options
    with pytest.raises(ValueError, match=words):
        opened(model, given)


def test_damaged_plans_and_plans_without_a_model_are_refused(
    planned: tuple[str, Path], tmp_path: Path
) -> None:
    model, plan = planned
    raw = bytearray(plan.read_bytes())
    raw[len(raw) // 2] ^= 1
    plan.write_bytes(raw)
    with pytest.raises(ValueError, match="damaged"):
        opened(model, {"plan": str(plan)})
    edgeinfer.build(models.network("int8")).save(plan)
    with pytest.raises(ValueError, match="does not say which"):
        opened(model, {"plan": str(plan)})


@pytest.mark.parametrize("change", ["weights", "activation", "other"])
def test_a_plan_of_another_model_is_refused_with_both_named(
    change: str, planned: tuple[str, Path], tmp_path: Path
) -> None:
    graph = models.network("int8", seed=7 if change == "other" else 0)
    if change == "weights":
        data = graph.nodes[0].input(1).data.copy()  # type: ignore[union-attr]
        data.reshape(-1)[5] ^= 1
        graph.nodes[0].input(1).data = data
    if change == "activation":
        graph.nodes[0].attrs["fused_activation_function"] = "RELU"
    model = saved(tmp_path, graph, "other.tflite")
    what = "weights" if change == "weights" else "operators or tensors"
    with pytest.raises(RuntimeError, match=rf"made from 'm.tflite' \(.*this model is .*{what}"):
        opened(model, {"plan": str(planned[1])})


def test_the_library_needs_nothing_of_tensorflow() -> None:
    command = ["nm", "-D", edgeinfer.delegate_library()]
    symbols = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "TfLite" not in symbols
    assert "tflite_plugin_create_delegate" in symbols
    assert " ei_" not in symbols


def test_another_runtime(planned: tuple[str, Path]) -> None:
    """tflite-runtime 2.14 with numpy 1: EDGEINFER_TFLITE_PYTHON names its interpreter."""
    python = os.environ.get("EDGEINFER_TFLITE_PYTHON")
    if not python:
        pytest.skip("EDGEINFER_TFLITE_PYTHON names no Python with tflite-runtime")
    model, plan = planned
    program = (
        "import sys, numpy as np\n"
        "from tflite_runtime.interpreter import Interpreter, load_delegate\n"
        "model, library, plan = sys.argv[1:]\n"
        "d = load_delegate(library, {'plan': plan})\n"
        "i = Interpreter(model, experimental_delegates=[d])\n"
        "x = np.arange(768, dtype=np.uint8).view(np.int8).reshape(1, 16, 16, 3)\n"
        "print(i.get_signature_runner()(x=x).popitem()[1].tolist())\n"
    )
    command = [python, "-c", program, model, edgeinfer.delegate_library(), str(plan)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    x = np.arange(768, dtype=np.uint8).view(np.int8).reshape(1, 16, 16, 3)
    (theirs,) = outputs(Interpreter(model), {"x": x})
    assert said.strip() == str(theirs.tolist())


BOOLEANS = {
    "BATCH_MATMUL": ("adj_x", "adj_y"),
    "MEAN": ("keep_dims",),
    "RESIZE_NEAREST_NEIGHBOR": ("align_corners", "half_pixel_centers"),
    "RESIZE_BILINEAR": ("align_corners", "half_pixel_centers"),
}


def switched(op: str, **changed: bool) -> Graph:
    """One operator whose options are booleans, all false but `changed`."""
    make = models.Maker("float32")
    attrs = dict.fromkeys(BOOLEANS[op], False) | changed
    if op == "BATCH_MATMUL":
        x, other = make.input("x", (1, 6, 6)), make.input("other", (1, 6, 6))
        attrs["asymmetric_quantize_inputs"] = False
        out = make._node(op, [x, other], make._like(x, (1, 6, 6)), attrs)
    elif op == "MEAN":
        x = make.input("x", (1, 6, 6, 4))
        shape = (1, 1, 1, 4) if attrs["keep_dims"] else (1, 4)
        out = make._node(op, [x, make.ints((1, 2))], make._like(x, shape), attrs)
    else:
        x = make.input("x", (1, 6, 6, 4))
        out = make._node(op, [x, make.ints((9, 9))], make._like(x, (1, 9, 9, 4)), attrs)
    return make.graph(out)


@pytest.mark.parametrize(("op", "name"), [(op, n) for op, names in BOOLEANS.items() for n in names])
def test_booleans_are_told_apart(op: str, name: str, tmp_path: Path) -> None:
    plain, other = switched(op), switched(op, **{name: True})
    plan = str(tmp_path / "m.plan")
    assert main(["compile", saved(tmp_path, plain), "-o", plan]) == 0
    feeds = models.random_inputs(plain)
    made = opened(str(tmp_path / "m.tflite"), {"plan": plan})
    theirs = outputs(Interpreter(str(tmp_path / "m.tflite")), feeds)
    for ours, want in zip(outputs(made, feeds), theirs, strict=True):
        np.testing.assert_allclose(ours, want, atol=1e-5)
    with pytest.raises(RuntimeError, match="operators or tensors differ"):
        opened(saved(tmp_path, other, "other.tflite"), {"plan": plan})


def test_an_input_of_another_shape_is_refused(planned: tuple[str, Path]) -> None:
    model, plan = planned
    delegate = load_delegate(edgeinfer.delegate_library(), {"plan": str(plan)})
    made = Interpreter(model, experimental_delegates=[delegate])
    made.resize_tensor_input(made.get_input_details()[0]["index"], [1, 20, 16, 3])
    with pytest.raises(RuntimeError, match="input 'x' was planned as 1x16x16x3"):
        made.allocate_tensors()


def test_another_version_of_the_record_is_refused(planned: tuple[str, Path]) -> None:
    model, plan = planned
    raw = bytearray(plan.read_bytes())
    at = raw.index(_record_head(raw))
    struct.pack_into("<I", raw, at, 77)
    raw[12:16] = bytes(4)
    struct.pack_into("<I", raw, 12, zlib.crc32(raw))
    plan.write_bytes(raw)
    with pytest.raises(ValueError, match="has version 77, this library reads 1"):
        opened(model, {"plan": str(plan)})


def _record_head(raw: bytes) -> bytes:
    """Where the record begins: its version, then checksums unlike any other bytes, then counts."""
    name = raw.index(b"m.tflite\0")
    for start in range(name - 40, 0, -4):
        version, _, _, tensors, operators, nodes = struct.unpack_from("<6I", raw, start)
        if version == 1 and 0 < nodes == operators < tensors < 1000:
            return bytes(raw[start : start + 40])
    raise AssertionError("no record")


def test_many_interpreters_on_many_threads(planned: tuple[str, Path]) -> None:
    model, plan = planned
    graph = models.network("int8")
    feeds = models.random_inputs(graph)
    (want,) = outputs(Interpreter(model), feeds)
    delegate = load_delegate(edgeinfer.delegate_library(), {"plan": str(plan), "threads": "2"})

    def run(_: int) -> bool:
        made = Interpreter(model, experimental_delegates=[delegate])
        made.allocate_tensors()
        return all(np.array_equal(outputs(made, feeds)[0], want) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(8)))


def test_damaged_records_and_nonsense_under_sanitizers(
    planned: tuple[str, Path], tmp_path: Path
) -> None:
    """Every word of the record changed in turn, its checksum right: nothing crashes."""
    more = tuple(source for source, _ in _build.plugin_sources())
    host = sanitized.program("delegates/host.c", sanitized.ASAN, more)
    raw = bytearray(planned[1].read_bytes())
    at = raw.index(_record_head(raw))
    end = raw.index(b"m.tflite\0") + len(b"m.tflite\0")
    paths, random = [planned[1]], Random(1)
    for word in range(at, end - 3, 4):
        for value in (0, 1, 0xFFFFFFFF, random.getrandbits(32), random.getrandbits(8)):
            changed = bytearray(raw)
            struct.pack_into("<I", changed, word, value)
            changed[12:16] = bytes(4)
            struct.pack_into("<I", changed, 12, zlib.crc32(changed))
            paths.append(tmp_path / f"{word}-{value}.plan")
            paths[-1].write_bytes(changed)
    command = [host, *map(str, paths)]
    said = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert "option 2 has no key or no value" in lines[1]
    for words in ("no plan", "cannot be read", "give a number from 1 to", "record of its model is",
                  "has another: at tensor 0 lie type", "does not tell its execution plan",
                  "this model is"):  # fmt: skip
        assert any(words in line for line in lines), words
