"""Return across models: what several models of a recording predict for the policy of an agent.

A model stands for the environment. The agent sees what this model decodes, and filters it with its own networks.
`docs/protocol_measures.md` defines the measure. See `paper_lib.agent` for the sizes; n is a number of recorded windows.
"""

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib.agent import measures
from paper_lib.agent.actor_critic import Policy, Starts
from paper_lib.agent.networks import Networks, Params
from paper_lib.agent.world_model import Batch, Evidence, State, WorldModel

STEPS = (15, 50)  # numbers of imagined steps, rising


def starts(nets: Networks, params: Params, windows: Batch, key: jax.Array) -> Starts:
    """The last state of every recorded window (n, T, ...), filtered with these weights."""
    return measures.look(WorldModel(nets, params['wm']), windows, key).last


def rates(nets: Networks, agent: Params, model: Params, own: State, start: Starts, key: jax.Array) -> jax.Array:
    """Predicted reward per step over the first steps, one value for each number in STEPS; mean over starts.

    `model` are the weights of the world model that stands for the environment, whose states are `start`; `agent` are
    those of the agent, whose own states there are `own` (n, ...). Starts without continuation do not count.
    """
    reward = rewards(nets, agent, model, own, start, key)
    of_starts = jnp.stack([reward[:steps].sum(0) / steps for steps in STEPS])
    return jax.vmap(measures.mean, (0, None))(of_starts, start.cont)


def rewards(nets: Networks, agent: Params, model: Params, own: State, start: Starts, key: jax.Array) -> jax.Array:
    """(N, n) rewards that a model predicts for the policy of an agent, N = STEPS[-1]; arguments as in `rates`.

    They are 0 after a state that the model predicts to be terminal.
    """
    size = len(start.cont)
    noise_key, latent_key = jax.random.split(key)
    noise = nets.action_noise(noise_key, (STEPS[-1], size))
    uniform = jax.random.uniform(latent_key, (2, STEPS[-1], size, nets.model.stoch))
    world = WorldModel(nets, model['wm'])
    filtering = WorldModel(nets, agent['wm'])
    policy = Policy(nets, agent['task']['actor'])
    initial = filtering.initial()
    is_first = jnp.zeros(size, bool)

    def step(states, inputs):
        own, state = states
        noise, uniform, own_uniform = inputs
        action = policy(own.feat).draw(noise)
        deter = world.next(state, action)
        state = State(deter, world.prior(deter).sample(uniform))
        seen = filtering.encode(world.observation(state.feat))
        own = filtering.filter(initial, own, Evidence(seen, action, is_first, own_uniform)).state
        return (own, state), state.feat

    _, feat = jax.lax.scan(step, (own, start.state), (noise, *uniform))
    cont = jnp.concatenate([start.cont[None], world.cont(feat).mode()])
    return world.reward(feat).mean() * jnp.cumprod(cont, 0)[:-1]


def elsewhere(predicted: np.ndarray, best_rate: float) -> np.ndarray:
    """What other models than an agent's own predict for it, (K, ...), their mean.

    `predicted` (K, K, ...) has the rates that every model (second axis) predicts for every agent (first axis), agents
    and models in the same order. The result is in units of the recording's best reward rate. It is NaN if that is not
    above zero, and for a single agent.
    """
    count = len(predicted)
    if count == 1 or not best_rate > 0:
        return np.full((count, *predicted.shape[2:]), np.nan)
    is_own = np.eye(count, dtype=bool)
    return predicted[~is_own].reshape(count, count - 1, *predicted.shape[2:]).mean(1) / best_rate


def gaps(predicted: np.ndarray, best_rate: float) -> np.ndarray:
    """By how much what an agent's own model predicts for it exceeds `elsewhere`, (K, ...)."""
    others = elsewhere(predicted, best_rate)
    own = predicted[np.eye(len(predicted), dtype=bool)]
    return np.divide(own, best_rate, out=np.full_like(others, np.nan), where=np.isfinite(others)) - others
