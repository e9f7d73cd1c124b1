"""The agent as pure functions: its state, one update of all networks, acting, and looking at episodes.

`state` is {'params', 'opt', 'norm'}, and each of these has an entry per group of networks:
'wm', 'task' and 'probe', where the run explores also 'expl' and 'disag'.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from paper_lib.agent import actor_critic, optim, plan2explore, probe, world_model
from paper_lib.agent.actor_critic import Learner, Objective, Policy, Starts
from paper_lib.agent.networks import Networks, Params
from paper_lib.agent.plan2explore import Ensemble
from paper_lib.agent.world_model import Batch, Evidence, State, WorldModel

Tree = dict[str, Any]
Arrays = dict[str, jax.Array]


def init(nets: Networks, key: jax.Array) -> Tree:
    """Fresh state."""
    keys = jax.random.split(key, 8)
    wm = world_model.init(nets, keys[:5])
    state = {'params': {'wm': wm}, 'opt': {'wm': optim.MODEL.init(wm)}, 'norm': {}}
    params, opt = state['params'], state['opt']
    params['probe'], opt['probe'] = probe.init(nets, keys[5])
    _put(state, 'task', actor_critic.init(nets, keys[6], ('task',)))
    if nets.explore:
        expl_key, disag_key = jax.random.split(keys[7])
        _put(state, 'expl', actor_critic.init(nets, expl_key, ('task', 'disag')))
        params['disag'], opt['disag'] = plan2explore.init(nets, disag_key)
    return state


def _learner(state, name):
    return Learner(*(state[kind][name] for kind in ('params', 'opt', 'norm')))


def _put(state, name, learner):
    for kind, tree in zip(('params', 'opt', 'norm'), learner):
        state[kind][name] = tree


def train_step(nets: Networks, state: Tree, batch: Batch, hyper: Arrays, key: jax.Array) -> tuple[Tree, Arrays]:
    """One gradient update of every network on a batch (B, T, ...): the new state, and metrics.

    The order is v1's: world model, task behaviour, ensemble, exploring behaviour.
    Imagination starts from the posteriors computed before the model's update and runs in
    the updated model. `hyper` holds the lane's traced values: lr_model, lr_actor,
    lr_critic, lr_expl, w_expl.
    """
    state = {kind: dict(tree) for kind, tree in state.items()}
    params, opt = state['params'], state['opt']
    latent_key, start_key, task_key, expl_key = jax.random.split(key, 4)
    uniform = jax.random.uniform(latent_key, (*batch['reward'].shape, nets.model.stoch))

    wm = WorldModel(nets, params['wm'])
    model = world_model.train(wm, opt['wm'], batch, uniform, hyper['lr_model'])
    params['wm'], opt['wm'], metrics = model.wm.params, model.opt, dict(model.metrics)

    starts = choose_starts(nets, model.state, batch, start_key)
    rewards = {'task': functools.partial(actor_critic.task_reward, model.wm)}
    objective = Objective(model.wm, rewards, {'task': 1.0})
    learner, found = actor_critic.train(_learner(state, 'task'), objective, starts, hyper, task_key)
    _put(state, 'task', learner)
    metrics |= found

    if nets.explore:
        ensemble = Ensemble(nets, params['disag'])
        disag = plan2explore.train(ensemble, opt['disag'], model.state, batch, hyper['lr_expl'])
        params['disag'], opt['disag'] = disag.ensemble.params, disag.opt
        rewards['disag'] = functools.partial(plan2explore.disagreement, disag.ensemble)
        mix = {'task': 1 - hyper['w_expl'], 'disag': hyper['w_expl']}
        objective = Objective(model.wm, rewards, mix)
        learner, found = actor_critic.train(_learner(state, 'expl'), objective, starts, hyper, expl_key)
        _put(state, 'expl', learner)
        metrics |= disag.metrics | {f'expl_{name}': value for name, value in found.items()}

    watched = probe.train(nets, params['probe'], opt['probe'], model.state.feat)
    params['probe'], opt['probe'] = watched.params, watched.opt
    return state, metrics | watched.metrics


def choose_starts(nets: Networks, state: State, batch: Batch, key: jax.Array) -> Starts:
    """Imagination starts: all B x T posteriors, or `model.starts` of them drawn without replacement."""
    starts = Starts(jax.lax.stop_gradient(state), 1.0 - batch['is_terminal'])
    starts = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), starts)
    if nets.model.starts:
        index = jax.random.permutation(key, starts.cont.shape[0])[: nets.model.starts]
        starts = jax.tree.map(lambda x: x[index], starts)
    return starts


def train_chunk(nets: Networks, state: Tree, batches: Batch, hyper: Arrays, keys: jax.Array) -> tuple[Tree, Arrays]:
    """K updates in one program, on batches (K, B, T, ...) with keys (K,): the new state, and mean metrics."""
    names = []

    def step(state, inputs):
        batch, key = inputs
        state, metrics = train_step(nets, state, batch, hyper, key)
        names[:] = metrics
        return state, jnp.stack([*metrics.values()])  # one array: a tenth of the kernels moved single numbers

    state, metrics = jax.lax.scan(step, state, (batches, keys))
    return state, dict(zip(names, metrics.mean(0)))


# Acting.


def init_carry(nets: Networks, size: int) -> Tree:
    """What a policy remembers of `size` environments, before their first step."""
    model = nets.model
    return {
        'deter': jnp.zeros((size, model.deter)),
        'stoch': jnp.zeros((size, model.stoch, model.classes)),
        'action': jnp.zeros((size, nets.action)),
    }


def policy(nets: Networks, params: Params, carry: Tree, obs: Batch, key: jax.Array) -> Tree:
    """One acting step: take the observation (N, ...) in, sample an action from a sampled posterior (v1).

    `params` holds the weights of the world model ('wm') and of the actor that acts
    ('actor'). Returns the new carry, whose 'action' (N, A) is the one to take.
    """
    latent_key, action_key = jax.random.split(key)
    size = obs['is_first'].shape[0]
    uniform = jax.random.uniform(latent_key, (size, nets.model.stoch))
    wm = WorldModel(nets, params['wm'])
    seen = Evidence(wm.encode(obs), carry['action'], obs['is_first'], uniform)
    state = wm.filter(wm.initial(), State(carry['deter'], carry['stoch']), seen).state
    dist = Policy(nets, params['actor'])(state.feat)
    action = dist.sample(nets.action_noise(action_key, (size,)))
    return {'deter': state.deter, 'stoch': state.stoch, 'action': action}


# Looking at episodes.


class Examined(NamedTuple):
    """What the agent makes of episodes: measures by name, (N, T) each, and the states behind them."""

    measures: Arrays
    state: State


def examine(nets: Networks, params: Params, episodes: Batch, key: jax.Array) -> Examined:
    """Take whole episodes (N, T, ...) in, from the learned initial state.

    The measures are losses as defined in training (free nats included), values and
    reconstruction errors.
    """
    uniform = jax.random.uniform(key, (*episodes['reward'].shape, nets.model.stoch))
    losses = world_model.losses(WorldModel(nets, params['wm']), episodes, uniform)
    feat = losses.state.feat
    measures = {f'wm_{name}': term for name, term in losses.terms.items()}
    measures['wm_loss'] = losses.total()
    measures['value'] = actor_critic.critic(nets, params['task']['critics']['task'], feat).mean()
    measures['recon_loss'] = probe.error(nets, params['probe'], feat)
    return Examined(measures, losses.state)


def assess(nets: Networks, params: Params, episodes: Batch, key: jax.Array) -> Arrays:
    """The measures of `examine`."""
    return examine(nets, params, episodes, key).measures


def decode(nets: Networks, params: Params, episodes: Batch, key: jax.Array) -> Arrays:
    """The images that the decoder makes of the first episode's states in `assess` with this key: (1, T, ...)."""
    state = examine(nets, params, episodes, key).state
    return {'decoded': WorldModel(nets, params['wm']).observation(state.feat[:1])['image']}
