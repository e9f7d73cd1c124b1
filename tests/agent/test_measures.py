"""Measures of degradation against truths that are known by hand or by simulation."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_agent import BOTH, MINATAR, PROPRIO, fresh, random_batch

from paper_lib.agent import actor_critic, dists, dreamer, measures, plan2explore, world_model
from paper_lib.agent.actor_critic import Behaviour, Objective, Trajectory
from paper_lib.agent.measures import Samples, Shown
from paper_lib.agent.plan2explore import Ensemble
from paper_lib.agent.world_model import WorldModel

pytestmark = pytest.mark.usefixtures('quick')


# Promise against record.


def test_an_episode_that_ends_shows_its_discounted_rewards():
    assert measures.shown([99.0, 1, 2, 4], True, 0.5) == Shown(3.0, pytest.approx(7 / 3))


def test_an_episode_that_was_cut_goes_on_at_its_own_rate():
    assert measures.shown([99.0, 1, 2, 4], False, 0.5).best_return == pytest.approx(3 + 0.5**3 * (7 / 3) / 0.5)
    assert measures.shown([0.0] + [2.0] * 7, False, 0.9) == (pytest.approx(20), 2)  # 2 for ever


def test_the_promise_is_compared_with_return_and_rate():
    found = measures.promise(np.array([10.0, 30.0]), Shown(5.0, 0.5), 0.9)
    assert found == {
        'promise': 20.0,
        'record_return': 5.0,
        'record_rate': 0.5,
        'promise_ratio': 4.0,
        'promise_rate_ratio': pytest.approx(4.0),
    }
    nothing = measures.promise(np.array([20.0]), Shown(0.0, 0.0), 0.9)
    assert nothing['promise'] == 20 and nothing['promise_ratio'] is nothing['promise_rate_ratio'] is None


# Round trip.

RARE, CLASSES = 0.05, 4
PRIOR = np.array([1 - RARE, RARE / 3, RARE / 3, RARE / 3])


def exact_model(*shown_as):
    """A world whose latents are drawn anew at every step and seen as they are; it decodes class c as `shown_as[c]`."""
    nets = types.SimpleNamespace(model=types.SimpleNamespace(deter=2))
    return types.SimpleNamespace(
        nets=nets,
        observation=lambda feat: {'vector': feat[..., 2:] @ jnp.eye(CLASSES)[np.array(shown_as)]},
        encode=lambda obs: obs['vector'],
        prior=lambda deter: dists.OneHot(jnp.log(jnp.broadcast_to(PRIOR, (*deter.shape[:-1], 1, CLASSES)))),
        posterior=lambda deter, embed: dists.OneHot(jnp.log(0.999 * embed + 0.001 / CLASSES)[..., None, :]),
    )


def round_trip(model, draws=100_000):
    chosen = np.random.default_rng(0).choice(CLASSES, draws, p=PRIOR)
    feat = np.concatenate([np.zeros((draws, 2)), np.eye(CLASSES)[chosen]], 1)
    return float(measures.round_trip(model, jnp.asarray(feat)).mean())


def test_the_round_trip_of_a_perfect_model_is_worth_what_observations_are():
    """They tell the entropy of the prior: so the ratio is 1."""
    recorded = -(PRIOR * np.log(PRIOR)).sum()
    assert round_trip(exact_model(0, 1, 2, 3)) / recorded == pytest.approx(1, abs=0.05)


def test_the_round_trip_sees_decoded_states_that_the_prior_does_not_expect():
    recorded = -(PRIOR * np.log(PRIOR)).sum()
    assert round_trip(exact_model(1, 1, 2, 3)) / recorded > 10
    assert round_trip(exact_model(0, 0, 0, 0)) / recorded < 0.3  # all that it dreams looks alike


# Density ratio.

COUNT, SIZE = 8, 30  # simulated recordings, numbers of a sample
FAST = {'xla_backend_optimization_level': 2, 'xla_llvm_disable_expensive_passes': False}  # it runs long, unlike others


def compared(shift, within=0.9):
    """(COUNT,) AUCs and effective shares where imagined samples are recorded ones, shifted in all numbers.

    `within` is the correlation of samples of one window.
    """
    rng = np.random.default_rng(0)

    def draw(steps):
        shape = (COUNT, measures.WINDOWS, steps, SIZE)
        shared = rng.normal(size=(*shape[:2], 1, SIZE))
        values = np.sqrt(within) * shared + np.sqrt(1 - within) * rng.normal(size=shape)
        return values.astype(np.float32), np.ones(shape[:3], np.float32)

    recorded, imagined = Samples(*draw(4)), Samples(*draw(6))
    imagined = Samples(imagined.inputs + np.float32(shift), imagined.weight)
    found = estimator()(recorded, imagined, jax.random.split(jax.random.key(0), COUNT))
    return np.array(found.auc), np.array(found.effective)


@functools.cache
def estimator():
    return jax.jit(lambda *args: jax.lax.map(lambda own: measures.density_ratio(*own), args), compiler_options=FAST)


def test_samples_that_are_alike_cannot_be_told_apart():
    auc, effective = compared(shift=0.0)
    assert abs(auc.mean() - 0.5) < 4 * 0.04 / np.sqrt(COUNT) and auc.std() < 0.08
    assert effective.mean() > 0.9 and effective.max() <= 1


def test_samples_that_differ_are_told_apart_as_well_as_their_densities_can():
    """A shift of d standard deviations in all gives AUC Phi(d / sqrt 2) and an effective share of exp(-d^2)."""
    auc, effective = compared(shift=0.2, within=0.0)
    assert auc.mean() == pytest.approx(0.781, abs=0.03)
    assert effective.mean() == pytest.approx(np.exp(-0.04 * SIZE), abs=0.15)


def test_samples_that_are_far_apart_are_always_told_apart():
    auc, effective = compared(shift=1.5)
    assert auc.min() > 0.99 and effective.max() < 0.03


def test_auc_counts_weighted_pairs_of_scores():
    rng = np.random.default_rng(0)
    low, high = (rng.integers(5, size=size).astype(float) for size in (7, 9))
    low_weight, high_weight = rng.random(7), rng.random(9)
    total = hits = 0
    for a, b in zip(low, low_weight):
        for c, d in zip(high, high_weight):
            total, hits = total + b * d, hits + b * d * ((c > a) + (c == a) / 2)
    found = measures.auc(*map(jnp.asarray, (low, high, low_weight, high_weight)))
    assert float(found) == pytest.approx(hits / total, rel=1e-5)


def test_the_classifier_sees_pictures_as_coarse_ones():
    image = np.zeros((2, 32, 32, 3), np.float32)
    image[0, :4, 4:8] = 1
    expected = np.zeros((2, 8, 8, 3))
    expected[0, 0, 1] = 1
    np.testing.assert_array_equal(measures.coarse(image), expected.reshape(2, -1))
    assert measures.coarse(image[:, :4, :4]).shape == (2, 48)


# The watching networks, and all measures of an agent.


def flags(batch, **values):
    return batch | {name: np.array(value) for name, value in values.items()}


def go_on(path, leaf):
    """The weights of an agent that takes no state for an end."""
    return leaf + 20.0 if [key.key for key in path[:2]] == ['wm', 'cont'] and path[-1].key == 'bias' else leaf


@functools.cache
def watchers(nets):
    return jax.jit(functools.partial(measures.init, nets))(jax.random.key(3))


def test_critics_learn_the_returns_of_their_own_values():
    """As the agent's critics do, but for the pull of the slow critic."""
    nets, params = PROPRIO, fresh(PROPRIO)['params']
    wm = WorldModel(nets, params['wm'])
    rng = np.random.default_rng(0)
    critics = jax.tree.map(lambda x: x + rng.normal(size=x.shape).astype(np.float32), watchers(nets).params['critics'])
    feat = rng.normal(size=(5, 7, nets.features)).astype(np.float32)
    trajectory, first = Trajectory(feat, rng.normal(size=(5, 7, 2)).astype(np.float32), None), np.ones(7, np.float32)

    objective = Objective(wm, {'task': functools.partial(actor_critic.task_reward, wm)}, {'task': 1.0})

    @jax.jit
    def alone(own):
        behaviour = Behaviour({'critics': {'task': own}}, {}, {'task': actor_critic.init_norm()})
        outcome = actor_critic.judge(behaviour, objective, trajectory, first)
        predicted = actor_critic.critic(nets, own, feat)
        log_prob = dists.TwoHot(predicted.logits[:-1]).log_prob(outcome.returns['task'])
        return -(outcome.weight[:-1] * log_prob).mean(), predicted.mean()

    each = [alone(jax.tree.map(lambda x, number=number: x[number], critics)) for number in range(measures.WATCHERS)]
    losses, values = zip(*each)
    loss = jax.jit(measures.critics_loss)(critics, wm, trajectory, first)
    assert float(loss) == pytest.approx(float(sum(losses)), rel=1e-5)
    np.testing.assert_allclose(measures.spread_of(nets, critics, feat), np.std(values, 0), rtol=1e-3, atol=1e-5)


