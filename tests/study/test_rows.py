"""One row is all that a new agent or a new quantity takes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from paper_lib.contract import agents, quantities, tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.scales import Planned, Rule
from paper_lib.data.store import Store
from paper_lib.study import archive, captions, catalogue, grids, plan, scales

TASK = 'cup_catch-proprio'
TINY = Rule({
    'budget': 800, 'eval_every': 400, 'eval_episodes': 3, 'prefill': 80, 'chunk': 20, 'ratio': 0.05,
    'model': {'deter': 8, 'units': 8, 'mlp_units': 8, 'stoch': 2, 'classes': 2, 'horizon': 2, 'probe_units': 8},
})  # fmt: skip


def text(figure):
    return ' '.join(artist.get_text() for artist in figure.findobj(Text))


@pytest.fixture
def slow_learner(monkeypatch):
    """Active with a tenth of the learning rate of its world model."""
    row = dataclasses.replace(agents.get('active'), name='active_slow', about='learns slowly', label='Active-slow',
                              color='#123456', values={'lr_model': 1e-5})  # fmt: skip
    monkeypatch.setitem(agents.AGENTS, row.name, row)
    return row


@pytest.fixture
def tiny(monkeypatch):
    """A scale of tiny runs on one task with short episodes."""
    smoke = scales.get('smoke')
    monkeypatch.setitem(tasks._tasks, TASK, dataclasses.replace(tasks.get(TASK), limit=40))  # steps of an episode
    planned = (Planned('study', (TASK,), ('compared',), 1),)
    return dataclasses.replace(smoke, rules=(*smoke.rules, TINY), planned=planned)


def test_an_agent_is_one_row(slow_learner, tiny, quick, tmp_path):
    """It is planned, trained, and stands in the legend of a figure and in its caption."""
    from paper_lib.run import train

    assert 'active_slow' in {spec.agent for spec in plan.specs('study', scales.get('smoke'))}
    specs = plan.specs('study', tiny)
    own = next(spec for spec in specs if spec.agent == 'active_slow')
    assert own.lr_model == 1e-5 and own.run_id in plan.planned(tiny)
    store = Store(tmp_path / 'runs')
    train.train([own], store)
    archive.add(specs, store, tmp_path, 'study')
    entry = catalogue.ENTRIES['figure_3']
    found = entry.of(archive.load(specs, tmp_path, 'study', scale='smoke'))
    assert 'Active-slow (1 run)' in text(entry.make(found))
    assert 'Active-slow' in captions.caption(entry, found)


def test_a_group_is_in_the_order_of_the_table_and_a_wrong_one_is_named():
    assert agents.group('tandem', 'compared') == ['active', 'passive', 'tandem']
    assert agents.group('all') == list(agents.AGENTS)
    with pytest.raises(UserError, match="group='comparde': no agent has this name or is in a group of it"):
        agents.group('comparde')
    for names in (('tandem', 'core'), ('weights',), ('all',)):
        assert [name for name in agents.AGENTS if agents.is_in(name, *names)] == agents.group(*names)


@pytest.mark.parametrize('made', [lambda names: Rule({}, agents=names), lambda names: Planned('study', (), names, 1)])
def test_a_scale_with_a_wrong_group_is_not_made(made):
    with pytest.raises(UserError, match="group='comparde'"):
        made(('comparde',))


def test_every_source_is_an_agent_that_collects():
    for row in agents.AGENTS.values():
        assert (row.data == 'own') == (row.source == '')
        assert not row.source or agents.get(row.source).data == 'own'


def test_a_quantity_that_the_agent_measures_is_one_row(tiny, quick, tmp_path, monkeypatch):
    """Per evaluation, per episode or per step: it is recorded and archived so. Nothing else has to change."""
    from paper_lib.run import train

    for name, per in {'wm_cont': 'evaluation', 'wm_reward': 'episode', 'wm_obs': 'step'}.items():
        assert name not in quantities.QUANTITIES
        monkeypatch.setitem(quantities.QUANTITIES, name, quantities.Quantity(name, name, per=(per,)))
    spec = plan.make('active', TASK, 0, tiny, 'study')
    store = Store(tmp_path / 'runs')
    train.train([spec], store)
    archive.add([spec], store, tmp_path, 'study')
    found = archive.load([spec], tmp_path, 'study')
    recorded = store.metrics(spec).set_index('env_step')
    assert found.metrics.wm_cont.tolist() == recorded.wm_cont.tolist()
    of_evaluations = found.episodes.groupby('env_step').agg({'episode': list, 'wm_reward': 'mean', 'score': 'mean'})
    assert of_evaluations.episode.tolist() == [[0, 1, 2]] * 2
    np.testing.assert_allclose(of_evaluations.wm_reward, recorded.wm_reward, rtol=1e-5)
    np.testing.assert_allclose(of_evaluations.score, recorded.score, rtol=1e-5)
    assert found.episodes.wm_reward.nunique() == 6
    np.testing.assert_allclose(store.traces(spec)['wm_obs'].mean(), recorded.wm_obs.iloc[-1], rtol=1e-5)
    np.testing.assert_array_equal(found.traces.wm_obs, store.traces(spec)['wm_obs'][0])
    elsewhere = {'wm_cont': found.traces, 'wm_reward': found.metrics, 'wm_obs': found.episodes}
    assert not [name for name, table in elsewhere.items() if name in table]


@pytest.fixture
def surprise(monkeypatch):
    """A quantity of every evaluation, every episode and every step that nobody recorded so far."""
    row = quantities.Quantity('surprise', 'surprise', 'surprise (nats)', per=('evaluation', 'episode', 'step'),
                              logarithmic=True, normalised='loss')  # fmt: skip

    def add():
        monkeypatch.setitem(quantities.QUANTITIES, row.name, row)

    return add


@pytest.fixture
def surprised(make_store):
    """Stores whose runs record it."""

    def make(specs):
        store = make_store(specs)
        metrics, traces = store.metrics, store.traces
        store.metrics = lambda spec: metrics(spec).assign(surprise=[4.0, 2.0, 1.0], surprise_ep3=[8.0, 4.0, 2.0])
        store.traces = lambda spec: traces(spec) | {'surprise': traces(spec)['wm_loss']}
        return store

    return make


@pytest.mark.parametrize('chapter', ['base_agent', 'toy_maze', 'study'])
def test_a_quantity_is_one_row(chapter, surprise, surprised, make_store, tmp_path):
    specs = [spec for spec in plan.specs(chapter, scales.get('smoke')) if spec.agent in ('active', 'passive')]
    archive.add(specs, make_store(specs), tmp_path / 'old', chapter)
    before = archive.load(specs, tmp_path / 'old', chapter)
    surprise()
    old = archive.load(specs, tmp_path / 'old', chapter)
    assert not old.missing
    for table in ('metrics', 'episodes', 'traces'):
        rows = getattr(old, table)
        assert rows.surprise.isna().all()
        pd.testing.assert_frame_equal(rows.drop(columns='surprise'), getattr(before, table))
    assert 'no finished run' not in text(grids.curves(old, ['active'], ['score']))
    archive.add(specs, surprised(specs), tmp_path / 'new', chapter)
    found = archive.load(specs, tmp_path / 'new', chapter)
    assert found.metrics.groupby('run_id').surprise.agg(list).tolist() == [[4.0, 2.0, 1.0]] * len(specs)
    last = found.episodes[found.episodes.episode == 3]
    assert last.groupby('run_id').surprise.agg(list).tolist() == [[8.0, 4.0, 2.0]] * len(specs)
    if len(found.traces):
        np.testing.assert_array_equal(found.traces.surprise, found.traces.wm_loss)
    axes = grids.curves(found, ['active'], ['surprise'], mean=True).axes
    assert axes[0].get_ylabel() == 'surprise (nats)' and axes[0].get_yscale() == 'log'
    assert axes[0].lines[0].get_ydata().tolist() == [4, 2, 1]
    np.testing.assert_allclose(axes[-1].lines[0].get_ydata(), [4, 2, 1])  # over the mean final value, which is 1


def test_new_rows_beside_old_ones_that_lack_a_quantity(surprise, surprised, make_store, tmp_path):
    specs = plan.specs('base_agent', scales.get('smoke'), 2)
    archive.add(specs[:2], make_store(specs[:2]), tmp_path, 'base_agent')
    surprise()
    assert archive.add(specs, surprised(specs[2:]), tmp_path, 'base_agent') == {}
    found = archive.load(specs, tmp_path, 'base_agent')
    assert not found.missing
    lacking = {run_id: rows.isna().all() for run_id, rows in found.metrics.groupby('run_id').surprise}
    assert lacking == {spec.run_id: spec in specs[:2] for spec in specs}


def test_an_unknown_quantity_is_named():
    with pytest.raises(UserError, match="quantity='scroe': must be one of score, "):
        quantities.get('scroe')
