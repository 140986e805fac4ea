"""The command line as a user meets it: real commands, real files, one line where it fails."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeinfer import _native
from edgeinfer import board as boards
from edgeinfer.cli import main, text_table
from edgeinfer.pipeline.perception import ROAD_MODEL
from tests.conftest import shared_path

cv2 = pytest.importorskip("cv2")
ROAD = str(ROAD_MODEL)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "/nowhere.tflite", "x.png"], "/nowhere.tflite"),
        (["inspect", "/nowhere.tflite"], "check the path"),
        (["run", ROAD, "/nowhere.png"], "/nowhere.png: no such file"),
        (["drive", "--source", "dvd:1"], "no such kind of source"),
        (["drive", "--source", "file:/nowhere.mp4", "--model", ROAD], "no such file"),
        (["drive", "--source", "virtual:"], "--model DETECTOR.tflite"),
        (["drive", "--board", "nonesuch"], "no board 'nonesuch'"),
        (["drive", "--source", "virtual:", "--model", ROAD, "--no-video"], "--decoder"),
    ],
)
def test_errors_are_one_line_and_status_2(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if argv[0] == "drive":
        argv = [*argv, "--out", str(tmp_path)]
    assert main(argv) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert said.startswith("edgeinfer: ")
    assert "\n" not in said


def test_a_broken_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(ROAD_MODEL.read_bytes())
    (tmp_path / "cut.tflite").write_bytes(data[: len(data) // 2])
    assert main(["inspect", str(tmp_path / "cut.tflite")]) == 2
    said = capsys.readouterr().err.strip()
    assert "cut.tflite" in said
    assert "\n" not in said


def test_inspect(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", ROAD]) == 0
    said = capsys.readouterr().out
    assert "96" in said
    assert "conv" in said.lower()
    assert "arena" in said.lower()


def test_compile_then_run_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "road.plan"
    assert main(["compile", ROAD, "-o", str(plan)]) == 0
    image = tmp_path / "x.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8))
    capsys.readouterr()
    said = []
    for model in (ROAD, str(plan)):
        assert main(["run", model, str(image)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "index" in said[0]


def test_run_on_npy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import edgeinfer as ei

    ((_, tensor),) = ei.load(ROAD).inputs.items()
    np.save(tmp_path / "x.npy", np.zeros(tensor.shape, tensor.dtype))
    assert main(["run", ROAD, str(tmp_path / "x.npy")]) == 0
    np.save(tmp_path / "y.npy", np.zeros((1, 2, 3), np.float32))
    assert main(["run", ROAD, str(tmp_path / "y.npy")]) == 2
    assert "takes" in capsys.readouterr().err


def test_bench_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", ROAD, "--runs", "5"]) == 0
    assert "edgeinfer" in capsys.readouterr().out


def check_report(folder: Path) -> str:
    """The report needs nothing from outside; the trace is one; returns the page."""
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") >= 3
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:""", page)
    assert "nan" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page).lower().split("<svg", 1)[1]
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    assert {e["args"]["name"] for e in events if e["name"] == "thread_name"} >= {
        "perception",
        "planning",
        "control",
    }
    return page


