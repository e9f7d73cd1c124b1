"""What README.md and docs/ say of the runs, written from the archive of scale laptop and the tables in docs/*.csv.

A page holds the text between `<!-- runs: NAME -->` and `<!-- end -->`, where NAME is a name of BLOCKS.
"""

import json
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from paper_lib.contract import agents
from paper_lib.contract.errors import UserError, choose
from paper_lib.study import (
    archive,
    artefacts,
    book,
    catalogue,
    claims,
    conclusion,
    offline,
    paths,
    plan,
    scales,
    screening,
    sealed,
    sensitivity,
    tables,
    verdicts,
)
from paper_lib.study.frames import Frames
from paper_lib.study.names import listed, word

SCALE = 'laptop'
BLOCK = re.compile(r'(<!-- runs: (\w+) -->\n).*?(<!-- end -->)', re.DOTALL)
ALL_CLAIMS = 'docs/results.md#the-claims'
ALL_FIGURES = 'docs/results.md#every-figure-and-table'
COMMITS = 'docs/commits.csv'  # the commit of every hash of code that trained a run
DIAGNOSES = 'docs/diagnoses.csv'  # what `diagnose` said of recordings of this study and of Minari


def write() -> list[Path]:
    """Write every page again whose blocks have changed; returns these pages. Raises UserError for an unknown block."""
    changed = []
    for path in pages():
        old = path.read_text('utf-8')
        new = filled(old)
        if new != old:
            paths.write(path, new.encode())
            changed.append(path)
    return changed


def pages() -> list[Path]:
    """The pages that may hold blocks. Raises UserError outside of a checkout."""
    found = paths.documents()
    if not found:
        raise UserError(f'{paths.root() / "README.md"}: not there; run this from a checkout of the repository')
    return found


def filled(text: str) -> str:
    """The text of a page with its blocks as they are now."""

    def block(match):
        return f'{match[1]}{choose("block", match[2], BLOCKS)().rstrip()}\n{match[3]}'

    return BLOCK.sub(block, text)


# What came out.


def answer() -> str:
    """What came out, in sentences and points."""
    found = conclusion.conclude(SCALE, verdicts.primary_table(SCALE))
    came_out = _wrapped(filter(None, [f'**{found.answer}**', found.effect, found.context]))
    points = '\n'.join(_wrapped([point], first='- ', others='  ') for point in found.points)
    beyond = _wrapped([f'**{conclusion.ASKED}**', offline_measures()])
    return f'{came_out}\n\n{points}\n\n{beyond}'


def offline_measures() -> str:
    """Which measures tell, without a step in an environment, who has degraded."""
    return _wrapped(conclusion.without_acting(offline.table(_frames('table_offline'))))


def _wrapped(sentences: Iterable[str], first: str = '', others: str = '') -> str:
    """Sentences as a paragraph of at most 128 letters a line, with these letters before the first line and others."""
    lines = textwrap.wrap(
        ' '.join(sentences), 128, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )
    return '\n'.join(lines)


# Claims.


def primary_claims() -> str:
    """The primary row of every claim with pairs enough for a test, and how many there are besides."""
    rows = [row for row in verdicts.primary(SCALE) if row['pairs']]
    judged = [row for row in rows if not claims.waits(row['verdict'], row['pairs'], row['p'])]
    table = [_judged(row, {'claim': f'{row["id"]}: {row["claim"]}'}) for row in judged]
    parts = [_table(table)] if table else []
    others = len(claims.TEXTS) - len(judged)
    if others:
        parts.append(f'For {word(others)} more claims there are too few pairs, or none: [all claims]({ALL_CLAIMS}).')
    return '\n'.join(parts)


def _judged(row: dict[str, Any], what: dict[str, str]) -> dict[str, str]:
    """The cells of a row: its verdict, which a narrow page shows first, what is tested, and the numbers in words."""
    words = verdicts.words(row)
    return {'verdict': words.pop('verdict')} | what | words


def every_claim() -> str:
    """A heading and a table for every claim with pairs; then the others."""
    by_claim = {}
    for row in verdicts.rows(SCALE):
        by_claim.setdefault(row['id'], []).append(row)
    parts, waiting = [], []
    for name, rows in by_claim.items():
        tested = [row for row in rows if row['pairs']]
        if not tested:
            waiting.append(f'- {name}: {rows[0]["claim"]}')
            continue
        table = []
        for row in tested:
            what = {'row': row['row'], 'compared': row['statistic'], 'asked': row['asked'], 'on': row['on']}
            table.append(_judged(row, what))
        parts.append(f'### {name}: {rows[0]["claim"]}\n\n{_table(table)}')
    return '\n'.join([*parts, '### Claims without a pair to test', '', *waiting])


def other_choices() -> str:
    """How often C1 would be supported if final values were defined in another way."""
    rows = sensitivity.table(_frames('table_sensitivity'))
    passive = agents.get('passive').label
    (used,) = rows[(rows.choice == sensitivity.AS_USED) & (rows.agent == passive)].verdict
    counts = (rows.verdict == claims.SUPPORTED).groupby(rows.agent, sort=False).sum()
    parts = [f'{word(count)} for {label}' for label, count in counts.items()]
    return _wrapped([
        f'Of {word(len(rows) // len(counts))} ways to define final values and to average them, each taken alone, C1 is '
        f'{claims.SUPPORTED} in {listed(parts)}. With the one that the protocol fixed it is {used} for {passive}.'
    ])  # fmt: skip


def _table(rows: list[dict[str, Any]]) -> str:
    return tables.from_lines([list(rows[0]), *([str(value) for value in row.values()] for row in rows)])


# Tables of results.


def _of_entry(name: str) -> str:
    """A table of the catalogue."""
    entry = catalogue.ENTRIES[name]
    return tables.markdown(entry.make(_frames(name)))


