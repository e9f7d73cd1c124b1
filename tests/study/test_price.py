"""What data of its own costs an offline agent, from numbers that fit a page."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from paper_lib.contract import agents
from paper_lib.study import archive, catalogue, claims, diagnosis, frames, offline, plan, price, reference, scales

LAPTOP = scales.get('laptop')
WALKER, CHEETAH = scales.MAIN
AGENTS = ('active', 'passive', 'passive_50', 'passive_10', 'passive_auto', price.AGENT)
ACTIVE = plan.make('active', WALKER, 10, LAPTOP, 'study')
DUE = [4000 * number for number in range(1, 15)]  # when the adaptive schedules of scale laptop ask


def evaluations(spec, score=0.0, added=0.0, length=500.0):
    """Metrics of a run with its thirty evaluations; `added` is what it has added at its end."""
    steps = np.arange(1, 31) * 2000
    rows = {'env_step': steps, 'score': score, 'added': added * steps / 60_000, 'length': length}
    return pd.DataFrame(rows).assign(**frames.keys(spec))


def of(parts):
    """Frames of these runs, {spec: metrics}; None stands for a run without a result."""
    metrics = pd.concat([rows for rows in parts.values() if rows is not None], ignore_index=True)
    runs = metrics[frames.KEYS].drop_duplicates()
    return frames.Frames(tuple(parts), runs, metrics, *[metrics[:0]] * 4, scale='laptop')


def made(scores, added, pairs=6):
    """Pairs on both tasks. A score is in units of what Active gains, and each pair differs a little."""
    parts = {}
    for task in scales.MAIN:
        random = reference.random_score(task)
        for seed in range(10, 10 + pairs):
            for name in AGENTS:
                spec = plan.make(name, task, seed, LAPTOP, 'study')
                score = scores.get(name)
                if score is not None:
                    score = random + 100 * (score + 0.01 * (seed % 2) * (name == price.AGENT))
                    parts[spec] = evaluations(spec, score, added.get(name, np.nan))
    return of(parts)


SCORES = {'active': 1.0, 'passive': 0.5, 'passive_50': 0.9, 'passive_10': 0.7, 'passive_auto': 0.8, price.AGENT: 0.85}
ADDED = {'passive_50': 28_000.0, 'passive_10': 5600.0, 'passive_auto': 20_000.0, price.AGENT: 4000.0}


@pytest.mark.parametrize(('agent', 'steps'), [
    ('passive', 0), ('passive_10', 0), (price.AGENT, 0),
    ('passive_auto', 14 * 4 * 1000),  # 14 times 4 episodes of 500 agent steps, each of 2 environment steps
])  # fmt: skip
def test_only_a_schedule_that_asks_for_episodes_needs_them(agent, steps):
    spec = plan.make(agent, WALKER, 10, LAPTOP, 'study')
    assert price.evaluation_steps(spec, evaluations(spec)) == steps


def test_episodes_count_as_long_as_they_were_where_the_schedule_asks():
    """All evaluations but the fourteen are twice as long; one that does not say it counts 500 agent steps."""
    spec = plan.make('passive_auto', WALKER, 10, LAPTOP, 'study')
    rows = evaluations(spec)
    rows['length'] = np.where(rows.env_step.isin(DUE), 100.0, 200.0)
    assert price.evaluation_steps(spec, rows) == 14 * 4 * 200
    rows.loc[rows.env_step == DUE[0], 'length'] = np.nan
    assert price.evaluation_steps(spec, rows) == 13 * 4 * 200 + 4 * 1000
    fewer = dataclasses.replace(spec, eval_episodes=2)
    assert price.evaluation_steps(fewer, rows.assign(length=100.0)) == 14 * 2 * 200


def test_what_agents_used_by_both_counts():
    table = price.table(made(SCORES, ADDED), AGENTS).set_index(['task', 'agent'])
    assert len(table) == 2 * 5 and (table.pairs == 6).all()
    auto, trigger = (table.loc[CHEETAH, agents.get(name).label] for name in ('passive_auto', price.AGENT))
    assert (auto['own steps'], auto['all steps']) == (20_000, 76_000)
    assert auto['own (%)'] == pytest.approx(100 / 3) and auto['all (%)'] == pytest.approx(100 * 76 / 60)
    assert (trigger['own steps'], trigger['all steps']) == (4000, 4000)
    assert (trigger['collections'], trigger['at most']) == (2, 14) and auto['collections'] == 10
    assert table.loc[WALKER, 'Passive'][['own steps', 'all steps']].tolist() == [0, 0]
    assert trigger.score == pytest.approx(0.855) and table.loc[WALKER, 'Passive'].score == pytest.approx(0.5)


def test_only_pairs_of_the_agent_are_compared_and_the_units_are_those_of_the_claims():
    """Two further Active agents gain three times as much, so that the mean of eight is 1.5 of what the others gain."""
    found = made(SCORES, ADDED)
    further = {}
    for name, score in (('active', 3.0), ('passive', 0.1)):
        for seed in (16, 17):
            spec = plan.make(name, WALKER, seed, LAPTOP, 'study')
            further[spec] = evaluations(spec, reference.random_score(WALKER) + 100 * score)
    parts = {spec: found.metrics[found.metrics.run_id == spec.run_id] for spec in found.specs}
    runs = price.used(of(parts | further))
    passive = runs[(runs.agent == 'passive') & (runs.task == WALKER)]
    assert sorted(passive.pair_seed) == list(range(10, 16))
    np.testing.assert_allclose(passive.score, 0.5 / 1.5)
    assert 'active' not in set(runs.agent)
    later = {}  # and those of later pairs, which set no unit, learn ten times as much
    for name in ('active', 'passive'):
        spec = plan.make(name, WALKER, scales.LATER_PAIRS.start, LAPTOP, 'study')
        later[spec] = evaluations(spec, reference.random_score(WALKER) + 1000)
    pd.testing.assert_frame_equal(price.used(of(parts | further | later)), runs)
    unfinished = {spec: rows for spec, rows in parts.items() if spec.agent != price.AGENT or spec.pair_seed == 12}
    runs = price.used(dataclasses.replace(of(unfinished), specs=found.specs))
    assert set(runs.pair_seed) == {12} and set(runs.agent) == set(AGENTS) - {'active'}


def test_a_score_that_is_not_finite_leaves_comparisons_undecided():
    shown = made(SCORES, ADDED)
    is_one = (shown.metrics.agent == 'passive_auto') & (shown.metrics.pair_seed == 12)
    shown.metrics.loc[is_one, 'score'] = np.nan
    found = price.compared(shown).set_index(['against', 'difference of'])
    score = found.loc[(agents.get('passive_auto').label, price.SCORE)]
    assert score.pairs == 12 and score.verdict == claims.UNDECIDED
    means = price.table(shown, ('passive_auto', price.AGENT)).set_index('agent').score
    assert means[agents.get('passive_auto').label].isna().all() and means[agents.get(price.AGENT).label].notna().all()


def test_comparisons_are_within_pairs_and_have_the_verdicts_of_the_protocol():
    found = price.compared(made(SCORES, ADDED)).set_index(['against', 'difference of'])
    auto, ten = (agents.get(name).label for name in ('passive_auto', 'passive_10'))
    assert (found.pairs == 12).all()
    np.testing.assert_allclose(found['mean'], [0.055, 100 * (4 - 76) / 60, 0.155, 100 * (4 - 5.6) / 60, 0.355])
    assert (found.verdict == claims.SUPPORTED).all()
    dearer = price.compared(made(SCORES | {price.AGENT: 0.5}, ADDED | {price.AGENT: 10_000.0}))
    dearer = dearer.set_index(['against', 'difference of']).verdict
    assert dearer[auto, price.SCORE] == claims.CONTRADICTED and dearer[auto, price.STEPS] == claims.SUPPORTED
    assert dearer[ten, price.STEPS] == claims.CONTRADICTED


def test_a_figure_shows_means_and_pairs_by_both_counts():
    found = made(SCORES, ADDED)
    axes = catalogue.ENTRIES['figure_price'].make(found).axes
    assert [each.get_title('left') for each in axes] == [f'{WALKER} (6 pairs)', f'{CHEETAH} (6 pairs)', '', '']
    lines = [{line.get_label(): line for line in each.lines} for each in axes]
    for agent, upper, lower in (('passive_auto', 20_000, 76_000), (price.AGENT, 4000, 4000), ('passive', 0, 0)):
        score = SCORES[agent] + 0.005 * (agent == price.AGENT)
        label = agents.get(agent).label
        for place, steps in enumerate((upper, upper, lower, lower)):
            np.testing.assert_allclose(lines[place][label].get_xydata(), [[steps, score]])
    fixed = [[0, 0.5], [5600, 0.7], [28_000, 0.9]]
    for each in lines:
        np.testing.assert_allclose(each['fixed rates'].get_xydata(), fixed)
    small = [line for line in axes[0].lines if len(line.get_xdata()) == 6]
    assert len(small) == 5 and [set(line.get_xdata()) for line in small][-1] == {4000}


def test_without_runs_of_the_agent_nothing_is_said():
    scores = SCORES | {price.AGENT: None}
    found = made(scores, ADDED)
    wanted = tuple(plan.make(price.AGENT, task, 10, LAPTOP, 'study') for task in scales.MAIN)
    found = dataclasses.replace(found, specs=(*found.specs, *wanted))
    assert (price.compared(found).verdict == claims.NO_PAIRS).all()
    table = price.table(found, AGENTS).set_index('agent')
    assert (table.pairs[agents.get(price.AGENT).label] == 0).all() and (table.pairs['Passive'] == 1).all()


def test_runs_that_a_measure_steers_and_copies_are_no_evidence_of_what_it_tells(monkeypatch):
    def load(specs, *args, **kwargs):
        asked.extend(specs)
        return of({ACTIVE: evaluations(ACTIVE)})

    asked = []
    monkeypatch.setattr(archive, 'load', load)
    diagnosis.known()
    assert {'passive_auto', 'passive'} <= {spec.agent for spec in asked}
    assert not {price.AGENT, 'tandem_alpha_0'} & {spec.agent for spec in asked}
    assert set(agents.AGENTS) - set(offline.EVIDENCE) == {price.AGENT, 'tandem_alpha_0'}


def test_limits_of_the_trigger_are_those_that_the_archive_gives():
    """On each task the threshold of the other one, and elsewhere that of both; ten pairs of three agents of each."""
    rows = diagnosis.known()
    rows = rows[rows.is_last & rows.agent.isin(agents.group('compared')) & rows.pair_seed.between(10, 19)]
    measure = agents.get(price.AGENT).values['interact_by']
    rows = rows.dropna(subset=[measure, offline.DEGRADED])
    assert rows.groupby('task').size().to_dict() == dict.fromkeys(scales.MAIN, 30)

    def limit(known):
        return offline.DIRECTIONS[measure] * offline.best_threshold(known, measure, offline.DEGRADED)

    assert {task: round(limit(rows[rows.task != task]), 3) for task in scales.MAIN} == scales.LAPTOP_SHARES
    assert round(limit(rows), 2) == agents.LEAST_SHARE
