"""Pages on which a click starts three agents: the data and the script that draws them are in the page."""

import base64
import html
from pathlib import Path
from typing import Any

from paper_lib.contract import agents
from paper_lib.pages import layout
from paper_lib.study import conclusion, paths, starts
from paper_lib.study.names import unwrapped

SCRIPT = Path(__file__).with_name('clicks.js')
BEGIN = 'Click or drag in a map to choose a start. The nearest of the {count} starts that were played is taken.'
# What else is said of a task.
DETAILS = {
    'point_mass_maze-proprio': """The point starts there at rest, and every agent goes on from this place. The red
        circle is the goal.""",
    'walker_walk-proprio': """It is a height and a speed of the torso. Every agent starts from the same pose: the body
        is straight, and leans forward until its torso has this height. The faint line is the whole episode, and the
        strong line is the part around the present step. Below each map is the body as the agent observes it. The red
        lines are the body as the world model imagines it: every {every} steps it begins at what the model knows, and
        then imagines {ahead} steps without looking.""",
}
READING = """Grey: places in the recording that all three agents learned from; darker places were visited more often.
    White: places that the recording never visits. The colour of a path and of the bars below it is the loss of the
    agent's own world model, from {low:.2g} (dark blue) to {high:.2g} (yellow). Dashed red: what the agent imagined
    at the last multiple of {every} steps, {ahead} steps ahead. Yellow dot: the start. White dot: the present step. A
    dashed path begins where the model believes the agent to be, which may be away from the white dot."""
ORIGIN = """Each path is one episode, played by the weights in <code>figures/weights</code> with sampled actions.
    <code>paper-lib starts</code> plays them again. Runs: {runs}."""
PAIR = """One episode of one pair (pair seed {pair_seed}) shows what can happen, but cannot decide a claim. {scores}"""


def write(scale: str) -> list[Path]:
    """Write the page of every task that has data at this scale. Returns their paths."""
    written = []
    for task in starts.there(scale):
        path = paths.drawings(scale) / f'{layout.clickable(task)}.html'
        paths.write(path, render(task, scale).encode())
        written.append(path)
    return written


def render(task: str, scale: str) -> str:
    """The page of a task."""
    found = starts.load(task, scale)
    header = found.header
    low, high = header['losses']
    words = {name: header[name] for name in ('every', 'ahead', 'pair_seed')}
    words |= {'low': low, 'high': high, 'runs': ', '.join(map(html.escape, header['runs']))}
    _, (count, *_) = header['arrays']['starts']  # type, shape
    words |= {'scores': conclusion.scores(header['runs'], scale), 'count': count}
    stem = layout.clickable(task)
    title = layout.called(stem)
    body = '\n'.join(
        [
            layout.heading(1, title),
            f'<p>{BEGIN.format(**words)} {unwrapped(DETAILS.get(task, "")).format(**words)}</p>',
            f'<p>{unwrapped(PAIR).format(**words)}</p>',
            _controls(),
            f'<div class="agents">{"".join(_agent(name, header) for name in header["agents"])}</div>',
            f'<p class="small">{unwrapped(READING).format(**words)}</p>',
            f'<p class="small">{unwrapped(ORIGIN).format(**words)}</p>',
            f'<script id="data" type="text/plain">{base64.b64encode(found.content).decode()}</script>',
            f'<script>{SCRIPT.read_text("utf-8")}</script>',
        ]
    )
    return layout.page(title, body, layout.navigation(stem, scale))


def _controls() -> str:
    """Buttons that choose a start, and the slider through the episode."""
    return (
        '<div class="controls"><button id="usual">a usual start</button> <button id="rare"></button> '
        '<button id="play">play</button> <label>step <input id="step" type="range" min="0" value="0"></label>'
        '<div id="status" role="status">This page needs JavaScript.</div></div>'
    )


def _agent(name: str, header: dict[str, Any]) -> str:
    """The pictures of one agent."""
    row = agents.get(name)
    across, up = (html.escape(label) for label in header['plane']['labels'])
    body = '<canvas class="body"></canvas>' if header['body'] else ''
    return (
        f'<figure data-agent="{name}" data-color="{row.color}"><figcaption>'
        f'<b style="border-bottom: 3px solid {row.color}">{row.label}</b> <span class="score"></span></figcaption>'
        f'<canvas class="map" role="img" aria-label="{across}, {up}"></canvas>'
        f'<div class="axes">→ {across}, ↑ {up}</div>{body}<canvas class="curve"></canvas></figure>'
    )
