"""Admission: every number that must hold before a pipeline starts, and those that do not.

Each stage is a process of its own, on one core of the board. On each core, response-time analysis
under fixed priorities (SCHED_FIFO), with the kernel as a task before all others, and without those
stages that are never released while others of their period are at work; on a board of class
"deadline", the density test over all cores. A stage that uses an accelerator waits for each
other user of it once (first come, first served) and is taken to occupy its core meanwhile. Then the
age of what each stage reads, and the age and reaction at the actuator, along every chain. What is
assumed: budgets are kept, and what else runs on the machine is in a lower class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

from ...board import StageBudget
from ...errors import AdmissionError
from ..stage import Stage
from . import chains, edf, fixed
from .chains import Chain
from .platform import Platform
from .tasks import Task
from .wiring import GUARD, SOURCE, offsets, order, paths

_MS = 1e6


@dataclass(frozen=True)
class Row:
    """A stage in the analysis: milliseconds, share of its core 0..1.

    `response_ms`: longest from release to result, None: without bound; `blocking_ms`: of it, held
    up by less urgent ones; `wait_ms`: for its accelerator; `age_ms`: the oldest input it may find.
    """

    name: str
    core: int
    priority: int
    period_ms: float
    deadline_ms: float
    budget_ms: float
    utilisation: float
    blocking_ms: float
    wait_ms: float
    response_ms: float | None
    age_ms: float | None
    max_age_ms: float


@dataclass(frozen=True)
class Admission:
    """The result: rows in order of execution, utilisation by core and by accelerator, chains, what
    fails (empty: nothing), and what was left out.
    """

    rows: tuple[Row, ...]
    cores: tuple[float, ...]
    accelerators: Mapping[str, float]
    chains: tuple[Chain, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    responses_ns: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def admitted(self) -> bool:
        """Whether nothing fails."""
        return not self.problems

    def check(self) -> None:
        """AdmissionError with every number that fails."""
        if self.problems:
            raise AdmissionError(
                "this pipeline cannot keep its budgets: "
                + "; ".join(self.problems)
                + ' (`edgeinfer check` says what would help; admit="anyway" starts it all the same)'
            )

    def core(self, name: str) -> int | None:
        """The core on which the analysis saw a stage, the source or the guard."""
        return next((r.core for r in self.rows if r.name == name), None)


@dataclass(frozen=True)
class Question:
    """What is asked: stages fed at `source_hz`, on a platform; `entries`: what the board says of
    each stage beyond its timing; `commands`: the stage that gives the Command; `limits`: chains
    with what they must not exceed.
    """

    stages: Sequence[Stage]
    source_hz: float
    platform: Platform = field(default_factory=Platform)
    entries: Mapping[str, StageBudget] = field(default_factory=dict)
    commands: str = ""
    limits: Sequence[Chain] = ()

    def answer(self) -> Admission:
        """The analysis. ValueError where the wiring or a pinned core is wrong."""
        stages = order(self.stages)
        ours, waits = self._tasks(stages)
        placed = self._place(ours)
        rows, problems = [], [p for s in stages for p in _wrong(s)]
        responses = self._bounds(stages, ours, placed, waits)
        links, endings = self._links(stages, ours, responses), []
        reads: dict[str, int | None] = {}
        for way in paths(stages, self.commands or stages[-1].name) if stages else []:
            chain, read = self._chain((*way, GUARD), links)
            endings.append(chain)
            for name, age in read.items():
                reads[name] = _worse(reads.get(name, 0), age)
            problems += _late(chain)
        for task in ours:
            rows.append(self._row(task, placed, ours, waits, responses, reads))
            problems += _exceeded(rows[-1])
        cores = self._cores(ours, placed)
        limit = self.platform.limit
        problems += [f"core {i}: utilisation {u:.2f} > {limit:.2f}"
                     for i, u in enumerate(cores) if u > limit]  # fmt: skip
        problems += self._density(ours)
        devices = self._accelerators()
        problems += [f"{name}: utilisation {u:.2f} > 1" for name, u in devices.items() if u > 1]
        return Admission(
            tuple(rows), cores, devices, tuple(endings), tuple(dict.fromkeys(problems)),
            self._notes(), responses,
        )  # fmt: skip

    def _tasks(self, stages: Sequence[Stage]) -> tuple[list[Task], dict[str, int]]:
        """Source, stages and guard as tasks, and how long each waits for its accelerator."""
        p, found, waits = self.platform, [], {}
        period = round(1e9 / self.source_hz)
        if p.source_ns:
            found.append(Task(SOURCE, period, p.source_ns, period, p.jitter_ns, 0, p.priority))
        for s in stages:
            t, entry = s.timing, self.entries.get(s.name)
            priority = p.priority if entry is None or entry.priority is None else entry.priority
            segment = round(_MS * entry.segment_ms) if entry is not None else 0
            waits[s.name] = self._wait(s.name)
            found.append(
                Task(s.name, t.period_ns, max(t.budget_ns, 0), t.deadline_ns, p.jitter_ns,
                     min(segment, max(t.budget_ns, 0)), priority)
            )  # fmt: skip
        if p.guard_ns and stages:
            last = next(s.timing for s in stages if s.name == (self.commands or stages[-1].name))
            above = 1 + max(t.priority for t in found)
            found.append(
                Task(GUARD, last.period_ns, p.guard_ns, last.period_ns, p.jitter_ns, 0, above)
            )
        return found, waits

    def _wait(self, name: str) -> int:
        """For one request of each other user of the same accelerator."""
        mine = self.entries.get(name)
        if mine is None or not mine.accelerator:
            return 0
        names = {s.name for s in self.stages} - {name}
        others = (self.entries[n] for n in sorted(names & self.entries.keys()))
        return sum(
            round(_MS * e.accelerator_ms) for e in others if e.accelerator == mine.accelerator
        )

    def _place(self, ours: Sequence[Task]) -> dict[str, int]:
        """Cores: those the board names; the others where the least load is, heaviest first."""
        load = [0.0] * self.platform.cores
        use = {t.name: float(t.utilisation) for t in ours}
        placed = {n: e.core for n, e in self.entries.items() if n in use and e.core is not None}
        for name, core in placed.items():
            if not 0 <= core < len(load):
                raise ValueError(f"stage {name!r} is to run on core {core}; there are {len(load)}")
            load[core] += use[name]
        for name in sorted(use.keys() - placed.keys(), key=lambda n: (-use[n], n)):
            placed[name] = load.index(min(load))
            load[placed[name]] += use[name]
        return placed

    def _bounds(
        self, stages: Sequence[Stage], ours: Sequence[Task], placed: Mapping[str, int],
        waits: Mapping[str, int],
    ) -> dict[str, int | None]:  # fmt: skip
        """Responses of all. Stages of one core and period do not delay each other where none is
        released before the others have ended: taken so first, and given up for cores where it shows
        that they do. (The first job to end too late would have met none of the others.)
        """
        crowded: set[int] = set()
        while True:
            found: dict[str, int | None] = {}
            for core in range(self.platform.cores):
                here = [t for t in ours if placed[t.name] == core]
                found.update(self._responses(stages, here, waits, core in crowded))
            more = self._clashes(stages, placed, found) - crowded
            if not more:
                return found
            crowded |= more

    def _responses(
        self, stages: Sequence[Stage], here: Sequence[Task], waits: Mapping[str, int], crowded: bool
    ) -> dict[str, int | None]:
        if self.platform.policy == "deadline":  # met, or refused by the density test
            return {t.name: t.deadline_ns for t in here}
        clocked = {s.name for s in stages} if not crowded else set()
        all_here = [replace(t, wcet_ns=t.wcet_ns + waits.get(t.name, 0)) for t in here]
        all_here += self.platform.kernel()
        together = fixed.response_times(all_here)
        found = {}
        for t in all_here[: len(here)]:
            apart = {o.name for o in all_here if o.period_ns == t.period_ns} & clocked - {t.name}
            alone = None
            if t.name in clocked and apart:
                others = [o for o in all_here if o.name not in apart]
                alone = fixed.alone_ns(t, others, together)
            found[t.name] = _least(alone, together[t.name])
        return found

    def _clashes(
        self, stages: Sequence[Stage], placed: Mapping[str, int], found: Mapping[str, int | None]
    ) -> set[int]:
        """Cores on which two stages of one period can be at work at once."""
        if self.platform.policy == "deadline":
            return set()
        starts, clashes = offsets(stages, found), set()
        for a, b in permutations(stages, 2):
            period, took = a.timing.period_ns, found[a.name]
            if placed[a.name] != placed[b.name] or period != b.timing.period_ns:
                continue
            if took is None or took > period or (starts[b.name] - starts[a.name]) % period < took:
                clashes.add(placed[a.name])
        return clashes

    def _density(self, ours: Sequence[Task]) -> list[str]:
        if self.platform.policy != "deadline":
            return []
        cores = self.platform.cores
        excess = edf.density_excess(ours, cores)
        if excess <= 0:
            return []
        return [f"earliest deadline first: density {float(excess):.2f} too much for {cores} cores"]

    def _links(
        self, stages: Sequence[Stage], ours: Sequence[Task], responses: Mapping[str, int | None]
    ) -> dict[str, chains.Link | None]:
        """By name; None where the response has no bound. The source's clock is its own."""
        starts: dict[str, int | None] = {**offsets(stages, responses)}
        last = next((s for s in stages if s.name == (self.commands or stages[-1].name)), None)
        links: dict[str, chains.Link | None] = {
            SOURCE: chains.Link(SOURCE, round(1e9 / self.source_hz), 0)
        }
        if last is not None:
            done = responses.get(last.name) or last.timing.budget_ns
            starts[GUARD] = (starts[last.name] or 0) + done
            links[GUARD] = chains.Link(GUARD, last.timing.period_ns, 0, starts[GUARD])
        for t in ours:
            response = responses[t.name]
            links[t.name] = (
                None
                if response is None
                else chains.Link(t.name, t.period_ns, response, starts.get(t.name))
            )
        return links

    def _chain(
        self, way: tuple[str, ...], links: Mapping[str, chains.Link | None]
    ) -> tuple[Chain, dict[str, int | None]]:
        declared = next((c for c in self.limits if tuple(c.stages) == way), Chain(way))
        found = [links[n] for n in way]
        known = [link for link in found if link is not None]
        if len(known) < len(found):
            return replace(declared, stages=way), dict.fromkeys(way)
        e = chains.ends(known)
        read: dict[str, int | None] = dict(zip(way, e.read_ns, strict=True))
        return replace(
            declared, stages=way, age_ms=e.age_ns / _MS, reaction_ms=e.reaction_ns / _MS
        ), read

    def _row(
        self, t: Task, placed: Mapping[str, int], ours: Sequence[Task], waits: Mapping[str, int],
        responses: Mapping[str, int | None], reads: Mapping[str, int | None],
    ) -> Row:  # fmt: skip
        here = [o for o in ours if placed[o.name] == placed[t.name]]
        response, read = responses[t.name], reads.get(t.name, 0)
        late = None if response is None or read is None else read + response - t.wcet_ns
        limit = {s.name: s.timing.max_age_ms for s in self.stages}.get(t.name, float("inf"))
        return Row(
            t.name, placed[t.name], t.priority, t.period_ns / _MS, t.deadline_ns / _MS,
            t.wcet_ns / _MS, float(t.utilisation), fixed.blocking_ns(t, here) / _MS,
            waits.get(t.name, 0) / _MS, None if response is None else response / _MS,
            None if late is None else late / _MS, limit,
        )  # fmt: skip

    def _cores(self, ours: Sequence[Task], placed: Mapping[str, int]) -> tuple[float, ...]:
        kernel = float(sum((t.utilisation for t in self.platform.kernel()), start=0))
        return tuple(
            kernel + float(sum((t.utilisation for t in ours if placed[t.name] == i), start=0))
            for i in range(self.platform.cores)
        )

    def _accelerators(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for s in self.stages:
            entry = self.entries.get(s.name)
            if entry is not None and entry.accelerator:
                share = entry.accelerator_ms * 1e6 / s.timing.period_ns
                found[entry.accelerator] = found.get(entry.accelerator, 0.0) + share
        return found

    def _notes(self) -> tuple[str, ...]:
        p, said = self.platform, []
        if p.policy == "normal":
            said.append("stages run in the normal class: nothing keeps others from their cores")
        ways = paths(self.stages, self.commands or order(self.stages)[-1].name)
        said += [f"chain {c} is not of this pipeline" for c in self.limits
                 if c.stages not in [(*w, GUARD) for w in ways]]  # fmt: skip
        if not (p.source_ns and p.guard_ns):
            said.append("source and guard are not counted: a simulator, or a board without [ends]")
        if not (p.jitter_ns and p.kernel_ns):
            said.append("the board has no [kernel]: wake-ups and interrupts are not counted")
        return tuple(said)


def _wrong(stage: Stage) -> list[str]:
    t, found, period = stage.timing, [], stage.timing.period_ns / _MS
    if t.budget_ms <= 0:
        found.append(f"{stage.name}: budget {t.budget_ms:g} ms, every stage must have one")
    if t.budget_ms > period:
        found.append(f"{stage.name}: budget {t.budget_ms:g} ms > period {period:g} ms")
    if t.deadline_ns > t.period_ns:
        found.append(f"{stage.name}: deadline {t.deadline_ns / _MS:g} ms > period {period:g} ms")
    return found


def _exceeded(r: Row) -> list[str]:
    found = []
    if r.response_ms is None:
        found.append(f"{r.name}: response without bound, core {r.core} is full")
    elif r.response_ms > r.deadline_ms:
        found.append(
            f"{r.name}: response {r.response_ms:.1f} ms > deadline {r.deadline_ms:g} ms on core "
            f"{r.core}"
        )
    if r.age_ms is not None and r.age_ms > r.max_age_ms:
        found.append(f"{r.name}: input up to {r.age_ms:.1f} ms old > {r.max_age_ms:g} ms")
    return found


def _late(c: Chain) -> list[str]:
    found = []
    for what, value, most in (
        ("data", c.age_ms, c.max_age_ms),
        ("reaction", c.reaction_ms, c.max_reaction_ms),
    ):
        if value is not None and most is not None and value > most:
            found.append(f"{c}: {what} up to {value:.1f} ms > {most:g} ms")
    return found


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _worse(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)
