"""Updates the agents of a group of lanes: draws batches, records them, and runs the compiled updates."""

import contextlib
import ctypes
import dataclasses
from typing import Any

import jax
import numpy as np

from paper_lib.agent.measures import Watchers
from paper_lib.contract.spec import RunSpec
from paper_lib.data import streams
from paper_lib.data.sources import Source
from paper_lib.data.writer import Run
from paper_lib.envs import Spaces
from paper_lib.run import lanes, windows

EXPLORER = ('expl', 'disag')  # the branches of the state that only the exploring behaviour needs
WATCH = 'watch'  # the branch of the watching networks, which the agent never reads
WATCH_EVERY = 8  # updates of the agent per update of the watching networks; these have at most one per chunk


@dataclasses.dataclass(frozen=True)
class Lane:
    """One run of a group of runs that are trained together."""

    spec: RunSpec
    run: Run  # the writer of the run's directory
    source: Source  # the data that the run learns from
    batches: np.ndarray | None  # (updates, B) window starts of the source's updates, if the run repeats them


class Learner:
    """Holds and updates the `state` of all lanes, a tree whose arrays begin with the lane axis, L."""

    def __init__(self, group: list[Lane], spaces: Spaces):
        self.group = group
        specs = [lane.spec for lane in group]
        nets = lanes.networks_of(specs[0], spaces)
        self.schedule = specs[0].schedule
        self.model = specs[0].model
        self.program = lanes.program(nets, len(group))
        without_explorer = dataclasses.replace(nets, explore=False)
        self.program_at_rest = lanes.program(without_explorer, len(group))  # while the explorer rests
        self.keys = lanes.keys(specs, 'train')
        self.hyper = lanes.hyper(specs)
        sources = [lane.source for lane in group]
        place = windows.OnDevice if windows.fit(sources) else windows.OnDisk
        self.windows = place(sources, self.model.length)
        self.state = self.program.initial_state(specs)
        self.watched = bool(specs[0].measures)
        if self.watched:
            self._put(self.program.init_watchers(lanes.keys(specs, 'watch'), 0))

    @property
    def params(self) -> dict[str, Any]:
        """The weights of all lanes."""
        return self.state['params']

    @property
    def agent(self) -> dict[str, Any]:
        """The weights of all lanes without the watching networks."""
        return {name: branch for name, branch in self.params.items() if name != WATCH}

    def compile(self) -> None:
        """Compile the updates.

        This needs more memory than anything else, so it is done before environments are made.
        """
        size = (len(self.group), self.schedule.chunk_updates, self.model.batch)
        batches = self.windows.gather(np.zeros(size, np.int64), 0)
        phases = (False, True) if self.schedule.explore_until else (False,)
        for resting in phases:
            program, state = self._active(resting)
            trim()
            program.chunk.lower(state, batches, self.hyper, self.keys, np.int32(0)).compile()
        if self.watched:
            trim()
            self.program.watch.lower(*self._watching(batches), self.keys, np.int32(0)).compile()
        trim()

    def update(self, numbers: range, rows: int, explorer_rests: bool) -> dict[str, Any]:
        """Make the updates with these numbers on windows of the first `rows` rows.

        Returns the means of their metrics by name, (L,) each.
        """
        starts = np.stack([self._starts(lane, numbers, rows) for lane in self.group])
        batches = self.windows.gather(starts, rows)
        program, state = self._active(explorer_rests)
        state, metrics = program.chunk(state, batches, self.hyper, self.keys, np.int32(numbers.start))
        self.state = {kind: tree | state[kind] for kind, tree in self.state.items()}
        if self.watched and numbers.start // WATCH_EVERY < numbers.stop // WATCH_EVERY:
            self._put(self.program.watch(*self._watching(batches), self.keys, np.int32(numbers.stop - 1)))
        return metrics

    def _watching(self, batches: dict[str, Any]) -> tuple[Watchers, dict[str, Any], dict[str, Any]]:
        """The arguments of an update of the watching networks: these, the agent, and the last of the batches.

        The batches are (L, K, B, T, ...), the last one is (L, B, T, ...).
        """
        watchers = Watchers(self.params[WATCH], self.state['opt'][WATCH])
        last_batch = {key: array[:, -1] for key, array in batches.items()}
        return watchers, self.agent, last_batch

    def _put(self, watchers: Watchers) -> None:
        """Write the watching networks into the state."""
        self.state['params'][WATCH], self.state['opt'][WATCH] = watchers

    def _active(self, explorer_rests: bool) -> tuple[lanes.Program, dict[str, Any]]:
        """The program of the updates, and the branches of the state that it changes."""
        left_out = (WATCH, *EXPLORER) if explorer_rests else (WATCH,)
        state = {}
        for kind, tree in self.state.items():
            state[kind] = {name: branch for name, branch in tree.items() if name not in left_out}
        return self.program_at_rest if explorer_rests else self.program, state

    def _starts(self, lane: Lane, numbers: range, rows: int) -> np.ndarray:
        """(K, B) window starts of K updates of a lane, as its source had them or newly drawn, and record them."""
        if lane.batches is not None:
            starts = np.array(lane.batches[numbers.start : numbers.stop])
        else:
            rng = streams.rng(lane.spec.seed, 'replay', numbers.start)
            count = len(numbers) * self.model.batch
            starts = lane.source.sample(rng, rows, count, self.model.length)
            starts = starts.reshape(len(numbers), self.model.batch)
        lane.run.batches[numbers.start : numbers.stop] = starts
        lane.run.lengths[numbers.start : numbers.stop] = rows
        return starts

    def diverged(self) -> np.ndarray:
        """(L,) whether a lane has weights that are not finite. They would never be finite again."""
        sums = jax.tree.map(lambda x: x.reshape(len(self.group), -1).sum(1), self.agent)
        return ~np.isfinite(np.stack(jax.tree.leaves(sums))).all(0)


def trim() -> None:
    """Return the memory that compilations have freed to the system, if malloc is glibc's."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
