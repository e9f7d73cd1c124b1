"""A diagnosis as plain values, for JSON, and as the body of a page that says the same."""

import dataclasses
import html
import math
from typing import Any

import pandas as pd

from paper_lib.study import diagnosis_panels, drawing, offline, tables
from paper_lib.study.coverage import EXPERT, FAR, POOR, Coverage
from paper_lib.study.diagnosis import CANNOT_TELL, Check, Remedy, Rule, Verdict, remedies, table
from paper_lib.study.names import listed, unwrapped

SHARE = f'{100 * offline.LEAST_GAIN:g} %'  # of a gain, below which an agent is degraded
MEANS = {
    'degrades': """Agents like those of the study that learn only from this recording probably gain less than {share} of
        what the agent that recorded it gained over random actions.""",
    'holds': """Agents like those of the study that learn only from this recording probably gain at least {share} of
        what the agent that recorded it gained over random actions.""",
    CANNOT_TELL: 'These numbers do not tell whether an agent that learns only from this recording degrades.',
}
UNKNOWN = 'unknown: it takes several episodes with different returns and states'


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Everything that is known of a recording."""

    title: str
    asked: dict[str, Any]  # the recording and the options
    own: list[str]  # tasks of the recording whose known runs are left out
    findings: list[dict[str, Any]]  # of the audit, as rows of a table
    cover: Coverage
    verdict: Verdict
    rule: Rule | None  # None without known runs
    known: pd.DataFrame  # moments of the known runs
    agents: list[dict[str, Any]]  # seed, run_id, and the measures at the end; none if the audit forbids to train
    check: Check | None  # with an environment

    @property
    def remedies(self) -> list[Remedy]:
        return remedies(self.cover, self.agents) if self.agents else []


def plain(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON has it; what is not finite is null."""
    fields = ('cover', 'verdict', 'rule', 'check')
    parts = {name: getattr(diagnosis, name) for name in fields}
    values = {name: dataclasses.asdict(part) if part else None for name, part in parts.items()}
    if diagnosis.rule:
        values['rule']['threshold'] = diagnosis.rule.shown_threshold
    values |= {'asked': diagnosis.asked, 'audit': diagnosis.findings, 'agents': diagnosis.agents}
    values['tasks_left_out'] = diagnosis.own
    values['remedies'] = [dataclasses.asdict(remedy) for remedy in diagnosis.remedies]
    if diagnosis.agents and len(diagnosis.known):
        values['beside_known_runs'] = table(diagnosis.known, diagnosis.agents).to_dict('records')
    return _finite(values)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def body(diagnosis: Diagnosis) -> str:
    """The inside of the page's body."""
    parts = [
        f'<h1>Diagnosis of {html.escape(diagnosis.title)}</h1>',
        *_verdict(diagnosis.verdict),
        *_checked(diagnosis),
        *_next(diagnosis),
        *_audit(diagnosis.findings),
        *_coverage(diagnosis.cover),
        *_measures(diagnosis),
        *_rule(diagnosis.rule, diagnosis.own),
    ]
    return '\n'.join(parts)


def _verdict(found: Verdict) -> list[str]:
    reasons = ''.join(f'<li>{html.escape(reason)}</li>' for reason in found.reasons)
    return [
        f'<p style="font-size:1.4rem"><strong>Verdict: {found.verdict}</strong></p>',
        f'<p>{unwrapped(MEANS[found.verdict]).format(share=SHARE)}</p><ul>{reasons}</ul>',
    ]


