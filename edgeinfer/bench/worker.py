"""One engine in a process of its own: opens a model and times calls when it is told to.

Runs as a program, with the interpreter of the environment the engine lies in: needs NumPy and the
engine, nothing of this package (but for "edgeinfer" itself). One JSON object a line each way; see
`main`. A call is the same for all: copy the inputs in, run, copy the outputs out, from NumPy
arrays. Every engine is asked for float32 arithmetic on float models and for its CPU alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]
#: What opening gives: the engine's name with its version, what it reads, and the call.
Opened = tuple[str, Path, Call]


def twin(path: Path, suffix: str) -> Path:
    """The model's twin in another format, a file beside it."""
    found = path.with_suffix(suffix)
    why = found.with_name(found.name + ".why")
    if why.is_file():
        raise FileNotFoundError(why.read_text())
    if not found.is_file():
        raise FileNotFoundError(f"no {found.name} beside the model (tools/bench_suite makes it)")
    return found


def values(shape: Any, dtype: Any, index: int = 0) -> np.ndarray:
    """The values of an input: the same for every engine that has the same input."""
    rng = np.random.default_rng(index)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    low, high = (0, 8) if dtype.itemsize > 1 else (np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
    return rng.integers(low, high, shape).astype(dtype)


def edgeinfer(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """This engine."""
    import edgeinfer as ei

    model = ei.load(path)
    session = ei.Session(model, options.get("board", "host"), threads, **options["session"])
    feeds = [(session[n], values(t.shape, t.dtype, i)) for i, (n, t) in _numbered(session.inputs)]
    outputs = [session[n] for n in session.outputs]

    def call() -> list[np.ndarray]:
        for view, value in feeds:
            view[...] = value
        session.run()
        return [view.copy() for view in outputs]

    return f"edgeinfer {ei.__version__} ({session.plan.isa})", path, call


def _numbered(tensors: dict[str, Any]) -> Any:
    return enumerate(tensors.items())


def _interpreter(module: Any, path: Path, threads: int) -> Call:
    interpreter = module.Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    details = enumerate(interpreter.get_input_details())
    feeds = [(d["index"], values(d["shape"], d["dtype"], i)) for i, d in details]
    outputs = [d["index"] for d in interpreter.get_output_details()]

    def call() -> list[np.ndarray]:
        for index, value in feeds:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return call


def litert(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """LiteRT's interpreter, with XNNPACK, which is its default."""
    from ai_edge_litert import interpreter

    return "litert " + _version("ai-edge-litert"), path, _interpreter(interpreter, path, threads)


def tflite(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """The older TFLite runtime."""
    from tflite_runtime import interpreter

    return "tflite " + _version("tflite-runtime"), path, _interpreter(interpreter, path, threads)


def onnxruntime(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """ONNX Runtime on the CPU; the model's .onnx twin."""
    import onnxruntime as ort

    path = twin(path, ".onnx")
    wanted = ort.SessionOptions()
    wanted.intra_op_num_threads = threads
    wanted.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), wanted, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "f4", "tensor(int8)": "i1", "tensor(uint8)": "u1",
             "tensor(int32)": "i4", "tensor(int64)": "i8"}  # fmt: skip
    feeds = {
        i.name: values([d if isinstance(d, int) else 1 for d in i.shape], types[i.type], k)
        for k, i in enumerate(session.get_inputs())
    }
    return f"onnxruntime {ort.__version__}", path, lambda: session.run(None, feeds)


def openvino(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """OpenVINO's CPU plug-in: the .onnx twin where there is one, else the .tflite itself."""
    import openvino as ov

    found = path.with_suffix(".onnx")
    path = found if found.is_file() else path
    settings = {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where the CPU has it
    }  # fmt: skip
    compiled = ov.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    ports = enumerate(compiled.inputs)
    feeds = {i: values(p.get_shape(), p.get_element_type().to_dtype(), i) for i, p in ports}

    def call() -> list[np.ndarray]:
        found = request.infer(feeds)
        return [np.asarray(value) for value in found.values()]

    return f"openvino {ov.__version__.split('-')[0]}", path, call


def ncnn(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """ncnn; the .ncnn.param and .ncnn.bin twins, with the inputs in0, in1 ... of shapes in the
    .ncnn.json beside them (ncnn's own files have none)."""
    import ncnn

    param = twin(path, ".ncnn.param")
    shapes = json.loads(twin(path, ".ncnn.json").read_text())["inputs"]
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, "use_" + option, False)
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        raise ValueError(f"{param.name}: ncnn cannot load it")
    feeds = [(f"in{i}", values(shape, "f4", i)) for i, shape in enumerate(shapes)]
    names = list(net.output_names())

    def call() -> list[np.ndarray]:
        extractor = net.create_extractor()
        for name, value in feeds:
            extractor.input(name, ncnn.Mat(value))
        found = []
        for name in names:
            status, mat = extractor.extract(name)
            if status:
                raise RuntimeError(f"extracting {name} gave status {status}")
            found.append(np.array(mat))
        return found

    return "ncnn " + _version("ncnn"), param, call


def mnn(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """MNN; the .mnn twin, which its own converter makes of the .onnx or .tflite."""
    import MNN

    path = twin(path, ".mnn")
    net = MNN.Interpreter(str(path))
    session = net.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})
    inputs = net.getSessionInputAll(session)
    outputs = net.getSessionOutputAll(session)
    kind = MNN.Halide_Type_Float
    feeds = []
    for i, tensor in enumerate(inputs.values()):
        data = values(tensor.getShape(), "f4", i)
        form = tensor.getDimensionType()
        feeds.append((tensor, MNN.Tensor(tensor.getShape(), kind, data, form)))

    def call() -> list[np.ndarray]:
        for tensor, value in feeds:
            tensor.copyFrom(value)
        net.runSession(session)
        found = []
        for tensor in outputs.values():
            shape, form = tensor.getShape(), tensor.getDimensionType()
            host = MNN.Tensor(shape, kind, np.empty(shape, np.float32), form)
            tensor.copyToHostTensor(host)
            found.append(host.getNumpyData().copy())
        return found

    return f"mnn {_version('MNN')}", path, call


def executorch(path: Path, threads: int, options: dict[str, Any]) -> Opened:
    """ExecuTorch with XNNPACK; the .pte twin."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    path = twin(path, ".pte")
    torch.set_num_threads(threads)
    if hasattr(portable_lib, "_unsafe_reset_threadpool"):
        portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(path).load_method("forward")
    types = {6: "f4", 1: "i1", 0: "u1", 3: "i4", 4: "i8"}  # of the schema's ScalarType
    metas = [method.metadata.input_tensor_meta(i) for i in range(method.metadata.num_inputs())]
    feeds = [torch.from_numpy(values(m.sizes(), types[m.dtype()], i)) for i, m in enumerate(metas)]
    form = torch.channels_last  # images, as the twin was exported
    feeds = [
        f.contiguous(memory_format=form) if f.ndim == 4 and f.shape[1] > 1 else f for f in feeds
    ]

    def call() -> list[np.ndarray]:
        found = method.execute(feeds)
        return [value.numpy().copy() for value in found]

    return "executorch " + _version("executorch"), path, call


ENGINES: dict[str, Callable[[Path, int, dict[str, Any]], Opened]] = {
    f.__name__: f for f in (edgeinfer, litert, tflite, onnxruntime, openvino, ncnn, mnn, executorch)
}


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"


def schedule(realtime: bool) -> None:
    """Put every thread of this process into the round-robin real-time class, or back."""
    kind, level = (os.SCHED_RR, 1) if realtime else (os.SCHED_OTHER, 0)
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), kind, os.sched_param(level))


def timed(call: Call, count: int, skip: int) -> list[int]:
    """Nanoseconds of `count` calls, after `skip` that are not timed."""
    for _ in range(skip):
        call()
    clock, times = time.perf_counter_ns, []
    for _ in range(count):
        start = clock()
        call()
        times.append(clock() - start)
    return times


def serve(channel: Any) -> None:
    """Answer every line of standard input with one line: {"open": ...}, then {"run": ...}."""
    call: Call = lambda: None  # noqa: E731
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        try:
            if asked["realtime"]:
                schedule(True)
            if "open" in asked:
                engine = ENGINES[asked["open"]]
                name, path, call = engine(Path(asked["path"]), asked["threads"], asked["options"])
                answer = {"name": name, "file": path.name, "outputs": _describe(call())}
            else:
                answer = {"ns": timed(call, asked["run"], asked["skip"])}
            if asked["realtime"]:
                schedule(False)
            answer["cpu_ns"] = time.process_time_ns()
        except Exception as exc:
            answer = {"error": str(exc) or type(exc).__name__, "kind": type(exc).__name__}
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


def _describe(outputs: Any) -> list[str]:
    return [f"{v.dtype}{list(v.shape)}" for v in map(np.asarray, outputs)]


def main() -> None:
    """Serve on the standard streams. What an engine prints goes to standard error."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(channel)


if __name__ == "__main__":
    main()
