"""What the reference vectors do not see: sizes, resets, alignment, gradients, and who trains whom."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paper_lib.agent import actor_critic, dists, dreamer, layers, optim, world_model
from paper_lib.agent.actor_critic import Behaviour, Objective, Starts, Trajectory
from paper_lib.agent.networks import Networks
from paper_lib.agent.plan2explore import Ensemble, disagreement
from paper_lib.agent.world_model import State, WorldModel
from paper_lib.contract.spec import ModelSpec

pytestmark = pytest.mark.usefixtures('quick')

MODEL = ModelSpec(deter=12, stoch=3, classes=4, units=16, layers=1, mlp_units=16, mlp_layers=1, cnn_depth=2, bins=41,
                  batch=4, length=6, horizon=4, ensemble=3, probe_units=16)  # fmt: skip
PROPRIO = Networks(MODEL, (3, 2), None, 2, False, explore=True)
MINATAR = Networks(MODEL, (), (32, 32, 3), 3, True)
BOTH = Networks(MODEL, (3, 2), (32, 32, 3), 2, False)
HYPER = {'lr_model': 1e-3, 'lr_actor': 1e-3, 'lr_critic': 1e-3, 'lr_expl': 1e-3, 'w_expl': 0.5}


def random_batch(nets, seed=0, shape=(4, 6)):
    rng = np.random.default_rng(seed)
    obs = {}
    if nets.image:
        obs['image'] = rng.integers(0, 256, (*shape, *nets.image), np.uint8)
    if nets.vector:
        obs['vector'] = rng.normal(size=(*shape, sum(nets.vector))).astype(np.float32)
    action = rng.uniform(-1, 1, (*shape, nets.action)).astype(np.float32)
    if nets.discrete:
        action = np.eye(nets.action, dtype=np.float32)[rng.integers(nets.action, size=shape)]
    zeros = np.zeros(shape, bool)
    return obs | {
        'action': action,
        'reward': rng.normal(size=shape).astype(np.float32),
        'is_first': zeros,
        'is_terminal': zeros,
    }


@functools.cache
def fresh(nets):
    return jax.jit(functools.partial(dreamer.init, nets))(jax.random.key(0))


@functools.cache
def compiled(nets):
    return jax.jit(functools.partial(dreamer.train_step, nets))


def step(nets, state, batch, **hyper):
    return compiled(nets)(state, batch, HYPER | hyper, jax.random.key(1))


def changed(before, after):
    """Names of the subtrees of `params` that an update moved."""
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before['params'], after['params'])
    return {name for name, tree in moved.items() if any(jax.tree.leaves(tree))}


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(('vector', 'image', 'total', 'model'), [
    ((14, 1, 9), None, 18_708_003, 16_469_784),  # walker_walk
    ((), (64, 64, 3), 17_926_030, 15_687_811),
    ((), (32, 32, 3), 12_680_334, 10_442_115),
])  # fmt: skip
def test_size_s_has_the_parameters_of_v1(vector, image, total, model):
    nets = Networks(ModelSpec(), vector, image, 6, False, explore=True)
    params = jax.eval_shape(functools.partial(dreamer.init, nets), jax.random.key(0))['params']
    assert count(params['wm']) == model
    assert count(params['wm']) + count(params['task']['actor']) + count(params['task']['critics']) == total
    assert count(params['disag']) == 12_632_064


def test_initial_scales_of_v1():
    """Realised standard deviations: sqrt(1 / fan_avg) for blocks and outputs, 0 for reward head and critic."""
    params = fresh(Networks(dataclasses.replace(MODEL, units=256, deter=256), (3, 2), None, 2, False))['params']
    kernel = params['wm']['rssm']['params']['img_out']['linear']['kernel']
    assert float(kernel.std()) == pytest.approx((1 / 256) ** 0.5, rel=0.05)
    assert float(jnp.abs(kernel).max()) <= 2 * (1 / 256) ** 0.5 / 0.87962566 + 1e-6  # truncated at two sigma
    assert all(float(jnp.abs(params[a][b][c]['params']['out0']['kernel']).max()) == 0
               for a, b, c in [('task', 'critics', 'task'), ('task', 'slow', 'task')])  # fmt: skip
    assert float(jnp.abs(params['wm']['reward']['params']['out0']['kernel']).max()) == 0
    out = params['wm']['decoder']['params']['out0']['kernel']  # one output layer per observation key
    for part, width in ((out[:, :3], 3), (out[:, 3:], 2)):
        assert float(jnp.abs(part).max()) <= (3 * 2 / (16 + width)) ** 0.5
    assert float(jnp.abs(out[:, 3:]).max()) > (3 * 2 / (16 + 3)) ** 0.5 * 0.9


def test_discrete_actions_are_one_hot_to_the_bit():
    """A replay holds them, and its audit and export tell discrete actions by it."""
    size, act = 256, jax.jit(functools.partial(dreamer.act, MINATAR))
    params = {'wm': fresh(MINATAR)['params']['wm'], 'actor': fresh(MINATAR)['params']['task']['actor']}
    obs = {'image': random_batch(MINATAR, shape=(size,))['image'], 'is_first': np.ones(size, bool)}
    action = np.asarray(act(params, dreamer.init_carry(MINATAR, size), obs, jax.random.key(0))['action'])
    assert action.shape == (size, 3) and set(np.unique(action)) == {0, 1} and (action.sum(1) == 1).all()


@functools.partial(jax.jit, static_argnums=0)
def observe(nets, params, batch, uniform):
    return world_model.losses(WorldModel(nets, params['wm']), batch, uniform).state.deter


def test_a_reset_in_the_middle_starts_over():
    params, batch = fresh(PROPRIO)['params'], random_batch(PROPRIO)
    uniform = jax.random.uniform(jax.random.key(0), (4, 6, MODEL.stoch))
    batch['is_first'] = np.zeros((4, 6), bool)
    batch['is_first'][:, 3] = True
    whole = observe(PROPRIO, params, batch, uniform)
    tail = observe(PROPRIO, params, {key: value[:, 3:] for key, value in batch.items()}, uniform[:, 3:])
    np.testing.assert_allclose(whole[:, 3:], tail, rtol=1e-5, atol=1e-6)


def test_state_t_depends_on_the_action_before_it_and_not_on_the_one_after():
    params, batch = fresh(PROPRIO)['params'], random_batch(PROPRIO)
    uniform = jax.random.uniform(jax.random.key(0), (4, 6, MODEL.stoch))
    before = observe(PROPRIO, params, batch, uniform)
    other = batch | {'action': batch['action'].copy()}
    other['action'][:, 2] *= -1
    after = observe(PROPRIO, params, other, uniform)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3] != after[:, 3]).any()


def test_the_model_clips_actions_and_lets_their_gradient_pass():
    """The value is that at 1 or -1; the gradient is the one there, divided by the size of the action (v1)."""
    wm = WorldModel(PROPRIO, fresh(PROPRIO)['params']['wm'])
    state = State(jax.random.normal(jax.random.key(0), (12,)), jnp.eye(4)[:3])
    action, clipped, size = (jnp.array(x) for x in ([2.5, -1.6], [1.0, -1.0], [2.5, 1.6]))
    value, gradient = jax.value_and_grad(lambda action: (jnp.arange(12) * wm.next(state, action)).sum())(action)
    there, slope = jax.value_and_grad(lambda action: (jnp.arange(12) * wm.next(state, action)).sum())(clipped)
    assert float(value) == pytest.approx(float(there), rel=1e-5)
    assert float(jnp.abs(slope).min()) > 0
    np.testing.assert_allclose(gradient, slope / size, rtol=1e-4)
    np.testing.assert_array_equal(layers.clip(jnp.array([0.3, -1.0])), jnp.array([0.3, -1.0], jnp.float32))


def test_acting_filters_as_training_does():
    """One policy step after another gives the deter that teacher forcing gives."""
    params, batch = fresh(PROPRIO)['params'], random_batch(PROPRIO)
    batch['is_first'] = np.arange(6)[None].repeat(4, 0) == 0
    acting = {'wm': params['wm'], 'actor': params['task']['actor']}
    carry, deters, uniforms, actions = dreamer.init_carry(PROPRIO, 4), [], [], []
    for t in range(6):
        key = jax.random.fold_in(jax.random.key(5), t)
        obs = {name: jnp.asarray(batch[name][:, t]) for name in ('vector', 'is_first')}
        carry = dreamer.act(PROPRIO, acting, carry, obs, key)
        deters.append(carry['deter'])
        actions.append(carry['action'])
        uniforms.append(jax.random.uniform(jax.random.split(key)[0], (4, MODEL.stoch)))
    batch['action'] = jnp.stack(actions, 1)
    np.testing.assert_allclose(
        jnp.stack(deters, 1), observe(PROPRIO, params, batch, jnp.stack(uniforms, 1)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize('nets', [PROPRIO, MINATAR], ids=['proprio', 'minatar'])
def test_one_update_moves_every_network_and_is_finite(nets):
    state = fresh(nets)
    after, metrics = step(nets, state, random_batch(nets))
    assert changed(state, after) == set(state['params'])
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize('name', ['image', 'vector'])
def test_the_posterior_depends_on_the_image_and_on_the_vector(name):
    wm, batch = WorldModel(BOTH, fresh(BOTH)['params']['wm']), random_batch(BOTH)
    other = batch | {name: random_batch(BOTH, seed=1)[name]}
    deter = jnp.zeros((4, 6, MODEL.deter))
    before, after = (wm.posterior(deter, wm.encode(seen)).logp for seen in (batch, other))
    assert (before != after).any((-2, -1)).all()


def test_the_errors_of_image_and_vector_add():
    nets = dataclasses.replace(BOTH, model=dataclasses.replace(MODEL, vector_scale=3.0, obs_scale=2.0))
    wm, batch = WorldModel(nets, fresh(BOTH)['params']['wm']), random_batch(BOTH)
    feat = jax.random.normal(jax.random.key(0), (4, 6, nets.features))
    image, vector = nets.decoder.apply(wm.params['decoder'], feat)
    error = ((image - batch['image'] / 255) ** 2).sum((-3, -2, -1))
    error += 3 * ((vector - dists.symlog(2 * batch['vector'])) ** 2).sum(-1)
    np.testing.assert_allclose(world_model.observation_loss(wm, feat, batch), error, rtol=1e-5)
    seen = wm.observation(feat)
    assert {name: (value.shape, value.dtype) for name, value in seen.items()} == {
        name: (batch[name].shape, batch[name].dtype) for name in ('image', 'vector')
    }


def test_each_learning_rate_belongs_to_its_networks():
    state, batch = fresh(PROPRIO), random_batch(PROPRIO)
    after, _ = step(PROPRIO, state, batch, lr_model=0.0, lr_actor=0.0, lr_critic=0.0)
    assert changed(state, after) == {'disag', 'probe'}
    after, _ = step(PROPRIO, state, batch, lr_actor=0.0, lr_critic=0.0, lr_expl=0.0)
    assert changed(state, after) == {'wm', 'probe'}
    after, _ = step(PROPRIO, state, batch, lr_model=0.0, lr_critic=0.0, lr_expl=0.0)
    task = [{'params': tree['params']['task']} for tree in (state, after)]
    assert changed(*task) == {'actor'}


def test_the_probe_never_touches_the_agent():
    state, batch = fresh(PROPRIO), random_batch(PROPRIO)
    other = {**state, 'params': state['params'] | {'probe': jax.tree.map(lambda x: x + 1, state['params']['probe'])}}
    a, b = step(PROPRIO, state, batch)[0], step(PROPRIO, other, batch)[0]
    for name in set(state['params']) - {'probe'}:
        jax.tree.map(np.testing.assert_array_equal, a['params'][name], b['params'][name])


def test_slow_critic_is_a_copy_at_first_and_then_follows_by_two_percent():
    state, batch = fresh(PROPRIO), random_batch(PROPRIO)
    first, _ = step(PROPRIO, state, batch)
    second, _ = step(PROPRIO, first, batch)

    def bias(state, name):
        return state['params']['task'][name]['task']['params']['out0']['bias']

    np.testing.assert_array_equal(bias(first, 'slow'), bias(first, 'critics'))
    np.testing.assert_allclose(
        bias(second, 'slow'), 0.98 * bias(first, 'slow') + 0.02 * bias(second, 'critics'), rtol=1e-5
    )


def test_mix_decides_which_reward_the_explorer_follows():
    """With weight 0 on the disagreement its reward must not matter to the exploring actor, and the other way round."""
    nets = dataclasses.replace(PROPRIO, model=dataclasses.replace(MODEL, disag_scale=50.0))
    state, batch = fresh(PROPRIO), random_batch(PROPRIO)

    def actor(nets, w):
        return step(nets, state, batch, w_expl=w)[0]['params']['expl']['actor']

    jax.tree.map(np.testing.assert_array_equal, actor(PROPRIO, 0.0), actor(nets, 0.0))
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (actor(PROPRIO, 1.0), actor(nets, 1.0)))))


def test_disagreement_is_the_deviation_between_networks_at_states_1_to_h():
    params = fresh(PROPRIO)['params']
    feat, action = (jax.random.normal(jax.random.key(i), (5, 7, n)) for i, n in enumerate((PROPRIO.features, 2)))
    reward = disagreement(Ensemble(PROPRIO, params['disag']), Trajectory(feat, action, noise=None))
    members = [jax.tree.map(lambda x, i=i: x[i], params['disag']) for i in range(3)]
    inputs = jnp.concatenate([feat[1:], action[1:]], -1)
    preds = np.stack([PROPRIO.disag.apply(member, inputs)[0] for member in members])
    np.testing.assert_allclose(reward, preds.std(0).mean(-1), rtol=1e-4)


def test_networks_that_agree_to_the_bit_give_no_reward_and_a_finite_gradient():
    """The root of a variance of zero has none: one such number in 1,500 updates would end the run."""
    nets = dataclasses.replace(PROPRIO, model=dataclasses.replace(MODEL, ensemble=2))
    params = dreamer.init(nets, jax.random.key(0))['params']
    same = Ensemble(nets, jax.tree.map(lambda x: jnp.stack([x[0], x[0]]), params['disag']))
    feat, action = jnp.ones((2, 1, nets.features)), jnp.ones((2, 1, nets.action))
    value, gradient = jax.value_and_grad(lambda x: disagreement(same, Trajectory(x, action, None)).sum())(feat)
    assert value == 0
    assert not np.asarray(gradient).any()


def test_starts_are_posteriors_of_the_batch_without_repetition():
    nets = dataclasses.replace(PROPRIO, model=dataclasses.replace(MODEL, starts=10))
    state = State(jnp.arange(24.0).reshape(4, 6, 1), jnp.zeros((4, 6, 3, 4)))
    batch = {'is_terminal': np.eye(4, 6, dtype=bool)}
    (deter, _), cont = dreamer.choose_starts(nets, state, batch, jax.random.key(0))
    assert len(set(deter[:, 0].tolist())) == 10
    terminal = np.eye(4, 6).reshape(-1)
    np.testing.assert_array_equal(cont, 1 - terminal[deter[:, 0].astype(int)])


@pytest.mark.parametrize('size', [1e-6, 1e4])
@pytest.mark.parametrize(('optimiser', 'clip', 'eps'), [(optim.MODEL, 1000, 1e-8), (optim.HEAD, 100, 1e-5)])
def test_optimisers_are_adam_after_clipping_by_global_norm(optimiser, clip, eps, size):
    """Two steps, the second with a small gradient: Adam forgets a common scale, not one that changes."""
    params, state = {'a': jnp.zeros(3), 'b': jnp.zeros(2)}, None
    x, first, second = np.zeros(5), np.zeros(5), np.zeros(5)
    state = optimiser.init(params)
    for t, factor in enumerate((1.0, 0.01), 1):
        grad = factor * size * np.array([1.0, -2, 3, 0.5, 1])
        tree = {'a': jnp.array(grad[:3], jnp.float32), 'b': jnp.array(grad[3:], jnp.float32)}
        params, state = optim.step(optimiser, params, tree, state, 0.1)
        grad = grad * min(1, clip / np.linalg.norm(grad))
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        x -= 0.1 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + eps)
        np.testing.assert_allclose(np.concatenate([params['a'], params['b']]), x, rtol=1e-4)


@pytest.mark.parametrize('gradient', ['v1', 'reinforce'])
def test_actor_climbs_a_reward_that_depends_on_its_action(gradient):
    """A probe world: the reward head pays the first action dimension. Both gradient estimators must raise it."""
    model = dataclasses.replace(MODEL, gradient=gradient, entropy=1e-3)
    nets = dataclasses.replace(PROPRIO, explore=False, model=model)
    state, hyper = fresh(nets), {'lr_actor': 3e-3, 'lr_critic': 3e-3}
    rewards = {'task': lambda trajectory: trajectory.action[:-1, :, 0].clip(-1, 1)}
    objective = Objective(WorldModel(nets, state['params']['wm']), rewards, {'task': 1.0})
    starts = Starts(State(jnp.zeros((64, 12)), jnp.zeros((64, 3, 4))), jnp.ones(64))

    @jax.jit
    def update(behaviour, key):
        behaviour, metrics = actor_critic.train(behaviour, objective, starts, hyper, key)
        return behaviour, metrics['task_reward']

    behaviour = Behaviour(state['params']['task'], state['opt']['task'], state['norm']['task'])
    _, rewards = jax.lax.scan(update, behaviour, jax.random.split(jax.random.key(0), 200))
    assert abs(rewards[:10].mean()) < 0.3 and rewards[-10:].mean() > 0.7


def test_terminal_states_end_the_imagined_return():
    reward, value = jnp.ones((3, 1)), jnp.full((4, 1), 10.0)
    cont = jnp.array([1.0, 0.0, 1.0, 1.0])[:, None]
    assert float(actor_critic.lambda_return(reward, value, cont, 0.9, 0.5)[0, 0]) == 1.0
    np.testing.assert_array_equal(actor_critic.state_weights(cont, 0.9)[:, 0], [1.0, 0.0, 0.0, 0.0])


def test_samples_follow_the_probabilities():
    """Inverse CDF on an even grid of uniforms gives the mixed probabilities exactly."""
    logp = dists.unimix(jnp.array([0.0, 1.0, -30.0, 2.0])).logp
    uniform = (jnp.arange(100_000) + 0.5) / 100_000
    sample = dists.OneHot(jnp.broadcast_to(logp, (100_000, 4))).sample(uniform)
    np.testing.assert_allclose(sample.mean(0), jnp.exp(logp), atol=2e-5)
    drawn = np.asarray(dists.OneHot(jnp.broadcast_to(logp, (100_000, 4))).draw(uniform))
    assert set(np.unique(drawn)) == {0, 1} and (drawn.sum(1) == 1).all()
    np.testing.assert_allclose(drawn, sample, atol=1e-7)  # rounding may take the last bit of a sample's 1
    assert float(jnp.exp(logp)[2]) == pytest.approx(0.0025, rel=1e-3)
