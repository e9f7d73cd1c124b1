"""How the outcome of the claims is shown as HTML: the verdict, the claim in words, and how sure it is."""

import dataclasses
import html
from typing import Any

import numpy as np
import pandas as pd

from paper_lib.study import claims, tables
from paper_lib.study.names import counted
from paper_lib.study.verdicts import estimate, of_planned, probability

HEADINGS = ('verdict', 'claim', 'estimate, 95 % interval', 'p', 'adjusted p', 'pairs')


@dataclasses.dataclass(frozen=True)
class Claims(tables.Table):
    """A table of claims (`claims.table`) with its caption, as a notebook shows it."""

    def _repr_html_(self) -> str:
        return as_html(self.frame) + tables.shown(self.caption)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out, as a notebook shows it: paragraphs, or points under headings.

    Points under other headings than those of a verdict for or against a claim open on a click.
    """

    paragraphs: list[str] = dataclasses.field(default_factory=list)
    points: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def _repr_html_(self) -> str:
        texts = list(filter(None, self.paragraphs))
        if not texts and not self.points:
            texts = ['No run has finished yet.']
        shown = [f'<p>{html.escape(text)}</p>' for text in texts]
        for heading, points in self.points.items():
            items = ''.join(f'<li>{html.escape(point)}</li>' for point in points)
            if heading.lower() in (claims.SUPPORTED, claims.CONTRADICTED):
                shown.append(f'<p>{heading} (with the estimate and its 95 % interval):</p><ul>{items}</ul>')
            else:
                summary = f'{heading}: {counted(len(points), "claim")}'
                shown.append(f'<details><summary>{summary}</summary><ul>{items}</ul></details>')
        return f'<div class="outcome">{"".join(shown)}</div>'


def as_html(frame: pd.DataFrame, compared: bool = True) -> str:
    """Rows of `claims.table`. Those with too few pairs or none stand below the others, and open on a click.

    Without `compared`, a row does not say what it compares.
    """
    has_pairs = frame.pairs > 0
    is_waiting = np.array([claims.waits(*row) for row in zip(frame.verdict, frame.pairs, frame.p)], bool)
    judged, waiting, lacking = frame[has_pairs & ~is_waiting], frame[is_waiting], frame[~has_pairs]
    text = _table(judged, compared) if len(judged) else '<p>None of these claims has pairs enough for a test yet.</p>'
    if len(waiting):
        text += _folded('undecided for want of pairs', waiting, _table(waiting, compared))
    if len(lacking):
        text += _folded('no pair to test yet', lacking, _wanting(lacking, compared))
    return text


def _folded(state: str, frame: pd.DataFrame, content: str) -> str:
    return f'<details><summary>{state}: {counted(len(frame), "row")}</summary>{content}</details>'


def _table(frame: pd.DataFrame, compared: bool) -> str:
    head = ''.join(f'<th>{heading}</th>' for heading in HEADINGS)
    lines = []
    last = ''
    for row in frame.to_dict('records'):
        lines.append(_line(row, row['id'] != last, compared))
        last = row['id']
    return f'<table class="claims"><tr>{head}</tr>{"".join(lines)}</table>'


def _line(row: dict[str, Any], named: bool, compared: bool) -> str:
    """One row. A claim is named in the first of its rows only."""
    claim = f'<b>{row["id"]}</b> {html.escape(row["claim"])}' if named else f'<b>{row["id"]}</b>'
    look = claims.SECONDARY if row['row'] == claims.SECONDARY else row['verdict']
    cells = [
        f'<span class="{look}">{row["verdict"]}</span>',
        f'{claim}{_details(row) if compared else ""}',
        estimate(row),
        probability(row['p']),
        probability(row['adjusted_p']),
        of_planned(row),
    ]
    # On a narrow page the cells of a row stand below each other, each after its heading.
    marked = [f'<td data-heading="{heading}">{cell}</td>' for heading, cell in zip(HEADINGS, cells, strict=True)]
    return f'<tr>{"".join(marked)}</tr>'


def _wanting(frame: pd.DataFrame, compared: bool) -> str:
    """Rows without pairs, and what they need."""
    lines = []
    for row in frame.to_dict('records'):
        details = _details(row) if compared else ''
        lines.append(f'<li><b>{row["id"]}</b> {html.escape(row["claim"])} {details}</li>')
    return f'<ul>{"".join(lines)}</ul>'


def _details(row: dict[str, Any]) -> str:
    """What a row compares, and what came out, in small letters."""
    text = f'{row["row"]}: {row["statistic"]}. {row["words"]}'
    return f'<small>{html.escape(text)}</small>'
