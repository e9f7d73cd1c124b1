"""A figure on disk: PNG and PDF with their provenance, and its caption."""

import base64
import dataclasses
import hashlib
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import paper_lib
from paper_lib.contract import agents
from paper_lib.study import panels, paths, style, tables
from paper_lib.study.frames import Frames


def provenance(frames: Frames) -> str:
    """Scale, a hash of the ids of the runs in the figure, and the code's version, in words for the file's metadata."""
    ids = '\n'.join(sorted(frames.runs.run_id))
    digest = hashlib.sha256(ids.encode()).hexdigest()
    return f'scale={frames.scale} runs={digest[:16]} code={paper_lib.__version__}'


def save(figure: Figure, path: Path, provenance: str) -> bytes:
    """Write path.png and path.pdf with the provenance in their metadata, equal data as equal bytes; returns the PNG."""
    picture = png(figure, provenance)
    metadata = {'CreationDate': None, 'Producer': None, 'Creator': 'paper-lib', 'Keywords': provenance}
    paths.write(path.with_name(f'{path.name}.png'), picture)
    paths.write(path.with_name(f'{path.name}.pdf'), _encoded(figure, 'pdf', metadata))
    return picture


def png(figure: Figure, provenance: str | None = None) -> bytes:
    """The figure as PNG with the provenance in its metadata and no date: equal data give equal bytes."""
    with style.context():
        _lay_out(figure)
    return _encoded(figure, 'png', {'Software': None, 'Description': provenance})


def _encoded(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    with style.context():
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def _lay_out(figure: Figure) -> None:
    """Place the axes once and for all, to a millionth of the figure.

    The solver of constrained layouts gives places whose last bits differ from call to call.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6))


def as_html(png: bytes, alternative: str, below: str) -> str:
    """A figure as HTML, no wider than its place.

    `alternative` is read to those who cannot see the figure. `below` is HTML that stands below it.
    """
    data = base64.b64encode(png).decode()
    image = f'<img style="max-width:100%" alt="{html.escape(alternative)}" src="data:image/png;base64,{data}"/>'
    return f'<figure>{image}<figcaption>{below}</figcaption></figure>'


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A saved figure with its caption, as a notebook shows it."""

    png: bytes = dataclasses.field(repr=False)
    caption: str

    def _repr_html_(self) -> str:
        return as_html(self.png, tables.spoken(self.caption), tables.shown(self.caption))


def plot(table: pd.DataFrame, **options: Any) -> Axes:
    """Lines of a table of one's own in the look of the figures: its index is x, and each column is a line.

    A column that is named as an agent has its label and colour. `options` are those of `Axes.set`. The axes can be
    changed further.
    """
    from matplotlib import pyplot

    with style.context():
        _, axes = pyplot.subplots(figsize=(7, 3.5), layout='constrained')
        for name, column in table.items():
            row = agents.AGENTS.get(name)
            look = {'label': row.label, 'color': row.color} if row else {'label': name}
            axes.plot(table.index, column, **look)
        axes.set_xlabel(table.index.name)
        if table.index.name == 'env_step':
            panels.steps(axes)
        axes.set(**options)
        if len(table.columns):
            axes.legend(title=None if set(table.columns) <= set(agents.AGENTS) else table.columns.name)
    return axes
