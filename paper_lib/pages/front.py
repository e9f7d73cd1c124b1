"""The front page: what was asked, what came out and how sure it is, then every figure."""

import html
import re
from pathlib import Path

from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.scales import Scale
from paper_lib.pages import documents, layout
from paper_lib.study import (
    artefacts,
    book,
    catalogue,
    claims,
    comparisons,
    conclusion,
    diagnosis,
    offline,
    outcomes,
    paper,
    parameters,
    paths,
    report,
    scales,
    starts,
    tables,
    verdicts,
)
from paper_lib.study.catalogue import Entry
from paper_lib.study.names import listed, unwrapped

RUN_IT = 'Run it, or try your own data'
QUESTION = """<b>Active</b> learns a task with a world model from data that it collects itself. Does an agent that never
    acts learn as well from Active's finished recording (<b>Passive</b>) or from its batches in the same order
    (<b>Tandem</b>)? The paper says no."""
CAUTION = """There is one row for each claim: its primary row. {results} say what it compares, and have all other rows.
    Where a claim says offline agents, this row compares Passive with Active. A pair is an Active agent and the agents
    that learn from its data. The estimate is the mean over tasks of the mean difference within pairs. (For C10 it is
    the smallest distance of a curve of scores from Active's; for C12 it is a rank correlation; for P2 and P3 it is a
    share of steps that should be above 0.5; their rows were defined after three pairs, when only the steps of the first
    pair had been looked at. They could hardly fail, since by definition few steps of any agent are unusual.) P9 follows
    from C1 where Passive is level with Active at first. Value errors are in units of Active's mean discounted return,
    reward errors in units of its mean reward of a step, and world-model losses are compared by the log of their ratio.
    A claim is supported only if the whole interval lies inside the range that the claim names, and contradicted only if
    it lies wholly outside; in both cases p, adjusted for all claims, must be below 0.05 (C10 is exact and has no p).
    {equal} ask for a mean within {margin} of zero, which is what their p tests, so a better agent counts as different
    too. The interval is that of a sign-flip test. Undecided is no evidence against a claim, and a row of fewer pairs
    than are planned is an interim result. P5 is an experiment that the paper leaves for future work; the claim is ours.
    {glossary} explains the words."""
COMMANDS = """# Install what is needed (1.6 GB), and draw these figures; {trains}.
make figures{scale}
export PATH=$PWD/.venv/bin:$PATH

# Train one run of the study, after the run that it learns from (ten minutes each; --dry-run tells it in advance).
# What is drawn afterwards has it in place of the archived run. To keep that one, work on a copy:
# cp -r figures mine; export PAPER_LIB_FIGURES=$PWD/mine
paper-lib train --task cheetah_run-proprio --agent passive --chapter study --seed 10

# Your environment: Active, then Passive, on most tasks of Gymnasium.
paper-lib train --task gym:Pendulum-v1 --agent passive

# Your recording: list its mistakes, and train Passive on it.
paper-lib audit mine.npz
paper-lib train --task gym:Pendulum-v1 --agent passive --dataset mine.npz

# Train three agents on it (vectors only; a quarter of an hour), and ask whether they degrade{today}.
paper-lib diagnose mine.npz"""
OWN_DATA = """A recording is an <code>.npz</code> file of our arrays, of OGBench or of D4RL, a folder of ExORL
    or V-D4RL, or a dataset of Minari. {data} shows the formats by example, and {diagnose} says how a diagnosis
    comes about."""
NUMBERING = """Figures have the numbers of the preprint; the number of the published version is in brackets where it
    differs. A figure is partial if some of the runs that it is about have not been trained yet, and complete otherwise;
    its tasks may be others than the paper's."""
CARE = """<b>Read with care:</b> <a href="{readme}.html#the-result">README</a> says what these rows rest on."""


def write(scale: str) -> Path:
    """Write the front page of a scale's folder; returns its path."""
    path = paths.drawings(scale) / f'{layout.FRONT}.html'
    paths.write(path, render(path.parent, scale).encode())
    return path