def test_watching_networks_learn_from_the_starts_and_the_noise_of_the_agents_update(monkeypatch):
    used = []
    for module, name in ((dreamer, 'choose_starts'), (actor_critic, 'draw')):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, original=original: used.append(original(*args)) or used[-1])
    nets, batch, key = dataclasses.replace(PROPRIO, explore=False), random_batch(PROPRIO), jax.random.key(1)
    state, rates = fresh(nets), dict.fromkeys(('lr_model', 'lr_actor', 'lr_critic'), 1e-3)

    @jax.jit
    def both(state, watching):
        used.clear()
        dreamer.train_step(nets, state, batch, rates, key)
        after = measures.train(nets, watching, state['params'], batch, key)
        return tuple(used), after

    watching = watchers(nets)
    (starts, draws, same_starts, same_draws), after = both(state, watching)
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(compare, (starts, draws), (same_starts, same_draws))
    for name in ('critics', 'ensemble'):
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), watching.params[name], after.params[name])
        assert any(jax.tree.leaves(moved)), name


def shaken(params):
    """Weights of an agent whose heads, unlike those of a new one, do not all say 0."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32), params)


def compare(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.std(value) > 0 or np.shape(value) == (), name


def test_every_step_of_an_episode_is_measured_by_its_definition():
    """The loss of Eq. 4 with the weights 0.5 and 0.1, the probe's mean squared error, the predicted reward."""
    nets, key = PROPRIO, jax.random.key(2)
    params, batch = shaken(fresh(nets)['params']), random_batch(nets)

    @jax.jit
    def by_hand(params):
        wm = WorldModel(nets, params['wm'])
        losses = world_model.losses(wm, batch, jax.random.uniform(key, (4, 6, nets.model.stoch)))
        terms, feat = losses.terms, losses.state.feat
        weights = {'dyn': 0.5, 'rep': 0.1, 'obs': 1, 'reward': 1, 'cont': 1}
        assert terms.keys() == weights.keys()
        rebuilt = nets.probe.apply(params['probe'], feat)
        own = {f'wm_{name}': term for name, term in terms.items()}
        own['wm_loss'] = sum(weights[name] * terms[name] for name in weights)
        own['recon_loss'] = ((rebuilt - feat) ** 2).sum(-1) / nets.features
        own['value'] = actor_critic.critic(nets, params['task']['critics']['task'], feat).mean()
        return own, wm.reward(feat).mean()

    assessed, reward = by_hand(params)
    compare(jax.jit(functools.partial(dreamer.assess, nets))(params, batch, key), assessed)
    compare(jax.jit(functools.partial(measures.foresee, nets))(params, batch, key), {'reward': reward})


