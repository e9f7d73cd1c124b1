"""A figure on disk: its picture, its caption, and where it comes from."""

import base64
import dataclasses
import hashlib
import html
import io
from pathlib import Path

from matplotlib.figure import Figure

import paper_lib
from paper_lib import tasks
from paper_lib.study import claims, paths, published, style, tables
from paper_lib.study.figures import OUTLIER
from paper_lib.study.frames import Frames
from paper_lib.study.style import LOOKS

BAND = 'Thin lines: seeds; thick: their mean; band, from three seeds on: 95 % bootstrap interval of the mean.'
VALUES = {'band': BAND, 'outlier': OUTLIER, 'enough': claims.ENOUGH, 'margin': claims.MARGIN, 'last': published.LAST,
          'at': published.AT}  # fmt: skip
CONTENT = {
    'figure_base_agent': """Episode score of our agent over the published scores of DreamerV3 v1 at size S
        (danijar/dreamerv3 at commit 423291a; dashed: their mean; black bar: their range at 250,000 steps; dotted:
        below this something would be wrong). Ours: mean of 4 evaluation episodes; theirs: training episodes, one or
        two per point. {band} Losses, actor gradient (through the learned dynamics) and number of updates per agent
        step (0.5) are v1's.""",
    'figure_2': """(a) Episode score, mean of 4 episodes per evaluation. {band}
        (b-d) First of the 4 episodes of the final evaluation, pair seed {first} (a rule fixed in advance), from the
        yellow dot; episodes start in the dotted square, the red circle is the goal. Above: over the number of states
        per 1 cm cell in the replay that the agent learned from (log colours, grey: never visited). Below: coloured by
        world-model loss (log colours). Table: median count over the distinct cells that the trajectory covers; the
        median of that over all final episodes and seeds; the number in the paper (1M steps, size S, cell size not
        stated).""",
    'figure_2_curves': """(a) World-model loss on the evaluation episodes. (b-d) Value of their first state, its
        discounted return, and the difference (as Fig. S2). {band}""",
    'figure_5': """States in the final replay of three agents that collect their own data, one run each (pair
        seed {first}): for the task (how: see below), for exploration alone, for both. One logarithmic colour scale;
        grey: never visited; dark red: above the {outlier:g}th percentile of visited cells. Dotted: where episodes
        start. The paper draws this from the vision variant.""",
    'figure_5_curves': """Agents trained on the data of the two explorers, all evaluated on the task; dashed: mean of
        the Active agent. {band}""",
    'table_base_agent': """Mean score of the last {last} evaluations up to {at:,} environment steps, the range of the
        published seeds there, and where ours lies.""",
    'table_visitation': """Median number of states per 1 cm cell in the replay that the agent learned from, over the
        distinct cells that a final-evaluation trajectory covers. shown: the trajectory of Fig. 2 (pair seed {first});
        then the median and mean over all final episodes and seeds; the paper's number (1M steps, size S, cell size not
        stated).""",
    'table_claims': """Each row compares agents of the same task and pair seed (n pairs); a final value is the mean over
        the last tenth of the evaluations. estimate: interquartile mean over pairs; low, high: its 95 % bootstrap
        interval, resampled within tasks. The verdict says whether the interval lies where the claim puts it: on one
        side of zero, or within {margin:g} of it where two agents are to be equal; undecided if it does not tell or n is
        below {enough}.""",
    'table_sensitivity': """Claim C1 with other shares of the evaluations as final values and other means over pairs;
        estimate, interval and verdict as in the tables of claims, which use the rows marked `as used`.""",
    'table_S1': """The environments as this library makes them: read from its own table of tasks.""",
    'table_S2': """Environment steps that the adaptive agent added, in percent of its source's: mean over seeds, lowest
        and highest seed, number of runs; the paper's percentage for the same task. The last row averages both over the
        tasks that have runs; the paper's average over all 31 tasks is 5.67 %.""",
}


def caption(name: str, frames: Frames, scale: str) -> str:
    """Two paragraphs: what figure or table `name` shows, of which runs, how they collect; what differs from v1."""
    spec = frames.specs[0]
    repeat = tasks.get(spec.task).repeat
    names = ', '.join(dict.fromkeys(s.task for s in frames.specs))
    lines = [
        ' '.join(CONTENT[name].split()).format(**VALUES, first=frames.first),
        f'Scale {scale}: {names}, {spec.budget:,} environment steps ({repeat} per agent step),',
        f'{spec.updates:,} updates. Number of seeds: {seeds(frames)}.',
        published.summary(frames) if name == 'figure_base_agent' else '',
        *dict.fromkeys(published.goal(spec) for spec in frames.specs),
        *dict.fromkeys(published.mixed(spec) for spec in frames.specs),
        f'{style.WARNING}.' if scale == 'smoke' else '',
        f'Missing: {len(frames.missing)} of {len(frames.specs)} runs.' if frames.missing else '',
    ]
    return ' '.join(line for line in lines if line) + f'\n\n{published.differences(frames.specs)}'


def seeds(frames: Frames) -> str:
    """How many runs there are of every agent, and of every task where there are several."""
    counts, names = frames.runs.groupby(['task', 'agent']).size(), dict.fromkeys(spec.task for spec in frames.specs)
    words = [f'{counts[task, agent]} {LOOKS[agent].label}' + (f' ({task})' if len(names) > 1 else '')
             for task in names for agent in LOOKS if (task, agent) in counts]  # fmt: skip
    return ', '.join(words) or 'none yet'


def provenance(frames: Frames, scale: str) -> dict[str, str]:
    """Scale, a hash of the ids of the runs in the figure, and the code's version."""
    ids = '\n'.join(sorted(frames.runs.run_id))
    return {'scale': scale, 'runs': hashlib.sha256(ids.encode()).hexdigest()[:16], 'code': paper_lib.__version__}


def save(figure: Figure, path: Path, provenance: dict[str, str]) -> None:
    """Write path.png and path.pdf with the provenance in their metadata and no dates: equal data, equal bytes."""
    words = ' '.join(f'{key}={value}' for key, value in provenance.items())
    metadata = {'png': {'Software': None, 'Description': words},
                'pdf': {'CreationDate': None, 'Producer': None, 'Creator': 'paper-lib', 'Keywords': words}}  # fmt: skip
    with style.context():
        for kind, entries in metadata.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=entries)
            paths.write(path.with_name(f'{path.name}.{kind}'), buffer.getvalue())


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A saved figure with its caption, as a notebook shows it."""

    png: bytes = dataclasses.field(repr=False)
    caption: str

    def _repr_html_(self) -> str:
        data, text = base64.b64encode(self.png).decode(), html.escape(self.caption.partition('\n')[0])
        image = f'<img style="max-width:100%" alt="{text}" src="data:image/png;base64,{data}"/>'
        return f'<figure>{image}<figcaption>{tables.shown(self.caption)}</figcaption></figure>'