def test_drive_the_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    log = tmp_path / "commands.log"
    argv = ["drive", "--source", "sim:carracing?steps=40", "--seed", "3", "--sink"]
    assert main([*argv, f"candump:{log}", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert re.search(r"perception +50 ", said.out)
    assert "off road s" in said.out
    assert "frame 40" in said.err
    assert "data:video/mp4;base64," in check_report(tmp_path)
    video = cv2.VideoCapture(str(tmp_path / "drive.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 20
    assert len(log.read_text().splitlines()) >= 35


def test_drive_in_processes_and_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    record = tmp_path / "run.mcap"
    argv = ["drive", "--source", "sim:carracing?steps=30", "--processes", "--out", str(tmp_path)]
    assert main([*argv, "--record", str(record)]) == 0
    said = capsys.readouterr()
    assert "differs" not in said.err
    check_report(tmp_path)
    row = said.out.split("off road s")[1].splitlines()[1].split()
    assert row[4] == "0.6"  # 30 frames at 50 Hz
    assert main(["replay", str(record), "--video", str(tmp_path / "again.mp4")]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[-1] == "yes"
    assert row[2] == row[3] != "0"
    for isa in _native.isas():  # the network's integers are the same everywhere
        for threads in ("1", "2"):
            assert main(["replay", str(record), "--isa", isa, "--threads", threads]) == 0
            assert capsys.readouterr().out.splitlines()[1].split()[-1] == "yes", (isa, threads)
    video = cv2.VideoCapture(str(tmp_path / "again.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) > 5


def test_replay_tells_what_differs_and_what_is_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gymnasium")
    record = tmp_path / "run.mcap"
    argv = ["drive", "--source", "sim:carracing?steps=60", "--no-video", "--out", str(tmp_path)]
    assert main([*argv, "--no-deadlines", "--record", str(record)]) == 0
    # A model that sees another road: the same network, read in other units.
    built = ROAD_MODEL.parent
    shutil.copy(built / "road.tflite", tmp_path / "other.tflite")
    units = json.loads((built / "road.json").read_text())
    units["mean"] = [m + 0.1 for m in units["mean"]]
    (tmp_path / "other.json").write_text(json.dumps(units))
    capsys.readouterr()
    assert main(["replay", str(record), "--model", str(tmp_path / "other.tflite")]) == 1
    assert "no, from command" in capsys.readouterr().out
    (tmp_path / "text.mcap").write_text("not a record")
    assert main(["replay", str(tmp_path / "text.mcap")]) == 2
    assert "not a record" in capsys.readouterr().err


def test_drive_in_processes_takes_no_other_sink(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["drive", "--processes", "--sink", "can:virtual0", "--out", str(tmp_path)]
    assert main(argv) == 2
    assert "leave out one" in capsys.readouterr().err


def test_drive_a_recorded_road(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    can = pytest.importorskip("can")
    from edgeinfer.io.can import decode

    model = shared_path("models/detect/FastestDet_full_integer_quant.derived.tflite")
    video = shared_path("models/road/vd_test_video.mp4")
    log = tmp_path / "out.log"
    argv = ["drive", "--source", f"file:{video}?frames=8", "--model", str(model), "--no-video"]
    assert main([*argv, "--sink", f"candump:{log}", "--out", str(tmp_path)]) == 0
    row = capsys.readouterr().out.split("vehicle in")[1].splitlines()[1].split()
    assert row[1:4] == ["8", "8", "8"]
    check_report(tmp_path)
    with can.LogReader(str(log)) as reader:
        commands = [decode(m.arbitration_id, bytes(m.data))[0] for m in reader]
    assert len(commands) == 8
    assert max(abs(c.steer) for c in commands) < 0.2


def test_table() -> None:
    rows: list[dict[str, object]] = [{"a": "x", "b": 1.23456}, {"a": "yyy", "b": 10}]
    assert text_table(rows) == "a       b\nx    1.23\nyyy    10"


def test_run_reproduces_the_right_answers(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        ("classify/mobilenet_v1_0.25_224_quant.tflite", "images/burger.jpg", "cheeseburger"),
        ("classify/mobilenet_v1_0.25_224_1_metadata_1.tflite", "images/cat.png", "Egyptian cat"),
        ("kws/micro_speech_quantized.tflite", "kws/yes_1000ms.wav", "2"),
        ("kws/micro_speech_quantized.tflite", "kws/no_1000ms.wav", "3"),
        ("kws/micro_speech_quantized.tflite", "kws/noise_1000ms.wav", "0"),
        ("kws/micro_speech_quantized.tflite", "kws/silence_1000ms.wav", "0"),
    ]
    for model, data, name in cases:
        paths = [str(shared_path(f"models/{p}")) for p in (model, data)]
        assert main(["run", *paths, "--top", "1"]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(f"{name} ")


def test_run_reads_digits_into_a_grey_input(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(shared_path("models/mnist/keras_lstm_mnist_ptq.tflite"))
    for digit in range(10):
        path = str(shared_path(f"models/mnist/sample{digit}.png"))
        assert main(["run", model, path, "--top", "1"]) == 0
        assert capsys.readouterr().out.splitlines()[-1].split()[1] == str(digit)


def test_a_mask_becomes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(shared_path("models/segment/deeplabv3_mnv2_dm05_pascal_quant.tflite"))
    image = str(shared_path("models/images/bird_segmentation.png"))
    labels = str(shared_path("models/segment/pascal_voc_segmentation_labels.txt"))
    assert main(["run", model, image, "--labels", labels, "--out", str(tmp_path)]) == 0
    assert re.search(r"bird +1[5-9]\.", capsys.readouterr().out)
    assert cv2.imread(str(tmp_path / "bird_segmentation_mask.png")).shape == (513, 513, 3)


def test_check_admits_or_says_what_would_help(tmp_path, capsys):
    out = tmp_path / "analysis.json"
    assert main(["check", "drive", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "source > perception > planning > control > guard" in said
    assert "admitted: all budgets may grow by a factor of" in said
    found = json.loads(out.read_text())
    assert found["admitted"]
    assert found["slack_ms"]["planning"] > 0
    text = boards._find("host").read_text()
    (tmp_path / "board.toml").write_text(text.replace("budget_ms = 7\n", "budget_ms = 25\n"))
    assert main(["check", "drive", "--board", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "planning: budget 25 ms > period 20 ms" in said
    assert "any one of these would make it pass:\n  planning: budget" in said