def _checked(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.agents:
        return []
    found = diagnosis.check
    parts = ['<h2>Checked by playing</h2>']
    if found is None:
        return [*parts, '<p>No environment was given, so the agents were not played, and this page has no scores.</p>']
    scores = ', '.join(f'{score:.4g}' for score in found.scores)
    return [
        *parts,
        f'<p>{html.escape(found.outcome)} The agents score {scores} at their end. Random actions score '
        f'{found.random:.4g}, and the best fifth of the recorded episodes returns {found.recorded:.4g}. An agent '
        f'counts as degraded if it ends below {SHARE} of the way from the former to the latter.</p>',
    ]


def _next(diagnosis: Diagnosis) -> list[str]:
    parts = ['<h2>What to collect next</h2>']
    if not diagnosis.agents:
        return [*parts, '<p>No agent was trained. First repair what the audit found.</p>']
    rows = [f'<li>{html.escape(each.remedy)} {html.escape(each.reason)}</li>' for each in diagnosis.remedies]
    if not rows:
        return [*parts, '<p>No number of this recording speaks for a remedy of the paper.</p>']
    return [
        *parts,
        f'<ol>{"".join(rows)}</ol>',
        "<p>These are the paper's remedies. Their order is a rule of thumb that no run has tested.</p>",
    ]


def _audit(findings: list[dict[str, Any]]) -> list[str]:
    parts = ['<h2>Audit</h2>']
    if not findings:
        return [*parts, '<p>Nothing to report.</p>']
    return [*parts, _table(pd.DataFrame(findings))]


def _table(frame: pd.DataFrame, caption: str = '') -> str:
    return tables.Table(frame, caption)._repr_html_()


def _coverage(cover: Coverage) -> list[str]:
    lengths = ' / '.join(map(str, cover.lengths))
    returns = ' / '.join(f'{value:.4g}' for value in cover.returns)
    shares = [('expert-like', cover.expert_like), ('exploration-like', cover.exploration_like)]
    unit = 'times the mean distance of a step from the next'
    rows = [
        ('transitions', f'{cover.transitions:,}'),
        ('episodes', f'{cover.episodes:,}'),
        ('agent steps of an episode: least / median / most', lengths),
        ('return: least / median / most', returns),
        *((f'share of {name} steps, among episodes of this recording', _percent(share)) for name, share in shares),
        ('distance from the nearest step of another episode: median', _times(cover.distance, unit)),
        ('the same, exceeded by a tenth of the steps', _times(cover.far, unit)),
        (f'share of steps that are alone (farther than {FAR} times that)', _percent(cover.alone)),
        ('rows of the steps with the largest distance', ', '.join(map(str, cover.loneliest)) or UNKNOWN),
    ]
    text = (
        'The distance of a step is measured to the nearest step of another episode. Each component of the vector is '
        'divided by its standard deviation, and the unit is the mean distance between a step and the next. The '
        'recording is thin where distances are large. Expert-like steps belong to episodes whose return is above '
        f'{EXPERT} of the range of returns. Exploration-like steps belong to episodes below {POOR} of it, and their '
        'distance is above the median. Both compare episodes of this recording; the best of them may still be poor.'
    )
    figure = drawing.as_html(drawing.png(diagnosis_panels.covered(cover)), 'Coverage', text)
    return ['<h2>Coverage</h2>', _table(pd.DataFrame(rows, columns=['what', 'value'])), figure]


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f'{share:.0%}'


def _times(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f'{value:.3g} {unit}'


def _measures(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.agents or not len(diagnosis.known):
        return []
    text = (
        'Each mark is a known run of the study at its end: an agent on one of its tasks. Degraded are those that gain '
        f'less than {SHARE} of what the agent gains that recorded. "(less)": degraded agents should have less of the '
        'measure. docs/protocol_measures.md defines every measure. In the table, known runs have their median and, in '
        'brackets, the 10 % and the 90 % quantile.'
    )
    panels = diagnosis_panels.placed(diagnosis.known, diagnosis.agents)
    seeds = ', '.join(f'{each["seed"]} ({each["run_id"]})' for each in diagnosis.agents)
    return [
        '<h2>Measures beside known runs</h2>',
        f'<p>Offline agents were trained on the recording with the seeds {html.escape(seeds)}.</p>',
        drawing.as_html(drawing.png(panels), 'Measures', html.escape(text)),
        _table(table(diagnosis.known, diagnosis.agents)),
    ]


def _rule(rule: Rule | None, own: list[str]) -> list[str]:
    parts = ['<h2>What the verdict rests on</h2>']
    if rule is None:
        return [*parts, '<p>There are no known runs.</p>']
    if own:
        text = f'The recording is of {listed(own)}. Known runs on this task are left out: nothing is fitted to it.'
        parts.append(f'<p>{html.escape(text)}</p>')
    rows = [
        ('measure in use', offline.words(rule.measure)),
        ('its threshold, the best one on all known runs', f'{rule.shown_threshold:.3g}'),
        ('measures that work on every task of the known runs', '; '.join(map(offline.words, rule.working)) or 'none'),
        ('AUROC of this measure (how often it ranks a degraded run above another; chance: 0.5)', f'{rule.auroc:.2f}'),
        ('AUROC on a task left out, of the measure chosen on all others', f'{rule.left_out:.2f}'),
        ('degraded agents that are missed on a task left out', f'{rule.missed:.0%}'),
        ('other agents called degraded on a task left out', f'{rule.false_alarms:.0%}'),
        (
            'both among offline agents alone, with the measure chosen on all others',
            f'{rule.missed_offline:.0%} and {rule.false_alarms_offline:.0%}',
        ),
        ('pairs of known runs', ', '.join(f'{task} {count}' for task, count in rule.pairs.items())),
    ]
    return [*parts, _table(pd.DataFrame(rows, columns=['what', 'value']))]