def _frames(name: str) -> Frames:
    return book.shown(name, scales.get(SCALE))


def maze_finals() -> str:
    """The final score of every run of the compared agents in the maze, a row per pair."""
    from paper_lib.study import overview

    return tables.markdown(overview.finals(_frames('figure_2'), agents.group('compared')))


def training() -> str:
    """For every notebook, what it costs to train all that it lacks, and the claims that this gives pairs to."""
    waiting = {}  # why no run of the scale can decide it, '' if runs can -> ids of claims
    for claim, reason in verdicts.waiting(SCALE).items():
        waiting.setdefault(reason, []).append(claim)
    decidable = waiting.pop('', [])
    scale = scales.get(SCALE)
    tested = set(plan.specs('study', scale, optional=True, exploratory=False))
    archived = archive.ids(paths.archive(SCALE), 'study')
    finished = {spec for spec in tested if spec.run_id in archived}
    rows = []
    for name in catalogue.NOTEBOOKS:
        opened = book.open(name, {'scale': SCALE, 'train': 'no'}, None)
        if lacking := opened.lacking('all'):
            given = claims.given_pairs(finished, {*finished, *tested.intersection(lacking)}, scale.agents('study'))
            own = ', '.join(claim for claim in given if claim in decidable)
            command = f'`paper-lib notebooks {name} -p train all`'
            trains = {'trains': f'{len(lacking)} runs', 'takes': opened.hours('all')}
            rows.append({'command': command} | trains | {'claims that get pairs': own})
    text = _table(rows) if rows else 'Every run that scale laptop plans has a result.\n'
    if waiting:
        others = '; '.join(f'{listed(ids)} ({reason})' for reason, ids in waiting.items())
        text += f'\n{verdicts.NO_RUN_DECIDES} these claims: {others}.\n'
    return text


# Where the runs come from.


def trained_by() -> str:
    """Which commit trained which runs, and how long they took."""
    known = pd.read_csv(paths.root() / COMMITS, dtype=str, keep_default_na=False).set_index('code')
    groups = {}
    hours = 0.0
    for chapter in scales.get(SCALE).chapters:
        columns = ['task', 'agent', 'pair_seed', 'provenance']
        for run in sealed.columns(paths.archive(SCALE), chapter, 'runs', columns):
            provenance = json.loads(run['provenance'])
            hours += provenance['seconds'] / 3600
            key = (chapter, run['task'], tuple(provenance['code']))
            groups.setdefault(key, []).append((run['agent'], run['pair_seed']))
    rows = []
    for (chapter, task, codes), runs in groups.items():
        found = [known.loc[code] for code in codes if code in known.index]
        rows.append(
            {
                'chapter': chapter,
                'task': task,
                'agents and pair seeds': _runs(runs),
                'commit': ', '.join(row.commit for row in found) or 'not known',
                'code hash': ', '.join(codes),
                'note': ', '.join(row.note for row in found if row.note),
            }
        )
    total = sum(map(len, groups.values()))
    return f'{_table(rows)}\nThese {total} runs took {hours:.0f} hours, each on one core.\n'


def _runs(runs: list[tuple[str, int]]) -> str:
    """Agents by their pair seeds: 'Active, Passive: 0, 1; Tandem: 0'."""
    seeds_of = {}
    for agent, seed in runs:
        seeds_of.setdefault(agent, []).append(seed)
    agents_of = {}
    for agent in agents.AGENTS:
        if agent in seeds_of:
            seeds = ', '.join(map(str, sorted(seeds_of[agent])))
            agents_of.setdefault(seeds, []).append(agents.get(agent).label)
    return '; '.join(f'{", ".join(names)}: {seeds}' for seeds, names in agents_of.items())


def diagnosis_today() -> str:
    """What a diagnosis can say with the known runs of today."""
    from paper_lib.study import diagnosis

    doubts = diagnosis.standing_doubts(diagnosis.learn(diagnosis.known()))
    if doubts:
        return _wrapped([f'**Today every diagnosis ends with *{diagnosis.CANNOT_TELL}*.**', *doubts])
    return _wrapped(['**Today a diagnosis can end with each of the three verdicts.**'])


def standings() -> str:
    """How many of the paper's figures are complete."""
    found = artefacts.standings(scales.get(SCALE))
    states = [found[entry.name].state for entry in artefacts.NUMBERED if entry.is_figure]
    complete, partial, without_subject = (states.count(state) for state in catalogue.STATES)
    lack = 'lack their subject' if without_subject > 1 else 'lacks its subject'
    return _wrapped([
        f'Of the {len(states)} [figures of the paper]({ALL_FIGURES}), {word(complete)} {_are(complete)} complete, '
        f'{word(partial)} {_are(partial)} partial (some of their runs have not been trained), and '
        f'{word(without_subject)} {lack}.'
    ])  # fmt: skip


def _are(count: int) -> str:
    return 'is' if count == 1 else 'are'


BLOCKS = {
    'answer': answer,
    'standings': standings,
    'primary_claims': primary_claims,
    'every_claim': every_claim,
    'screening': lambda: tables.markdown(screening.rows()),
    'finals': lambda: _of_entry('table_finals'),
    'offline_measures': offline_measures,
    'maze_finals': maze_finals,
    'other_choices': other_choices,
    'base_agent': lambda: _of_entry('table_base_agent'),
    'figures': lambda: _table(artefacts.listing(SCALE)),
    'training': training,
    'diagnosis_today': diagnosis_today,
    'diagnoses': lambda: tables.markdown(pd.read_csv(paths.root() / DIAGNOSES, dtype=str, keep_default_na=False)),
    'trained_by': trained_by,
}