def test_the_first_half_of_a_window_warms_up_and_a_first_step_has_no_weight():
    nets, key = PROPRIO, jax.random.key(2)
    params = shaken(fresh(nets)['params'])
    first, over = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    first[0, 1] = first[1, 4] = over[2, -1] = True
    batch = flags(random_batch(nets), is_first=first, is_terminal=over)
    wm = WorldModel(nets, params['wm'])
    recorded = jax.jit(lambda key: measures.look(wm, batch, key))(key)
    uniform = jax.random.uniform(key, (4, 6, nets.model.stoch))
    state, posterior = world_model.observe(wm, world_model.evidence(wm, batch, uniform))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(recorded.kl, posterior.kl(wm.prior(state.deter))[:, 3:])
    close(recorded.feat, state.feat[:, 3:])
    close(recorded.action, batch['action'][:, 3:])
    close(recorded.inside, [[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]])
    close(recorded.last.state.deter, state.deter[:, 5])
    close(recorded.last.cont, [1, 1, 0, 1])
    samples = measures.recorded_samples(wm, recorded)
    close(samples.weight, [[1, 1], [0, 1], [1, 1], [1, 1]])  # the step before a first one has no action
    close(samples.inputs[..., -2:], batch['action'][:, 3:5])


def test_measures_are_taken_where_their_definitions_say():
    nets, key = PROPRIO, jax.random.key(2)
    params = jax.tree_util.tree_map_with_path(go_on, shaken(fresh(nets)['params'] | {'watch': watchers(nets).params}))
    first = np.zeros((16, 6), bool)
    first[3, 4] = True
    batch, norm = flags(random_batch(nets, shape=(16, 6)), is_first=first), {'low': 0.0, 'high': 8.0}
    found = jax.jit(functools.partial(measures.measure, nets))(params, norm, batch, key)

    @jax.jit
    def by_hand(params):
        wm, (latent_key, imagine_key, _) = WorldModel(nets, params['wm']), jax.random.split(key, 3)
        recorded = measures.look(wm, batch, latent_key)
        trajectory, alive = measures.dream(wm, params['task']['actor'], recorded.last, imagine_key, 50)
        kl = (recorded.kl * recorded.inside).sum() / recorded.inside.sum()
        own, horizon = {'kl_recorded': kl}, nets.model.horizon
        for steps in (15, 50):
            last = [steps - 4, steps - 3, steps - 2, steps - 1, steps]
            trips = jnp.stack([measures.round_trip(wm, trajectory.feat[step]) for step in last])
            weight = jnp.stack([alive[step] for step in last])
            own[f'round_trip_{steps}'] = (trips * weight).sum() / weight.sum() / kl
        spread = measures.spread_of(nets, params['watch']['critics'], trajectory.feat[horizon])
        own['edge_spread'] = (spread * alive[horizon]).sum() / alive[horizon].sum() / 8
        near = jax.tree.map(lambda x: x[: horizon + 1], trajectory)
        disagreement = plan2explore.disagreement(Ensemble(nets, params['watch']['ensemble']), near)
        assert disagreement.shape == (horizon, 16)
        inner = alive[1 : horizon + 1]
        own['imagined_disagreement'] = (disagreement * inner).sum() / inner.sum()
        objective = Objective(wm, {'task': functools.partial(actor_critic.task_reward, wm)}, {'task': 1.0})
        outcome = actor_critic.judge(Behaviour(params['task'], {}, {'task': norm}), objective, near, recorded.last.cont)
        own['imagined_return'] = outcome.returns['task'][0].sum() / 16
        return own

    compare({name: value for name, value in found.items() if not name.startswith('density')}, by_hand(params))


@pytest.mark.parametrize('nets', [PROPRIO, MINATAR, BOTH], ids=['vectors', 'pictures', 'both'])
def test_all_measures_of_an_agent_are_numbers(nets):
    params = fresh(nets)['params'] | {'watch': watchers(nets).params}
    params = jax.tree_util.tree_map_with_path(go_on, params)
    batch = flags(random_batch(nets, shape=(16, 6)))
    norm = {'low': jnp.float32(-1), 'high': jnp.float32(3)}
    measured = jax.jit(functools.partial(measures.measure, nets))
    found = measured(params, norm, batch, jax.random.key(0))
    assert all(np.isfinite(value) and value.shape == () for value in found.values())
    assert 0 <= found['density_auc'] <= 1 and 0 < found['density_ess'] <= 1
    wide = measured(params, {'low': jnp.float32(-3), 'high': jnp.float32(5)}, batch, jax.random.key(0))
    assert wide['edge_spread'] == pytest.approx(float(found['edge_spread']) / 2, rel=1e-5)
    over = measured(params, norm, flags(batch, is_terminal=np.ones((16, 6), bool)), jax.random.key(0))
    assert np.isnan(over['edge_spread'])  # nothing is imagined behind an end
    assert np.isfinite(over['kl_recorded'])
