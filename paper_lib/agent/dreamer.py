"""The agent as pure functions: its state, one update of all networks, acting, and measuring whole episodes.

The state of an agent is {'params', 'opt', 'norm'}: weights, optimiser states and return
normalisers. 'params' and 'opt' have an entry for each group of networks: 'wm', 'task' and
'probe', and in a run that explores also 'expl' and 'disag'. 'norm' has an entry for each
behaviour: 'task', and 'expl'.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from paper_lib.agent import actor_critic, optim, plan2explore, probe, world_model
from paper_lib.agent.actor_critic import Behaviour, Objective, Policy, Starts
from paper_lib.agent.networks import Networks, Params
from paper_lib.agent.plan2explore import Ensemble
from paper_lib.agent.world_model import Batch, Evidence, State, WorldModel

Tree = dict[str, Any]
Arrays = dict[str, jax.Array]


def init(nets: Networks, key: jax.Array) -> Tree:
    """The state of a new agent."""
    keys = jax.random.split(key, 8)
    wm = world_model.init(nets, keys[:5])
    state = {'params': {'wm': wm}, 'opt': {'wm': optim.MODEL.init(wm)}, 'norm': {}}
    params, opt = state['params'], state['opt']
    params['probe'], opt['probe'] = probe.init(nets, keys[5])
    _put_behaviour(state, 'task', actor_critic.init(nets, keys[6], ('task',)))
    if nets.explore:
        expl_key, disag_key = jax.random.split(keys[7])
        _put_behaviour(state, 'expl', actor_critic.init(nets, expl_key, ('task', 'disag')))
        params['disag'], opt['disag'] = plan2explore.init(nets, disag_key)
    return state


def _behaviour(state: Tree, name: str) -> Behaviour:
    """The behaviour 'task' or 'expl' of a state."""
    return Behaviour(state['params'][name], state['opt'][name], state['norm'][name])


def _put_behaviour(state: Tree, name: str, behaviour: Behaviour) -> None:
    """Write a behaviour into a state."""
    state['params'][name], state['opt'][name], state['norm'][name] = behaviour


def train_step(nets: Networks, state: Tree, batch: Batch, hyper: Arrays, key: jax.Array) -> tuple[Tree, Arrays]:
    """One update of every network on a batch (B, T, ...). Returns the new state and metrics.

    The order is v1's: world model, task behaviour, ensemble, exploring behaviour.
    Imagination starts from the posteriors that the world model computed before its update,
    and runs in the updated world model. `hyper` holds the lane's traced values: lr_model,
    lr_actor, lr_critic, lr_expl, w_expl.
    """
    state = {kind: dict(tree) for kind, tree in state.items()}
    params = state['params']
    opt = state['opt']
    latent_key, start_key, task_key, expl_key = jax.random.split(key, 4)
    uniform = jax.random.uniform(latent_key, (*batch['reward'].shape, nets.model.stoch))

    # The world model.
    trained = world_model.train(WorldModel(nets, params['wm']), opt['wm'], batch, uniform, hyper['lr_model'])
    wm = trained.wm
    params['wm'] = wm.params
    opt['wm'] = trained.opt
    metrics = dict(trained.metrics)

    # The task behaviour, in imagination.
    starts = choose_starts(nets, trained.state, batch, start_key)
    rewards = {'task': functools.partial(actor_critic.task_reward, wm)}
    objective = Objective(wm, rewards, {'task': 1.0})
    task, task_metrics = actor_critic.train(_behaviour(state, 'task'), objective, starts, hyper, task_key)
    _put_behaviour(state, 'task', task)
    metrics |= task_metrics

    # The ensemble and the exploring behaviour (Plan2Explore).
    if nets.explore:
        disag = plan2explore.train(
            Ensemble(nets, params['disag']), opt['disag'], trained.state, batch, hyper['lr_expl']
        )
        params['disag'] = disag.ensemble.params
        opt['disag'] = disag.opt
        rewards = rewards | {'disag': functools.partial(plan2explore.disagreement, disag.ensemble)}
        mix = {'task': 1 - hyper['w_expl'], 'disag': hyper['w_expl']}
        objective = Objective(wm, rewards, mix)
        expl, expl_metrics = actor_critic.train(_behaviour(state, 'expl'), objective, starts, hyper, expl_key)
        _put_behaviour(state, 'expl', expl)
        metrics |= disag.metrics | {f'expl_{name}': value for name, value in expl_metrics.items()}

    # The probe, which only watches.
    trained_probe = probe.train(nets, params['probe'], opt['probe'], trained.state.feat)
    params['probe'] = trained_probe.params
    opt['probe'] = trained_probe.opt
    return state, metrics | trained_probe.metrics


def choose_starts(nets: Networks, state: State, batch: Batch, key: jax.Array) -> Starts:
    """Imagination starts: all posterior states (B, T), or `model.starts` of them, drawn without replacement."""
    starts = Starts(jax.lax.stop_gradient(state), 1.0 - batch['is_terminal'])
    starts = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), starts)
    if nets.model.starts:
        index = jax.random.permutation(key, starts.cont.shape[0])[: nets.model.starts]
        starts = jax.tree.map(lambda x: x[index], starts)
    return starts


def train_chunk(nets: Networks, state: Tree, batches: Batch, hyper: Arrays, keys: jax.Array) -> tuple[Tree, Arrays]:
    """K updates on batches (K, B, T, ...) with keys (K,). Returns the new state and the means of the metrics."""
    names = []  # of the metrics, known when `step` is traced

    def step(state, inputs):
        batch, key = inputs
        state, metrics = train_step(nets, state, batch, hyper, key)
        names[:] = metrics
        # One array for all metrics: as single numbers they took a tenth of the GPU kernels.
        return state, jnp.stack([*metrics.values()])

    state, metrics = jax.lax.scan(step, state, (batches, keys))
    return state, dict(zip(names, metrics.mean(0)))


# Acting.


def init_carry(nets: Networks, size: int) -> Tree:
    """The state of a policy in `size` environments before their first step."""
    model = nets.model
    return {
        'deter': jnp.zeros((size, model.deter)),
        'stoch': jnp.zeros((size, model.stoch, model.classes)),
        'action': jnp.zeros((size, nets.action)),
    }


def act(nets: Networks, params: Params, carry: Tree, obs: Batch, key: jax.Array) -> Tree:
    """One step of acting: filter the observation (N, ...), then sample an action.

    As in v1, the actor sees a sample of the posterior, not its mode. `params` holds the
    weights of the world model ('wm') and of the actor ('actor'). Returns the new carry,
    whose 'action' (N, A) is the one to take.
    """
    latent_key, action_key = jax.random.split(key)
    size = obs['is_first'].shape[0]
    uniform = jax.random.uniform(latent_key, (size, nets.model.stoch))
    wm = WorldModel(nets, params['wm'])
    evidence = Evidence(wm.encode(obs), carry['action'], obs['is_first'], uniform)
    state = wm.filter(wm.initial(), State(carry['deter'], carry['stoch']), evidence).state
    dist = Policy(nets, params['actor'])(state.feat)
    action = dist.draw(nets.action_noise(action_key, (size,)))
    return {'deter': state.deter, 'stoch': state.stoch, 'action': action}


# Measuring whole episodes.


class Examined(NamedTuple):
    """Measures of episodes, and the posterior states that they are computed in."""

    measures: Arrays  # by name: (N, T) each
    state: State  # (N, T, ...)


def examine(nets: Networks, params: Params, episodes: Batch, key: jax.Array) -> Examined:
    """Filter whole episodes (N, T, ...) from the learned initial state, and measure every step.

    The measures are the world-model losses as in training (free nats included), the
    critic's values and the probe's reconstruction errors.
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
    """'decoded' (1, T, X, Y, 3): images decoded from the first episode's states in `assess` with the same key."""
    state = examine(nets, params, episodes, key).state
    return {'decoded': WorldModel(nets, params['wm']).observation(state.feat[:1])['image']}
