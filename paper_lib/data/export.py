"""The replay of a run as a Minari dataset, without loss, and back to the bytes that it came from.

The dataset has Minari's Arrow format, with an episode in each folder, and images as they are.
(Minari from 0.5.4 on reads such images; before, it knew images as JPEG only.) Its actions are
those that the agent chose; environments cut them to [-1, 1]. The episodes in which the run
stopped are truncated. `metadata.json` has under `paper_lib` the run's spec and provenance, and
what Minari has no place for: where in the replay each episode stood, which of them were open,
and open episodes of a single step. The dataset of a half of the replay has none of these, and
cannot be restored.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from paper_lib.contract import files, plain
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data.minari import METADATA, OURS, Columnar, Space, metadata_of, reading
from paper_lib.data.replay import ALWAYS, FIRST, LAST, TERMINAL, Replay
from paper_lib.data.steps import OBSERVED, cut, is_one_hot, of_replay
from paper_lib.data.store import Finished, Store

VERSION = '0.5.4'  # of Minari, whose format this is
WHOLE, FIRST_HALF, SECOND_HALF = 'all', 'first', 'second'  # parts of a replay
SHAPE = {
    OURS: {
        'spec': dict,
        'like': {str: ([int], str)},
        'discrete': bool,
        'episodes': [(int, int, int, bool)],
        'single': [{'env': int, 'row': int}],
    }
}


def write(run: Finished, path: Path, part: str = WHOLE) -> None:
    """Write the replay of a run, or the episodes that begin in one half of it, as a Minari dataset into a new folder.

    Raises RunError for a run without a replay of its own and for a half without episodes, and UserError if `path`
    exists.
    """
    if path.exists():
        raise UserError(f'{path}: exists already, and nothing is overwritten; name another folder')
    replay = run.replay()
    steps = of_replay(replay, run.collected())
    flags = steps.whole('flags')
    episodes = cut(flags, steps.sequences)
    length = steps.rows // steps.sequences
    discrete = is_one_hot(steps, flags)
    with files.scratch(path) as temporary:
        with files.guard(path):
            (temporary / 'data').mkdir()
        listed, single = [], []
        for begin, end in zip(episodes.firsts, episodes.lasts):
            env, first, last = int(begin // length), int(begin % length), int(end % length)
            if part not in (WHOLE, FIRST_HALF if first < length // 2 else SECOND_HALF):
                continue
            arrays = {key: array[first : last + 1, env] for key, array in replay.arrays.items()}
            is_open = not arrays['flags'][-1] & LAST
            if first == last:  # of no transition: Minari cannot read it
                values = {key: array[0].tolist() for key, array in arrays.items()}
                single.append({'env': env, 'row': first, 'values': values})
                continue
            _write_episode(temporary / 'data' / str(len(listed)), len(listed), arrays, discrete)
            listed.append([env, first, last - first + 1, bool(is_open)])
        if not listed:
            raise RunError(f'{run.path}: no episode of two steps or more begins in this part ({part}) of its replay')
        ours = {
            'spec': plain.to_plain(run.spec), 'provenance': run.provenance(), 'part': part,
            'like': _plain_like(steps.like), 'discrete': discrete,
        }  # fmt: skip
        if part == WHOLE:
            ours |= {'episodes': listed, 'single': single}
        metadata = _metadata(run, part, steps.like, listed, discrete) | {OURS: ours}
        files.write_bytes(temporary / 'data' / METADATA, json.dumps(metadata, indent=1).encode())
        with files.guard(path):
            temporary.rename(path)


def restore(path: Path, store: Store) -> Finished:
    """Put a replay that was dropped back into its run, from the dataset that `write` made of it. Returns the run.

    Raises RunError if the run is not in the store or has its replay, and, before anything is
    changed, if the dataset does not give the same bytes.
    """
    folder, ours = described(path)
    spec = plain.from_plain(ours['spec'])
    run = store.require(spec)
    if not run.is_dropped():
        raise RunError(f'{run.path}: has its replay; only one that was dropped is restored')
    temporary = run.path / '.replay.tmp'
    with store.lease(spec):
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        try:
            layout = files.read_json(run.file('replay/layout.json'))
            with reading(path):
                _rebuild(temporary, layout, folder, ours)
            for file in run.steps:
                files.check(temporary / file.name, run.files[f'replay/{file.name}'], f'{path} is not this replay')
            with files.guard(run.path):
                for file in run.steps:
                    os.replace(temporary / file.name, file)
                run.dropped.unlink()
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return run


def described(path: Path) -> tuple[Path, dict[str, Any]]:
    """(folder of the data, our part of its metadata) of a dataset that `write` made.

    Raises UserError or RunError for another.
    """
    folder = path / 'data' if (path / 'data').is_dir() else path
    metadata = metadata_of(folder / METADATA)
    if OURS not in metadata:
        raise RunError(f'{path}: was not exported by this library')
    files.check_shape(folder / METADATA, metadata, {OURS: {}}, 'export it again')
    if metadata[OURS].get('part', WHOLE) != WHOLE:
        raise RunError(f'{path}: is a half of a replay; only a whole one can be restored')
    files.check_shape(folder / METADATA, metadata, SHAPE, 'export it again')
    return folder, metadata[OURS]


def _write_episode(folder: Path, index: int, arrays: dict[str, np.ndarray], discrete: bool) -> None:
    """One table of T + 1 rows. Minari leaves out the last of all columns but the observations."""
    import pyarrow

    steps = len(arrays['reward'])
    ends = np.arange(steps) == steps - 2
    terminal = bool(arrays['flags'][-1] & TERMINAL)
    seen = {key: _column(arrays[key]) for key in OBSERVED if key in arrays}
    only = next(iter(seen.values()))
    columns = {
        'observations': only if len(seen) == 1 else pyarrow.StructArray.from_arrays([*seen.values()], [*seen]),
        'actions': pyarrow.array(arrays['action'].argmax(1)) if discrete else _column(arrays['action']),
        'rewards': pyarrow.array(np.append(arrays['reward'][1:], arrays['reward'][:1])),
        'terminations': pyarrow.array(ends & terminal),
        'truncations': pyarrow.array(ends & (not terminal)),
    }
    if 'place' in arrays:
        columns['infos'] = pyarrow.StructArray.from_arrays([_column(arrays['place'])], ['place'])
    table = pyarrow.table(columns)
    with files.guard(folder):
        folder.mkdir()
        with (
            pyarrow.OSFile(str(folder / 'part-0.arrow'), 'wb') as sink,
            pyarrow.ipc.new_file(sink, table.schema) as out,
        ):
            out.write_table(table)
        (folder / METADATA).write_text(json.dumps({'id': index, 'total_steps': steps - 1}))


def _column(values: np.ndarray) -> Any:
    import pyarrow

    flat = np.ascontiguousarray(values).reshape(-1)
    return pyarrow.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))


def _rebuild(path: Path, layout: dict[str, Any], folder: Path, ours: dict[str, Any]) -> None:
    """Write all steps of a dataset into a new replay of this layout."""
    like = {key: (tuple(shape), dtype) for key, (shape, dtype) in layout['keys'].items() if key not in ALWAYS}
    replay = Replay.create(path, like, layout['rows'], layout['envs'])
    episodes = Columnar(folder, 'arrow')
    for single in ours['single']:
        for key, array in replay.arrays.items():
            array[single['row'], single['env']] = single['values'][key]
    for index, (env, first, count, is_open) in enumerate(ours['episodes']):
        for key, values in _episode(replay, episodes, index, ours).items():
            replay.arrays[key][first : first + count, env] = values
        replay.arrays['flags'][first, env] |= FIRST
        if is_open:
            replay.arrays['flags'][first + count - 1, env] &= ~np.uint8(LAST)
    replay.flush()


def _episode(replay: Replay, episodes: Columnar, index: int, ours: dict[str, Any]) -> dict[str, np.ndarray]:
    """The steps of an episode by key of the replay, as if the episode were not open."""

    def column(key: str, *path: str) -> np.ndarray:
        array = replay.arrays[key]
        return episodes.array(index, path, Space((), 'Box', array.shape[2:], array.dtype.str))

    _, _, count, is_open = ours['episodes'][index]
    observed = [key for key in OBSERVED if key in ours['like']]
    values = {key: column(key, 'observations', *([key] if len(observed) > 1 else [])) for key in observed}
    if 'place' in ours['like']:
        values['place'] = column('place', 'infos', 'place')
    values['action'] = column('action', 'actions')
    if ours['discrete']:
        values['action'] = np.eye(replay.arrays['action'].shape[2], dtype=np.float32)[values['action']]
        values['action'][-1] *= is_open
    values['reward'] = np.roll(column('reward', 'rewards'), 1)
    last = np.arange(count) == count - 1
    values['flags'] = last * (LAST + TERMINAL * column('flags', 'terminations')[-2])
    return values


def _plain_like(like: dict[str, tuple]) -> dict[str, list]:
    return {key: [list(shape), np.dtype(dtype).str] for key, (shape, dtype) in like.items()}


def _metadata(run: Finished, part: str, like: dict[str, tuple], listed: list[list], discrete: bool) -> dict[str, Any]:
    """What Minari reads."""
    spaces = {}
    for key in OBSERVED:
        if key in like:
            spaces[key] = _box(*like[key])
    seen = next(iter(spaces.values())) if len(spaces) == 1 else {'type': 'Dict', 'subspaces': spaces}
    size = like['action'][0][0]
    act = {'type': 'Discrete', 'dtype': 'int64', 'start': 0, 'n': size} if discrete else _box(*like['action'])
    name = ''.join(char if char.isalnum() or char in '-_' else '_' for char in run.spec.run_id)
    suffix, half = ('', '') if part == WHOLE else (f'_{part}', f', {part} half')
    text = f'Replay of {run.spec.run_id} on {run.spec.task}{half}. Rewards are sums over the action repeat.'
    return {
        'dataset_id': f'paper_lib/{name}{suffix}-v0',
        'minari_version': VERSION,
        'algorithm_name': f'DreamerV3, agent {run.spec.agent}',
        'description': text,
        'data_format': 'arrow',
        'jpeg_encoding': False,
        'observation_space': json.dumps(seen),
        'action_space': json.dumps(act),
        'total_episodes': len(listed),
        'total_steps': sum(steps - 1 for _, _, steps, _ in listed),
    }


def _box(shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    low, high = (0, 255) if np.dtype(dtype) == np.uint8 else (-np.inf, np.inf)
    low, high = (np.full(shape, bound).tolist() for bound in (low, high))
    return {'type': 'Box', 'dtype': np.dtype(dtype).name, 'shape': list(shape), 'low': low, 'high': high}
