"""How the outcome of the claims is shown as HTML: the verdict, the claim in words, and how sure it is."""

import dataclasses
import html
import math
from typing import Any

import pandas as pd

from paper_lib.study import claims, tables
from paper_lib.study.verdicts import number, probability

HEADINGS = ('verdict', 'claim', 'estimate, 95 % interval', 'p', 'adjusted p', 'pairs')


@dataclasses.dataclass(frozen=True)
class Claims(tables.Table):
    """A table of claims (`claims.table`) with its caption, as a notebook shows it."""

    def _repr_html_(self) -> str:
        return as_html(self.frame) + tables.shown(self.caption)


def as_html(frame: pd.DataFrame) -> str:
    """Rows of `claims.table`. Those without runs stand below the others, and open on a click."""
    has_runs = frame.pairs > 0
    text = _table(frame[has_runs]) if has_runs.any() else '<p>No row of these claims has runs yet.</p>'
    without = frame[~has_runs]
    if len(without):
        rows = 'row' if len(without) == 1 else 'rows'
        text += f'<details><summary>no runs yet: {len(without)} {rows}</summary>{_wanting(without)}</details>'
    return text


def _table(frame: pd.DataFrame) -> str:
    head = ''.join(f'<th>{heading}</th>' for heading in HEADINGS)
    lines = []
    last = ''
    for row in frame.to_dict('records'):
        lines.append(_line(row, named=row['id'] != last))
        last = row['id']
    return f'<table class="claims"><tr>{head}</tr>{"".join(lines)}</table>'


def _line(row: dict[str, Any], named: bool) -> str:
    """One row. A claim is named in the first of its rows only."""
    claim = f'<b>{row["id"]}</b> {html.escape(row["claim"])}' if named else f'<b>{row["id"]}</b>'
    details = html.escape(f'{row["row"]}: {row["statistic"]}. {row["words"]}')
    cells = [
        f'<span class="{row["verdict"]}">{row["verdict"]}</span>',
        f'{claim}<small>{details}</small>',
        estimate(row),
        probability(row['p']),
        probability(row['adjusted_p']),
        str(row['pairs']),
    ]
    # On a narrow page the cells of a row stand below each other, each after its heading.
    marked = [f'<td data-heading="{heading}">{cell}</td>' for heading, cell in zip(HEADINGS, cells, strict=True)]
    return f'<tr>{"".join(marked)}</tr>'


def _wanting(frame: pd.DataFrame) -> str:
    """Rows without runs, and what they need."""
    lines = []
    for row in frame.to_dict('records'):
        words = html.escape(f'{row["row"]}: {row["statistic"]}. {row["words"]}')
        lines.append(f'<li><b>{row["id"]}</b> {html.escape(row["claim"])} <small>{words}</small></li>')
    return f'<ul>{"".join(lines)}</ul>'


def estimate(row: dict[str, Any]) -> str:
    """The estimate of a row with its interval, if the row has one."""
    value = number(row['estimate'])
    if not math.isfinite(row['low']) or not math.isfinite(row['high']):
        return value
    return f'{value} [{number(row["low"])}, {number(row["high"])}]'


def sentences(frame: pd.DataFrame) -> list[str]:
    """Two sentences on the primary rows of all claims: whether Passive does worse, and what the verdicts are."""
    by_id = {row['id']: row for row in frame.to_dict('records')}
    return [_degradation(by_id['C1']), _verdicts(frame)]


def _degradation(row: dict[str, Any]) -> str:
    """The outcome of claim C1."""
    if not row['pairs']:
        return 'No pair of Passive and Active has run yet at this scale.'
    direction = 'below' if row['estimate'] < 0 else 'above'
    size = number(abs(row['estimate']))
    interval = f'95 % interval {number(row["low"])} to {number(row["high"])}'
    if not math.isfinite(row['low']):
        interval = 'too few pairs for an interval'
    judged = {
        claims.SUPPORTED: 'this supports the claim that it ends lower',
        claims.CONTRADICTED: 'this contradicts the claim that it ends lower',
        claims.UNDECIDED: 'this does not decide whether it ends lower',
    }[row['verdict']]
    tasks = 'task' if row['tasks'] == 1 else 'tasks'
    return (
        f'In {row["pairs"]} pairs of runs on {row["tasks"]} {tasks}, Passive ends {size} {direction} Active on '
        f'average, where random actions score 0 and Active scores 1 ({interval}): {judged}.'
    )


def _verdicts(frame: pd.DataFrame) -> str:
    """How many claims have which verdict, and which ones are decided."""
    parts = []
    for verdict in (claims.SUPPORTED, claims.CONTRADICTED, claims.UNDECIDED):
        ids = list(frame.id[frame.verdict == verdict])
        listed = f' ({", ".join(ids)})' if ids and verdict != claims.UNDECIDED else ''
        parts.append(f'{len(ids)} {"is" if len(ids) == 1 else "are"} {verdict}{listed}')
    without = (frame.verdict == claims.NO_RUNS).sum()
    return f'Of {len(frame)} claims, {", ".join(parts)}, and {without} {"has" if without == 1 else "have"} no runs yet.'
