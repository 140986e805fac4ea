"""Instructions a multiply-accumulate in the inner loops of the 8-bit matrix products of AArch64.

    python tools/count_instructions.py

Compiles csrc/kernels/{neon,dotprod,i8mm}/gemm_q8.c as the build does and disassembles the widest
tile: the innermost loop that multiplies, every instruction of it counted, loads and loop control
too. Needs gcc-aarch64-linux-gnu and binutils-aarch64-linux-gnu (on AArch64 gcc and binutils).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgeinfer import _build

#: (ISA, function): the widest tiles.
TILES = (("neon", "tile4"), ("neon", "full4"), ("dotprod", "tile8"), ("i8mm", "tile8"))

#: Products of an instruction on 8-bit lanes.
PRODUCTS = {"smmla": 32, "sdot": 16, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}

_LINE = re.compile(r"\s+([0-9a-f]+):\s+(\S+)\s*(.*)")


@dataclass(frozen=True)
class Loop:
    """The inner loop of a tile: instructions, products and accesses to the stack in one turn."""

    instructions: int
    macs: int
    stack: int

    @property
    def per_mac(self) -> float:
        """Instructions a multiply-accumulate."""
        return self.instructions / self.macs


def prefix() -> str:
    """What the names of the compiler and objdump begin with here."""
    return "" if _build.machine() == "aarch64" else "aarch64-linux-gnu-"


def disassemble(isa: str, function: str, folder: Path) -> list[tuple[int, str, str]]:
    """(address, instruction, operands) of a function of an ISA's gemm_q8.c."""
    source = f"csrc/kernels/{isa}/gemm_q8.c"
    flags = dict(_build.sources("aarch64"))[source]
    target = folder / f"{isa}.o"
    command = [prefix() + "gcc", *flags, "-Icsrc", "-c", source, "-o", str(target)]
    subprocess.run(command, cwd=_build.ROOT, check=True)
    show = ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={function}", str(target)]
    text = subprocess.run(
        [prefix() + show[0], *show[1:]], check=True, capture_output=True, text=True
    ).stdout
    found = (_LINE.match(line) for line in text.splitlines())
    return [(int(m[1], 16), m[2], m[3]) for m in found if m]


def inner_loop(code: list[tuple[int, str, str]]) -> Loop:
    """The first backward branch around multiplications; ValueError where there is none."""
    index = {address: i for i, (address, _, _) in enumerate(code)}
    for i, (_, name, operands) in enumerate(code):
        if not name.startswith(("b.", "cb")):
            continue
        start = index.get(int(operands.split("<")[0].split(",")[-1], 16), i)
        body = code[start : i + 1]
        macs = sum(PRODUCTS.get(op, 0) for _, op, _ in body)
        if start < i and macs:
            return Loop(len(body), macs, sum("[sp" in args for _, _, args in body))
    raise ValueError(f"no loop that multiplies among the {len(code)} instructions")


def count() -> dict[tuple[str, str], Loop]:
    """The inner loop of every tile of TILES."""
    with tempfile.TemporaryDirectory() as folder:
        return {(i, f): inner_loop(disassemble(i, f, Path(folder))) for i, f in TILES}


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f"{'kernel':16}{'instructions':>14}{'MACs':>7}{'per MAC':>9}{'stack':>7}")
    for (isa, function), loop in count().items():
        row = f"{loop.instructions:14}{loop.macs:7}{loop.per_mac:9.3f}{loop.stack:7}"
        print(f"{isa + '/' + function:16}{row}")


if __name__ == "__main__":
    main()
