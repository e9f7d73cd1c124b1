"""The training loop: a group of runs, from nothing or from a checkpoint, to finished run directories.

One clock counts agent steps. Between evaluations it advances in chunks: collect `chunk` agent steps
(online runs), then make `chunk x ratio` updates in one program. Every random draw is a function of a
seed, a stream and a counter, so a checkpoint holds arrays and the clock, nothing else.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import os
import pathlib
import platform
import time

import jax
import numpy as np

import paper_lib
from paper_lib import envs
from paper_lib.contract import maze_layout, tasks
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data import files, streams
from paper_lib.data.replay import Joined, half
from paper_lib.data.store import Store
from paper_lib.run import cost, evaluate, lanes, processor, rollout, windows


def train(specs: list[RunSpec], store: Store, progress=None, checkpoint_seconds: float = 60.0, lean: bool = False):
    """Train runs of equal `signature` together until each is finished. Finished ones are left alone.

    `progress` is called with the clock after every chunk. `lean` forgets the programs of other runs first, where much
    memory is held: for a process that trains many kinds of runs. Raises RunError for damaged run data, a source
    that is missing or unfinished, and a run that another process is working on.
    """
    if len({spec.signature for spec in specs}) != 1:
        raise UserError('these runs cannot share a program: they differ in task, model, schedule or kind')
    spaces = envs.make(specs[0].task, 0, **specs[0].options).spaces  # what does not work here ends before a folder is
    sources = {spec.source: store.source(spec.source) for spec in specs if spec.source}
    for spec in specs:
        if spec.exact and store.status(spec) != 'done':
            _check_same(spec, sources[spec.source])
    cost.check_space([spec for spec in specs if store.status(spec) == 'missing'], store.root, len(specs))
    with contextlib.ExitStack() as stack:
        leases = [stack.enter_context(store.lease(spec)) for spec in specs]
        open_ = [(spec, lease) for spec, lease in zip(specs, leases) if store.status(spec) != 'done']
        if not open_:
            return
        if lean:
            forget(lanes.agent_of(specs[0], spaces), len(open_))
        runs = [store.open(spec, lease) for spec, lease in open_]
        try:
            Group([spec for spec, _ in open_], runs, sources, checkpoint_seconds).run(progress or (lambda clock: None))
        except Exception as error:
            for run in runs:
                if not isinstance(error, RunError) or run.spec.run_id in str(error):
                    run.fail(f'{type(error).__name__}: {error}')
            raise


def _check_same(spec, source):
    """RunError unless this run, alone and here, will compute what its source did, to the bit."""
    about, own = source.provenance(), setting([spec]) | {'lanes': [spec.source.run_id], 'cpu': cpu()}
    if changed := [name for name in own if about.get(name) != own[name]]:
        was = ', '.join(f'{name}={about.get(name)}' for name in changed)
        what = f'{spec.agent} must have its weights to the bit: train it again here, alone'
        raise RunError(f'{source.path}: was trained with {was}; {what}')


class Group:
    """The state of a group of runs on its way; lanes are in the order of `specs`."""

    def __init__(self, specs, runs, sources, checkpoint_seconds):
        self.specs, self.runs, self.spec = specs, runs, specs[0]
        self.task = tasks.get(self.spec.task)
        self.online = self.spec.data == 'own'
        self.spaces = envs.make(self.spec.task, 0, **self.spec.options).spaces
        agent = lanes.agent_of(self.spec, self.spaces)
        self.program = lanes.program(agent, len(specs))
        self.task_program = lanes.program(dataclasses.replace(agent, explore=False), len(specs))
        self.keys, self.hyper = lanes.keys(specs, 'train'), lanes.hyper(specs)
        self.collected = 0  # replay rows that an offline run has added
        self.own = [run.make_replay(rollout.layout(self.spaces)) for run in runs] if self.spec.own_rows else []
        self.sources = [sources[spec.source] for spec in specs] if not self.online else []
        self.replays = self.own if self.online else [self._offline(lane) for lane in range(len(specs))]
        self.windows = (windows.OnDevice if windows.fit(self.replays) else windows.OnDisk)(
            self.replays, self.spec.model.length
        )
        self.batches = [self._recorded(spec, sources) for spec in specs]
        self.checkpoint_seconds, self.save_at = checkpoint_seconds, time.monotonic() + checkpoint_seconds
        self.started, self.seconds = time.monotonic(), 0.0
        recorded = (
            {'sources': [files.sha256(source.path / 'done.json') for source in self.sources]} if self.sources else {}
        )
        self.setting, self.code = setting(specs) | recorded, [CODE]

    def _offline(self, lane):
        """What an offline run learns from: its source's replay, a part of it, or that and what it adds itself."""
        spec, replay = self.specs[lane], self.sources[lane].replay()
        if spec.part != 'all':
            rng = streams.rng(spec.seed, 'half')
            replay.keep(half(spec.part, replay.rows, replay.envs, spec.piece, rng), spec.model.length)
        return Joined(replay, self.own[lane]) if self.own else replay

    def _recorded(self, spec, sources):
        """The source's batch sequence, for a run that replays it."""
        if spec.data != 'batches':
            return None
        return sources[spec.source].log('batches.bin', (spec.updates, spec.model.batch))

    def run(self, progress):
        """From the newest common checkpoint, or from nothing, to the end."""
        clock, traces, totals = self._begin()
        while clock < self.spec.agent_steps:
            clock += self.spec.chunk
            if self.online:
                self._collect(clock)
            if clock > self.spec.prefill:
                totals.append(self._update(clock))
            metrics = traces = None
            if clock % self.spec.eval_steps == 0:
                (metrics, traces), totals = self._evaluate(clock, totals), []
            if self.spec.interacts(clock) and (not self.spec.interact_above or self._surprised(metrics)):
                self._interact()
            if clock == self.spec.agent_steps or time.monotonic() >= self.save_at:
                self._save(clock, traces, totals)  # the last one keeps a group killed between two finishes whole
            progress(clock)
        self._finish(traces)

    # Counters that follow from the clock.

    def _rows(self, clock):
        """Replay rows in use: those written so far, or all of the source's (`final`) and those added to them."""
        return self.spec.source.rows + self.collected if self.spec.data == 'final' else clock // self.task.envs

    def _own_rows(self, clock):
        """Rows that the run has written itself."""
        return self._rows(clock) if self.online else self.collected

    def _updates(self, clock):
        """Updates made when the clock stands at `clock`."""
        return max(0, clock - self.spec.prefill) // self.spec.chunk * self.spec.chunk_updates

    # Steps of the loop.

    def _collect(self, clock):
        for row in range(self._rows(clock - self.spec.chunk), self._rows(clock)):
            self.collector.collect(self.state['params'], row)

    def _surprised(self, metrics):
        """Whether the evaluation's OOD ratio is above the threshold (Alg. 2, adaptive); such a run is alone."""
        ratio = metrics[0]['ood_ratio']
        return ratio is not None and ratio > self.spec.interact_above

    def _interact(self):
        """Add rows collected with the policy as it is now; the episodes go on where they stood the last time."""
        for _ in range(self.spec.interact_rows):
            self.collector.collect(self.state['params'], self.collected)
            self.collected += 1

    def _update(self, clock):
        first, last = self._updates(clock - self.spec.chunk), self._updates(clock)
        starts = np.stack([self._starts(lane, first, last, self._rows(clock)) for lane in range(len(self.specs))])
        batches = self.windows.gather(starts, self._rows(clock))
        program, state = self._learner(self._explored(clock))
        state, metrics = program.chunk(state, batches, self.hyper, self.keys, np.int32(first))
        self.state = {kind: tree | state[kind] for kind, tree in self.state.items()}
        return metrics

    def _learner(self, explored):
        """The program of the updates and the state that it takes, before and after the exploring behaviour rests."""
        if not explored:
            return self.program, self.state
        return self.task_program, {kind: _without(tree, ('expl', 'disag')) for kind, tree in self.state.items()}

    def _explored(self, clock):
        """Whether the exploring behaviour will not act again: then it rests (v1 trains it on, to no effect)."""
        interval = (clock - 1) // self.spec.eval_steps * self.spec.eval_steps  # metrics change between evaluations only
        return 0 < self.spec.like.expl_until <= interval * self.task.repeat

    def _starts(self, lane, first, last, rows):
        """Window starts of updates first..last - 1 of a lane, (K, B): drawn, or the source's; recorded."""
        spec, replay, run = self.specs[lane], self.replays[lane], self.runs[lane]
        size = (last - first, spec.model.batch)
        if self.batches[lane] is not None:
            starts = np.array(self.batches[lane][first:last])
        else:
            rng = streams.rng(spec.seed, 'replay', first)
            starts = replay.sample(rng, rows, size[0] * size[1], spec.model.length).reshape(size)
        run.batches[first:last], run.lengths[first:last] = starts, rows
        return starts

    def _evaluate(self, clock, totals):
        """Append one metrics row per run; return these and the episodes' traces."""
        self._check_finite(clock)
        _trim()
        last = clock == self.spec.agent_steps
        metrics, traces = self.evaluation(self.state['params'], clock // self.spec.eval_steps, self._rows(clock), last)
        means = jax.tree.map(lambda *xs: np.mean([np.asarray(x) for x in xs], 0), *totals) if totals else {}
        counters = {'update': self._updates(clock), 'agent_step': clock, 'env_step': clock * self.task.repeat}
        if self.spec.interact_every:
            counters['added'] = self.collected * self.task.envs * self.task.repeat  # environment steps
        for lane, (run, row) in enumerate(zip(self.runs, metrics)):
            row = counters | row | {f'train_{key}': float(value[lane]) for key, value in sorted(means.items())}
            if self.specs[lane].exact:
                self._check_bits(lane, row)
            run.append(row)
        return metrics, traces

    def _check_bits(self, lane, row):
        """End a run that must have its source's weights to the bit where its model's loss is not the source's."""
        theirs = self.sources[lane].metrics()
        theirs = theirs[theirs.env_step == row['env_step']]
        if self.spec.eval_every != self.spec.source.eval_every or 'train_model_loss' not in row:
            return
        if (loss := row['train_model_loss']) != (there := theirs.train_model_loss.item()):
            what = f"the world model's loss is {there!r} there and {loss!r} here"
            raise RunError(f'{self.runs[lane].path}: its source was trained by other code: {what} before step '
                           f'{row["env_step"]}; it must have its weights to the bit: train that again')  # fmt: skip

    def _check_finite(self, clock):
        """Weights that are not finite stay so: end the run instead of filling it with them."""
        sums = jax.tree.map(lambda x: x.reshape(len(self.specs), -1).sum(1), self.state['params'])
        for run, finite in zip(self.runs, np.isfinite(np.stack(jax.tree.leaves(sums))).all(0)):
            if not finite:
                raise RunError(f'{run.path}: diverged before agent step {clock}; lower the learning rates')

    # Beginning, checkpoints, end.

    def _begin(self):
        """Restore the newest checkpoint that all lanes have, else start from nothing.

        Returns the clock, the last evaluation's traces, and the training metrics since then.
        """
        self.state = self.program.initial_state(self.specs)
        self._compile()
        if self.own:
            self.collector = rollout.Collector(self.program, self.specs, self.own)
        self.evaluation = evaluate.Evaluation(self.program, self.specs, self.replays)
        clocks = [set(run.checkpoints()) for run in self.runs]
        common = set.intersection(*clocks)
        if not common and all(clocks):
            paths = ', '.join(str(run.path) for run in self.runs)
            raise RunError(f'{paths}: no checkpoint in common; resume them with the command that began them')
        if not common:
            for run in self.runs:
                run.restart()
            if self.spec.world_model == 'frozen':
                own = [_part(source.arrays('weights.npz'), 'wm') for source in self.sources]
                self.state['params']['wm'] = lanes.unflatten(self.state['params']['wm'], _stacked(own))
            return 0, None, []
        clock = max(common)
        loaded = [self._load(run, clock) for run in self.runs]
        parts = [{name: _part(lane, name) for name in ('state', 'carry', 'trace', 'total')} for lane in loaded]
        self.state = lanes.unflatten(self.state, _stacked([part['state'] for part in parts]))
        if self.own:
            carry = lanes.unflatten(self.collector.carry, _stacked([part['carry'] for part in parts]))
            self.collector.restore(carry, self._own_rows(clock))
        totals = _stacked([part['total'] for part in parts])
        chunks = zip(*(value.T for value in totals.values()))
        return clock, [part['trace'] for part in parts], [dict(zip(totals, chunk)) for chunk in chunks]

    def _compile(self):
        """Compile the updates before the environments are there: nothing else of a small run takes as much memory."""
        size = (len(self.specs), self.spec.chunk_updates, self.spec.model.batch)
        batches = self.windows.gather(np.zeros(size, np.int64), 0)
        for explored in (False, True)[: 1 + (self.spec.like.expl_until > 0)]:
            program, state = self._learner(explored)
            _trim()
            program.chunk.lower(state, batches, self.hyper, self.keys, np.int32(0)).compile()
        _trim()

    def _load(self, run, clock):
        arrays, meta = run.load(clock)
        changed = [name for name, value in self.setting.items() if meta['setting'].get(name) != value]
        if changed and clock < self.spec.agent_steps:
            was = ', '.join(f'{name}={meta["setting"].get(name)}' for name in changed)
            raise RunError(f'{run.path}: was begun with {was}; resume it so, or delete the directory to train it again')
        self.seconds, self.code = meta['seconds'], list(dict.fromkeys([*meta['code'], CODE]))
        self.collected = meta['collected']
        return arrays

    def _save(self, clock, traces, totals):
        began = time.monotonic()
        parts = {'state': self.state} | ({'carry': self.collector.carry} if self.own else {})
        if totals:
            parts['total'] = {key: np.stack([np.asarray(chunk[key]) for chunk in totals], 1) for key in totals[0]}
        arrays, rows = lanes.flatten(parts), self._own_rows(clock)
        for lane, run in enumerate(self.runs):
            own = {key: value[lane] for key, value in arrays.items()}
            own |= {f'trace/{key}': value for key, value in traces[lane].items()} if traces else {}
            meta = {'setting': self.setting, 'seconds': self._elapsed(), 'code': self.code,
                    'collected': self.collected}  # fmt: skip
            run.save(clock, own, meta, rows=rows, updates=self._updates(clock))
        now = time.monotonic()
        pause = max(self.checkpoint_seconds, 20 * (now - began)) if self.checkpoint_seconds else 0.0  # 5 % at most
        self.save_at = now + pause

    def _finish(self, traces):
        params = lanes.flatten(self.state['params'])
        about = self.setting | {'seconds': round(self._elapsed(), 1), 'paper_lib': paper_lib.__version__,
                                'code': self.code, 'python': platform.python_version(), 'cpu': cpu()}  # fmt: skip
        for lane, run in enumerate(self.runs):
            weights = {key: value[lane] for key, value in params.items()}
            run.finish(weights, traces[lane] | self._visits(lane), about)

    def _elapsed(self):
        """Seconds of training, those before an interruption included."""
        return self.seconds + time.monotonic() - self.started

    def _visits(self, lane):
        """How often the replay in use holds each cell of the maze, for the tasks that have one."""
        if not tasks.suite_of(self.task).visits:
            return {}
        place = self.replays[lane].read(
            'place' if self.spaces.image else 'vector', 0, self._rows(self.spec.agent_steps)
        )
        kept = self.replays[lane].kept
        x, y = place[np.ones(place.shape[:2], bool) if kept is None else kept][:, :2].T
        edges = np.linspace(-maze_layout.ARENA, maze_layout.ARENA, maze_layout.CELLS + 1)
        return {'visits': np.histogram2d(x, y, (edges, edges))[0].astype(np.int64)}


def _trim():
    """Give back the memory that compilations have left behind, more than a small run needs; for glibc's malloc."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def forget(agent, count: int, most: float = 6e8):
    """Drop compiled programs where this process holds more than `most` bytes, unless that of these lanes is one.

    What is dropped is taken from the compilation cache again. Where the system does not tell, nothing is.
    """
    hits = lanes.program.cache_info().hits
    lanes.program(agent, count)
    if lanes.program.cache_info().hits > hits:
        return
    with contextlib.suppress(OSError):
        _trim()
        pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
        if pages * os.sysconf('SC_PAGE_SIZE') > most:
            lanes.program.cache_clear()
            jax.clear_caches()
            _trim()


def _without(tree, names):
    return {name: branch for name, branch in tree.items() if name not in names}


def _part(arrays, name):
    """The arrays below `name/`, without it."""
    return {key.removeprefix(f'{name}/'): value for key, value in arrays.items() if key.startswith(f'{name}/')}


def _stacked(trees):
    return {key: np.stack([tree[key] for tree in trees]) for key in trees[0]}


def setting(specs):
    """What decides the last bits of a run beside its spec; a resumed run must go on in the same one."""
    first = specs[0]
    pictures = {'pictures': envs.drawn_by(first.task, **first.options)} if tasks.get(first.task).rendered else {}
    return pictures | {
        'lanes': [spec.run_id for spec in specs],
        'threads': os.environ.get('NPROC', ''),
        'device': jax.devices()[0].device_kind,
        'machine': platform.machine(),
        'jax': jax.__version__,
    }


def cpu():
    """The processor's name: it decides the last bits too, but a run may go on on another one."""
    lines = processor().splitlines()
    return next((line.partition(': ')[2] for line in lines if line.startswith('model name')), platform.processor())


def code():
    """Hash of the code that a run is trained with, comments included: equal code has equal hashes, not the reverse."""
    root = pathlib.Path(paper_lib.__file__).parent
    wings = (path for wing in ('agent', 'contract', 'data', 'envs', 'run') for path in root.glob(f'{wing}/**/*.py'))
    sources = sorted([*root.glob('*.py'), *wings])
    return hashlib.sha256(b''.join(path.read_bytes() for path in sources)).hexdigest()[:12]


CODE = code()  # as it was loaded: the files may change while a process runs