def render(folder: Path, scale: str) -> str:
    """The page that leads to the notebooks, figures and tables in the folder."""
    known = scales.get(scale)
    primary = verdicts.primary_table(scale)
    came_out = conclusion.conclude(scale, primary)
    points = ''.join(f'<li>{html.escape(point)}</li>' for point in came_out.points)
    texts = {name: _page_text(folder, name) for name in catalogue.NOTEBOOKS}
    results = documents.link('results', 'The results')
    primary_rows = {claim.id: claim.rows[0] for claim in claims.every_claim()}
    equal = listed([name for name, row in primary_rows.items() if -row.above == row.below == comparisons.MARGIN])
    caution = unwrapped(CAUTION).format(
        equal=equal, margin=comparisons.MARGIN, results=results, glossary=_glossary('The glossary')
    )
    parts = [
        layout.heading(1, html.escape(paper.TITLE)),
        f'<p class="small">Companion to the paper by {", ".join(paper.AUTHORS)} ({paper.VENUE}). {_links()}</p>',
        f'<p>{unwrapped(QUESTION)}</p>',
        f'<p><b>{html.escape(came_out.answer)}</b> {html.escape(came_out.effect)}</p>',
        f'<p class="missing">{html.escape(known.warning)}</p>' if known.warning else '',
        _figure(folder, 'figure_1'),
        f'<p>{html.escape(came_out.context)}</p>' if came_out.context else '',
        _clickable(scale),
        layout.heading(2, 'The claims, and what came out here'),
        outcomes.as_html(primary, compared=False),
        f'<p class="small">{CARE.format(readme=layout.document("README"))}</p>' if scale == report.SCALE else '',
        f'<details class="small"><summary>How to read this table</summary><p>{caution}</p></details>',
        layout.heading(2, 'Figures'),
        f'<p class="small">{unwrapped(NUMBERING)}</p>',
        _gallery(folder, scale, texts),
        layout.heading(2, 'The result in numbers') if points else '',
        f'<ul>{points}</ul>' if points else '',
        _beyond(known),
        layout.heading(2, RUN_IT),
        _run_it(known),
        layout.heading(2, 'Tables'),
        _tables(folder, texts),
        layout.heading(2, 'Notebooks'),
        _notebooks(texts),
        layout.heading(2, 'Documents'),
        _documents(),
    ]
    body = '\n'.join(part for part in parts if part)
    return layout.page(paper.TITLE, body, layout.navigation(layout.FRONT, scale))


def _run_it(scale: Scale) -> str:
    """The first commands, and where to read on."""
    lacking = {spec.run_id for opened in book.every({'scale': scale.name}, None) for spec in opened.lacking('yes')}
    trains = f'this trains {len(lacking)} runs first' if lacking else 'all runs that this needs are here'
    if not scale.trains:
        trains = 'docs/cluster.md says how to train them'
    named = '' if scale.name == parameters.Parameters().scale else f' SCALE={scale.name}'
    today = ' (today it cannot tell)' if diagnosis.standing_doubts(diagnosis.learn(diagnosis.known())) else ''
    commands = COMMANDS.format(scale=named, trains=trains, today=today)
    own = unwrapped(OWN_DATA).format(
        data=documents.link('your_data', 'Your data'), diagnose=documents.link('diagnose', 'Diagnosing a recording')
    )
    intro = 'In a clone of the repository, with Python 3.11 or 3.12, make and git:'
    return f'<p>{intro}</p><pre>{html.escape(commands)}</pre><p>{own}</p>'


def _beyond(scale: Scale) -> str:
    """Whether degradation can be seen without acting; nothing, if no run has recorded a measure."""
    found = conclusion.without_acting(offline.table(book.shown('table_offline', scale)))
    if not found:
        return ''
    more = (
        f'<a href="6_offline_measure.html">Notebook 6</a> has all measures, and {_glossary("the glossary")} the words.'
    )
    return f'<p><b>{conclusion.ASKED}</b> {html.escape(" ".join(found))} {more}</p>'


def _glossary(words: str) -> str:
    return documents.link('glossary', words)


def _links() -> str:
    """Links to the paper, to README.md, and to places on this page."""
    targets = {
        'Paper': paper.ADDRESS,
        'README': f'{layout.document("README")}.html',
        'Figures': '#figures',
        'Run it': f'#{layout.anchor(RUN_IT)}',
        'Notebooks': '#notebooks',
        'Documents': '#documents',
    }
    return ' · '.join(f'<a href="{target}">{name}</a>' for name, target in targets.items())


def _documents() -> str:
    """A link to the page of every document."""
    links = [documents.link(path.stem, html.escape(documents.title(path))) for path in paths.documents()]
    return f'<ul>{"".join(f"<li>{link}</li>" for link in links)}</ul>'


def _figure(folder: Path, name: str) -> str:
    """A figure with its caption folded; '' if it was not drawn."""
    if not _has_files(folder, name, 'png', 'md'):
        return ''
    entry = catalogue.ENTRIES[name]
    caption = tables.shown(_read_text(folder / f'{name}.md'))
    image = f'<img src="{name}.png" alt="{html.escape(entry.title)}">'
    summary = f'{_called(entry)}{entry.title}'
    return (
        f'<figure><a href="{name}.png">{image}</a>'
        f'<figcaption><details><summary>{summary}</summary>{caption}</details></figcaption></figure>'
    )


