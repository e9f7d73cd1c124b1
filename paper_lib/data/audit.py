"""The audit of a recording: what is wrong with it, or unusual, before a world model learns from it.

It looks at steps in pieces, so that a recording may be larger than memory. Every finding names
its rows. Three severities: an `error` teaches a world model something false, a `warning` may
well be a mistake, and a `note` is a property of the recording that its reader should know.
"""

import dataclasses
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from paper_lib.data.replay import FIRST, LAST, TERMINAL
from paper_lib.data.steps import Episodes, Steps, after_last, cut

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
MOST_ROWS = 20  # rows that a finding lists
ENOUGH = 20  # episodes
AROUND = 10  # rows on each side of an episode's border that a jump is compared with
FAR = 4.0  # standard errors above the mean of all rows are a jump
CLEARLY = 1.8  # times as far above it as any other row near a border
LEAST = 5  # episodes in which a pattern must show, to be one
MOST = 2 / 3  # of them
RARE = 0.001  # share of ordinary rows with a jump as large as one that tells a single reset
SEEN = 0.8  # share of borders at which resets must be told so, before single ones are called shifted
STRAYS = 3  # single shifted borders that are told at least; fewer may be chance
STRAY_SHARE = 0.02  # and so many of all borders

REPAIR = 'repair or remove these episodes'
FLAG = 'set is_first exactly in the row after an is_last'
KINDS = {  # what can be found: its severity, and what to do
    'misplaced_first': (ERROR, FLAG),
    'missing_first': (ERROR, FLAG),
    'misplaced_terminal': (ERROR, 'set is_last wherever an episode terminates'),
    'shifted_flags': (
        ERROR,
        'episodes end with a transition that never was: move the flags, or record the true last observation',
    ),
    'reward_at_reset': (ERROR, 'a reward stands beside the observation that it leads to: move rewards one row later'),
    'reward_not_finite': (ERROR, REPAIR),
    'action_not_finite': (ERROR, REPAIR),
    'vector_not_finite': (ERROR, REPAIR),
    'action_not_one_hot': (ERROR, 'give the chosen action a 1 and all others a 0'),
    'constant_image': (ERROR, 'look at it: rendering may have failed'),
    'no_end_marked': (
        WARNING,
        'mark the last row of each episode, or the last row of the file if it really is one episode',
    ),
    'no_transition': (WARNING, 'remove these episodes; if they are many, the marks of ends may be inverted'),
    'action_outside': (WARNING, 'scale actions from their bounds to [-1, 1]; environments cut them there'),
    'zero_rewards': (WARNING, 'compare with the returns that were logged; nothing is learned from such rewards'),
    'constant_rewards': (
        WARNING,
        'right where an episode only has to last; else compare with the returns that were logged',
    ),
    'unused_action': (WARNING, 'a model cannot know what it does: record some of each'),
    'constant_dimension': (WARNING, 'check what was recorded there'),
    'truncation_as_termination': (WARNING, 'a time limit is a truncation: set is_last there without is_terminal'),
    'beyond_limit': (WARNING, 'is it a recording of this task? else record with its time limit'),
    'repeated_episode': (WARNING, 'remove copies, unless environment and policy are deterministic'),
    'reset_not_seen': (NOTE, 'look at the rows around is_first: if flags are shifted there, the audit cannot tell'),
    'open_end': (NOTE, 'set is_last in the last row, to learn from it as a dataset'),
    'short_episode': (NOTE, 'sequences then hold several episodes, which is allowed; see --length'),
    'few_episodes': (NOTE, f'record at least {ENOUGH}'),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong or unusual."""

    kind: str
    severity: str
    count: int  # how many rows it concerns
    rows: tuple[int, ...]  # the first of them; none if it concerns all rows
    places: tuple[str, ...]  # the episode of each of these, and the step in it; none if several envs recorded
    value: str  # what was found there
    advice: str


def audit(
    steps: Steps, length: int, limit: int | None = None, discrete: bool | None = None, of_run: bool = False
) -> list[Finding]:
    """All findings, errors first.

    `length` is that of the sequences that an agent learns from. `limit` is the number of agent
    steps of the task's longest episode, and `discrete` whether its actions are one-hot; None:
    unknown, seen from the data. In the replay of a run (`of_run`), the last episodes may be unfinished.
    Actions of runs may lie outside of [-1, 1], because their environments cut them.
    """
    flags = steps.whole('flags')
    episodes = cut(flags, steps.sequences)
    reward = steps.whole('reward')
    ranges = {key: _range(steps, key) for key in steps.observed}
    looked = [
        _structure(flags, steps.sequences, of_run),
        _unmarked(steps),
        _shifted(steps, episodes),
        _rewards(reward, episodes),
        _actions(steps, flags, discrete, of_run or bool(steps.task)),
        *[_observations(key, ranges[key]) for key in steps.observed],
        _endings(flags, episodes, limit),
        _repeated(steps, episodes),
        _sizes(episodes, length, of_run),
    ]
    findings = [_numbered(finding, steps, episodes) for found in looked for finding in found]
    return sorted(findings, key=lambda finding: (ERROR, WARNING, NOTE).index(finding.severity))


def _numbered(finding: Finding, steps: Steps, episodes: Episodes) -> Finding:
    """A finding with the places of its rows. In several sequences rows become start indices, `row * envs + env`."""
    if not finding.rows:
        return dataclasses.replace(finding, count=steps.rows)
    if steps.sequences > 1:
        length = steps.rows // steps.sequences
        indices = [row % length * steps.sequences + row // length for row in finding.rows]
        return dataclasses.replace(finding, rows=tuple(indices))
    places = []
    for row in finding.rows:
        index = int(np.searchsorted(episodes.firsts, row, side='right')) - 1
        name = steps.names[index] if steps.names else f'episode {index}'
        places.append(f'{name}, step {row - episodes.firsts[index]}')
    return dataclasses.replace(finding, places=tuple(places))


def _finding(kind: str, rows: Iterable[int], value: str) -> Finding:
    severity, advice = KINDS[kind]
    rows = np.asarray(rows, np.int64)
    return Finding(kind, severity, len(rows), tuple(rows[:MOST_ROWS].tolist()), (), value, advice)


# Flags.


def _structure(flags: np.ndarray, sequences: int, of_run: bool) -> Iterator[Finding]:
    first, last, terminal = ((flags & bit) > 0 for bit in (FIRST, LAST, TERMINAL))
    begins = after_last(flags, sequences)
    if len(rows := np.flatnonzero(first & ~begins)):
        value = 'is_first is true, and the row before is not is_last'
        yield _finding('misplaced_first', rows, value)
    if len(rows := np.flatnonzero(begins & ~first)):
        value = 'an episode begins, and is_first is false'
        yield _finding('missing_first', rows, value)
    if len(rows := np.flatnonzero(terminal & ~last)):
        value = 'is_terminal is true, and is_last is not'
        yield _finding('misplaced_terminal', rows, value)
    ends = np.arange(1, sequences + 1) * (len(flags) // sequences) - 1
    if len(rows := ends[~last[ends]]) and not of_run:
        yield _finding('open_end', rows, 'the recording ends in the middle of an episode')


def _unmarked(steps: Steps) -> Iterator[Finding]:
    if steps.unmarked:
        value = f'no row is marked in {" or ".join(steps.unmarked)}, so that all {steps.rows:,} steps are one episode'
        yield _finding('no_end_marked', [0], f'{steps.where}{value}')


def _shifted(steps: Steps, episodes: Episodes) -> Iterator[Finding]:
    """Where the resets of episodes lie beside the rows that the flags name.

    An observation jumps when an episode is reset. If it jumps a row or two beside is_first, each border has a
    transition that never was: the flags are shifted, or an environment that resets itself had replaced the last
    observation by the next first one. A row stands out if the mean jump there, over all borders, is far above that of
    all rows, in units of its standard error, and far above that of every other row near a border. Where nearly every
    reset can be told by itself, a few shifted ones are found too.
    """
    inner = episodes.firsts[1:][np.minimum(episodes.lengths[1:], episodes.lengths[:-1]) > AROUND + 2]
    if len(inner) < LEAST:
        if len(episodes.firsts) > LEAST:
            value = f'episodes are too short to look for resets beside is_first: {AROUND + 3} steps are needed'
            yield _finding('reset_not_seen', episodes.firsts[1:], value)
        return
    jumps = _jumps(steps)
    near = jumps[inner[:, None] + np.arange(-AROUND, AROUND + 1)]  # (n, 2 x AROUND + 1)
    error = jumps.std() / np.sqrt(len(inner))
    above = np.divide(near.mean(0) - jumps.mean(), error, out=np.zeros(near.shape[1]), where=error > 0)
    second, most = np.sort(above)[-2:]
    shift = int(above.argmax()) - AROUND
    stands_out = abs(shift) <= 2 and most >= FAR and most >= CLEARLY * second
    wrong = near[:, AROUND + shift] > near[:, AROUND]
    if stands_out and shift and above[AROUND] < FAR and wrong.mean() > MOST:
        rows = f'{abs(shift)} row{"s" * (abs(shift) > 1)} {"after" if shift > 0 else "before"} is_first'
        value = f'at the borders of episodes observations jump {rows}, and not there'
        yield _finding('shifted_flags', inner[wrong], value)
        return
    strays = _strays(jumps, near, episodes)
    if strays.sum() >= max(STRAYS, STRAY_SHARE * len(inner)):
        value = f'at {strays.sum()} of {len(inner)} borders observations jump beside is_first, and not there'
        yield _finding('shifted_flags', inner[strays], value)
    elif shift or not stands_out:
        yield _finding('reset_not_seen', inner, 'no single row at the borders of episodes stands out by a jump')


def _strays(jumps: np.ndarray, near: np.ndarray, episodes: Episodes) -> np.ndarray:
    """(n,) bools of borders with the jump of a reset a row or two beside is_first, and none there."""
    beside = episodes.firsts[:, None] + np.arange(-2, 3)
    ordinary = np.delete(jumps, np.unique(beside.clip(0, len(jumps) - 1)))
    seen = near[:, AROUND - 2 : AROUND + 3] > np.quantile(ordinary, 1 - RARE)  # (n, 5)
    has_reset = seen.any(1)
    return has_reset & ~seen[:, 2] & (has_reset.mean() >= SEEN)


def _jumps(steps: Steps) -> np.ndarray:
    """(N,) how far the observation of each row is from that of the row before; 0 for the first.

    Components of a vector, and an image as a whole, are in units of their mean change from row to row.
    """
    total = np.zeros(steps.rows, np.float32)
    for key in steps.observed:
        mean = sum(np.abs(change).sum(0, dtype=np.float64) for change in _changes(steps, key)) / steps.rows
        if key == 'image':
            mean = np.full_like(mean, mean.mean())
        scale = np.divide(1, mean, out=np.zeros_like(mean), where=mean > 0)
        row = 0
        for change in _changes(steps, key):
            total[row : row + len(change)] += (np.abs(change) * scale).mean(1)
            row += len(change)
    return total


def _changes(steps: Steps, key: str) -> Iterator[np.ndarray]:
    """Pieces (n, D) of the change of an observation from the row before; 0 in the first row."""
    before = None
    for piece in steps.read(key):
        values = np.nan_to_num(_thinned(piece).astype(np.float32), nan=0, posinf=0, neginf=0)
        yield np.diff(values, axis=0, prepend=values[:1] if before is None else before)
        before = values[-1:]


def _thinned(piece: np.ndarray) -> np.ndarray:
    """(n, D) numbers of a piece: of an image every fourth pixel along each side."""
    return (piece[:, ::4, ::4] if piece.ndim == 4 else piece).reshape(len(piece), -1)


class Range(NamedTuple):
    """The values that an observation takes."""

    low: np.ndarray  # the lowest finite value of each component, float64; inf if there is none
    high: np.ndarray  # the highest; -inf if there is none
    broken: np.ndarray  # rows with a value that is not finite
    example: str  # the first of these values


def _range(steps: Steps, key: str) -> Range:
    low, high, broken, example, row = np.inf, -np.inf, [], '', 0
    for piece in steps.read(key):
        if piece.dtype.kind == 'f':
            finite = np.isfinite(piece)
            broken.append(row + np.flatnonzero(~finite.all(1)))
            example = example or _first(piece, ~finite)
            low = np.minimum(low, np.where(finite, piece, np.inf).min(0))
            high = np.maximum(high, np.where(finite, piece, -np.inf).max(0))
        else:
            low, high = np.minimum(low, piece.min(0)), np.maximum(high, piece.max(0))
        row += len(piece)
    rows = np.concatenate(broken) if broken else np.zeros(0, np.int64)
    return Range(np.asarray(low, np.float64), np.asarray(high, np.float64), rows, example)


def _first(values: np.ndarray, wrong: np.ndarray) -> str:
    """The first value (n, size) that is wrong, with its component; '' if none is."""
    found = np.argwhere(wrong)
    return f'component {found[0][1]} is {values[tuple(found[0])]:g}' if len(found) else ''


# Rewards.


def _rewards(reward: np.ndarray, episodes: Episodes) -> Iterator[Finding]:
    if len(rows := np.flatnonzero(~np.isfinite(reward))):
        yield _finding('reward_not_finite', rows, f'reward is {reward[rows[0]]}')
    arrived = np.ones(len(reward), bool)
    arrived[episodes.firsts] = False
    given = reward[arrived]
    if len(given) and (given == given[0]).all():
        kind = 'zero_rewards' if given[0] == 0 else 'constant_rewards'
        yield _finding(kind, np.flatnonzero(arrived), f'every reward is {given[0]:g}')
    at_reset = episodes.firsts[np.isfinite(reward[episodes.firsts]) & (reward[episodes.firsts] != 0)]
    if len(at_reset):
        value = f'reward is {reward[at_reset[0]]:g} where is_first is true'
        yield _finding('reward_at_reset', at_reset, value)


# Actions.


def _actions(steps: Steps, flags: np.ndarray, discrete: bool | None, are_cut: bool) -> Iterator[Finding]:
    """Actions that were chosen, which are those of all rows but the last of an episode.

    If environments cut them (`are_cut`), they may lie outside of [-1, 1].
    """
    size = steps.like['action'][0][0]
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    used = np.zeros(size, np.int64)
    broken, outside, unclear = [], [], []
    not_finite, beyond, example = '', '', ''  # the first value of each
    row = 0
    for piece in steps.read('action'):
        chosen = np.flatnonzero((flags[row : row + len(piece)] & LAST) == 0)
        values = piece[chosen]
        finite = np.isfinite(values).all(1)
        one_hot = (np.sort(values, axis=1)[:, -1] == 1) & ((values != 0).sum(1) == 1)
        too_large = finite[:, None] & (np.abs(values) > 1 + 1e-5)
        broken.append(row + chosen[~finite])
        outside.append(row + chosen[too_large.any(1)])
        unclear.append(row + chosen[finite & ~one_hot])
        not_finite = not_finite or _first(values, ~np.isfinite(values))
        beyond = beyond or _first(values, too_large)
        if not example and len(unclear[-1]):
            example = ', '.join(f'{value:g}' for value in values[finite & ~one_hot][0][:MOST_ROWS])
        used += np.bincount(values[one_hot].argmax(1), minlength=size)
        if finite.any():
            low, high = np.minimum(low, values[finite].min(0)), np.maximum(high, values[finite].max(0))
        row += len(piece)
    broken, outside, unclear = np.concatenate(broken), np.concatenate(outside), np.concatenate(unclear)
    if discrete is None:
        discrete = size > 1 and len(unclear) + len(broken) < used.sum()
    if len(broken):
        yield _finding('action_not_finite', broken, f'{not_finite} at the first of them')
    if discrete:
        if len(unclear):
            yield _finding('action_not_one_hot', unclear, f'the first of them is {example}')
        if len(unused := np.flatnonzero(used == 0)):
            names = ', '.join(map(str, unused))
            yield _finding('unused_action', [], f'of {size} discrete actions these are never chosen: {names}')
        return
    if len(outside) and not are_cut:
        value = f'{beyond} at the first of them; actions reach from {low.min():g} to {high.max():g}'
        yield _finding('action_outside', outside, value)
    for index in np.flatnonzero(low == high):
        yield _finding('unused_action', [], f'component {index} of the action is always {low[index]:g}')


# Observations.


def _observations(key: str, seen: Range) -> Iterator[Finding]:
    if len(seen.broken):
        yield _finding('vector_not_finite', seen.broken, f'{seen.example} at the first of them')
    low, high = seen.low, seen.high
    if key == 'image':
        if (low == high).all():
            yield _finding('constant_image', [], 'the image never changes')
        return
    if len(same := np.flatnonzero(low == high)):
        names = ', '.join(map(str, same[:MOST_ROWS].tolist()))
        more = f' and {len(same) - MOST_ROWS} more' if len(same) > MOST_ROWS else ''
        value = f'component {names} is always {low[same[0]]:g}'
        if len(same) > 1:
            value = f'components {names}{more} never change; the first of them is always {low[same[0]]:g}'
        yield _finding('constant_dimension', [], value)


# Episodes.


def _endings(flags: np.ndarray, episodes: Episodes, limit: int | None) -> Iterator[Finding]:
    """Episodes that end at the time limit and are called terminal all the same, and those that are longer."""
    terminal = (flags[episodes.lasts] & TERMINAL) > 0
    lengths = episodes.lengths
    if limit is not None and len(beyond := np.flatnonzero(lengths > limit + 1)):
        value = f'{len(beyond)} of {len(lengths)} episodes have more than the {limit + 1} steps that the task allows'
        yield _finding('beyond_limit', episodes.firsts[beyond], value)
    longest = lengths.max()  # a time limit shows as a longest length that many episodes share
    at_limit = terminal & (lengths == longest)
    others = lengths[lengths != longest]
    most_shared = np.bincount(others).max() if len(others) else 0
    is_limit = longest > AROUND and at_limit.sum() >= max(LEAST, 3 * most_shared)
    is_known = limit is not None and longest == limit + 1
    if is_limit or (is_known and at_limit.sum() > 1):
        name = 'the time limit' if is_known else 'which looks like a time limit'
        value = f'{at_limit.sum()} of {len(lengths)} episodes have {longest} steps, {name}, and are terminal'
        yield _finding('truncation_as_termination', episodes.lasts[at_limit], value)


def _repeated(steps: Steps, episodes: Episodes) -> Iterator[Finding]:
    """Episodes with the same bytes as an earlier one."""
    sums = [episodes.lengths]
    for key in (*steps.observed, 'action', 'reward'):
        checksums = np.zeros(len(episodes.firsts), np.int64)
        row = 0
        for piece in steps.read(key):
            touched = range(*np.searchsorted(episodes.firsts, [row, row + len(piece)]))
            opened = np.searchsorted(episodes.firsts, row, side='right') - 1
            for index in dict.fromkeys((opened, *touched)):
                first = max(0, episodes.firsts[index] - row)
                data = np.ascontiguousarray(piece[first : episodes.lasts[index] + 1 - row])
                checksums[index] = zlib.crc32(data, int(checksums[index]))
            row += len(piece)
        sums.append(checksums)
    table = np.stack(sums, 1)
    _, earliest, group = np.unique(table, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(earliest[group.reshape(-1)] != np.arange(len(table)))
    if len(again):
        original = episodes.firsts[earliest[group.reshape(-1)[again[0]]]]
        value = f'{len(again)} of {len(table)} episodes repeat earlier ones; the first of them that of row {original}'
        yield _finding('repeated_episode', episodes.firsts[again], value)


def _sizes(episodes: Episodes, length: int, of_run: bool) -> Iterator[Finding]:
    if len(single := np.flatnonzero(episodes.lengths == 1)) and not of_run:
        value = f'{len(single)} of {len(episodes.lengths)} episodes have a single step: no action and no reward'
        yield _finding('no_transition', episodes.firsts[single], value)
    if len(short := np.flatnonzero(episodes.lengths < length)):
        shortest = episodes.lengths[short].min()
        value = f'{len(short)} of {len(episodes.lengths)} episodes are shorter than {length} steps, '
        value += f'the shortest has {shortest}'
        yield _finding('short_episode', episodes.firsts[short], value)
    if len(episodes.firsts) < ENOUGH:
        count = len(episodes.firsts)
        yield _finding(
            'few_episodes', episodes.firsts, f'there {"is 1 episode" if count == 1 else f"are {count} episodes"}'
        )


def table(findings: list[Finding]) -> list[dict[str, Any]]:
    """The findings as rows of a table."""
    rows = []
    for finding in findings:
        listed = ' '.join(map(str, finding.rows[:4]))
        more = f' ... ({finding.count:,})' if finding.count > 4 else ''
        place = ''.join(finding.places[:1]) + ' ...' * (len(finding.places) > 1)
        of_rows = {'rows': listed + more if listed else 'all', 'places': place}
        rows.append(dataclasses.asdict(finding) | of_rows)
    return rows