def _clickable(scale: str) -> str:
    """Links to the pages on which a click starts three agents."""
    links = []
    for task in starts.there(scale):
        stem = layout.clickable(task)
        links.append(f'<a href="{stem}.html">{tasks.get(task).short.replace("_", " ")}</a>')
    if not links:
        return ''
    places = listed(links)
    return (
        f'<p><b>Try it.</b> Click a start in {places}, and see where each agent goes, and what its model expects.</p>'
    )


def _gallery(folder: Path, scale: str, texts: dict[str, str]) -> str:
    """A tile for every figure that was drawn: those of the paper by their numbers, then the others."""
    entries = []
    for numbered in artefacts.NUMBERED:
        entries += artefacts.together(numbered.name)
    entries += [entry for entry in catalogue.ENTRIES.values() if entry not in entries]
    tiles = []
    without_runs = []  # come last
    standings = artefacts.standings(scales.get(scale))
    for entry in entries:
        if entry.is_figure and _has_files(folder, entry.name, 'png', 'md'):
            state = standings[entry.name].state
            place = without_runs if state == catalogue.SUBJECT_MISSING else tiles
            place.append(_tile(folder, entry, state, texts[entry.notebook]))
    tiles += without_runs
    return f'<div class="gallery">{"".join(tiles)}</div>' if tiles else '<p>None is drawn yet.</p>'


def _tile(folder: Path, entry: Entry, state: str, text: str) -> str:
    """A figure, what it is called, whether it is complete, and links to its files and to its place in a notebook."""
    name = entry.name
    kind = 'missing' if state == catalogue.SUBJECT_MISSING else state
    image = f'<img src="{name}.png" alt="{html.escape(entry.title)}" loading="lazy">'
    return (
        f'<figure><a href="{name}.png">{image}</a><figcaption>{_called(entry)}{_title(text, entry)}'
        f'<br><span class="{kind}">{state}</span> · {_files(name, "png", "pdf")}</figcaption></figure>'
    )


def _called(entry: Entry) -> str:
    """The number of a figure or table of the paper, as it stands before a title."""
    return f'<b>{entry.called}</b> ' if entry.called else ''


def _title(text: str, entry: Entry) -> str:
    """The title, with a link to the heading of a notebook's page under which a cell shows this figure or table."""
    title = html.escape(entry.title, quote=False)
    shown_as = entry.name if entry.is_figure else entry.name.removeprefix('table_')
    is_claims = entry.name not in catalogue.ENTRIES
    before, found, _ = text.partition('<table class="claims">' if is_claims else f"'{shown_as}'")
    places = re.findall('<h2 id="(.*?)">', before)
    if not found or not places:
        return title
    return f'<a href="{entry.notebook}.html#{places[-1]}">{title}</a>'


def _tables(folder: Path, texts: dict[str, str]) -> str:
    """A line for every table that was written."""
    lines = []
    for notebook in catalogue.NOTEBOOKS:
        for entry in catalogue.shown_and_tested(notebook):
            if not entry.is_figure and _has_files(folder, entry.name, 'csv', 'md'):
                place = _title(texts[notebook], entry)
                files = _files(entry.name, 'csv', 'md', 'tex')
                lines.append(f'<li>{_called(entry)}{place} · {files}</li>')
    return f'<ul>{"".join(lines)}</ul>' if lines else '<p>None is written yet.</p>'


def _notebooks(texts: dict[str, str]) -> str:
    """A link to the page of every notebook, if there is one."""
    lines = []
    for name, text in texts.items():
        title = re.search('<h1 [^>]*><a [^>]*>(.*?)</a></h1>', text)
        link = f'<a href="{name}.html">{title[1]}</a>' if title else html.escape(layout.called(name))
        lines.append(f'<li>{link} · <a href="../../notebooks/{name}.ipynb">notebook file</a></li>')
    return f'<ul>{"".join(lines)}</ul>'


def _page_text(folder: Path, notebook: str) -> str:
    """The page of a notebook; '' if there is none."""
    path = folder / f'{notebook}.html'
    return _read_text(path) if path.exists() else ''


def _read_text(path: Path) -> str:
    """The text of a file. Raises UserError where it is none."""
    try:
        return path.read_text('utf-8')
    except ValueError:
        raise UserError(f'{path}: damaged; remove it and draw again') from None


def _files(stem: str, *suffixes: str) -> str:
    return ' '.join(f'<a href="{stem}.{suffix}">{suffix.upper()}</a>' for suffix in suffixes)


def _has_files(folder: Path, stem: str, *suffixes: str) -> bool:
    """Whether a figure or table was written to the end."""
    return all((folder / f'{stem}.{suffix}').exists() for suffix in suffixes)
