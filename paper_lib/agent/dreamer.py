"""The agent as a value: its networks, its state, and the pure functions that train it and act with it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from paper_lib.agent import actor_critic, dists, explore, nets, optim, probe
from paper_lib.agent import world_model as wmod
from paper_lib.contract.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Agent:
    """Static description: sizes, observation and action spaces. Hashable, so it can be a static argument of jit."""

    model: ModelSpec
    vector: tuple[int, ...]  # size of each flattened observation key, () for vision
    image: tuple[int, int, int] | None
    action: int
    discrete: bool
    explore: bool = False  # build and train the ensemble and the exploring behaviour
    frozen: bool = False  # leave the world model as it is

    @property
    def features(self):
        return self.model.deter + self.model.stoch * self.model.classes

    @property
    def reinforce(self):
        return self.discrete or self.model.gradient == 'reinforce'

    @property
    def encoder(self):
        if self.image:
            return nets.ImageEncoder(self.model.cnn_depth, self.model.precision)
        return nets.MLP(self.model.mlp_units, self.model.mlp_layers, self.model.precision)

    @property
    def decoder(self):
        if self.image:
            return nets.ImageDecoder(self.model.cnn_depth, self.image[0], self.model.precision)
        sizes = self.model.mlp_units, self.model.mlp_layers, self.model.precision
        return nets.MLP(*sizes, (sum(self.vector),), splits=self.vector)

    @property
    def rssm(self):
        m = self.model
        return nets.RSSM(m.deter, m.stoch, m.classes, m.units, m.precision)

    def _head(self, *outs, zero=False):
        return nets.MLP(self.model.units, self.model.layers, self.model.precision, outs, zero)

    @property
    def reward(self):
        return self._head(self.model.bins, zero=True)

    @property
    def critic(self):
        return self._head(self.model.bins, zero=True)

    @property
    def cont(self):
        return self._head(1)

    @property
    def actor(self):
        return self._head(self.action) if self.discrete else self._head(self.action, self.action)

    @property
    def disag(self):
        vector = self.model.disag_target == 'vector'
        return self._head(sum(self.vector) if vector else self.model.stoch * self.model.classes)

    @property
    def probe(self):
        return nets.Autoencoder(self.model.probe_units, self.features, self.model.precision)


def init(agent, key):
    """Fresh state: {'params', 'opt', 'norm'} pytrees."""
    keys = jax.random.split(key, 8)
    obs = (
        {'image': jnp.zeros((1, *agent.image), jnp.uint8)}
        if agent.image
        else {'vector': jnp.zeros((1, sum(agent.vector)))}
    )
    feat = jnp.zeros((1, agent.features))
    wm = {'encoder': agent.encoder.init(keys[0], *obs.values())}
    embed = wmod.encode(agent, wm, obs)
    wm['rssm'] = agent.rssm.init(keys[1], jnp.zeros(agent.action), embed[0])
    for name, k in zip(('decoder', 'reward', 'cont'), keys[2:5]):
        wm[name] = getattr(agent, name).init(k, feat)
    params, opt, norm = {'wm': wm}, {'wm': optim.MODEL.init(wm)}, {}
    params['probe'], opt['probe'] = probe.init(agent, keys[5])
    params['task'], opt['task'], norm['task'] = actor_critic.init(agent, keys[6], ('task',))
    if agent.explore:
        expl_key, disag_key = jax.random.split(keys[7])
        params['expl'], opt['expl'], norm['expl'] = actor_critic.init(agent, expl_key, ('task', 'disag'))
        params['disag'], opt['disag'] = explore.init(agent, disag_key)
    return {'params': params, 'opt': opt, 'norm': norm}


def train_step(agent, state, batch, hyper, key):
    """One gradient update of every network: (state, batch (B, T, ...), hyper, key) -> (state, metrics).

    Order as in v1: world model, task behaviour, ensemble, exploring behaviour. Imagination starts from
    the posteriors computed before the model's update and runs in the updated model.
    `hyper` holds the lane's traced values: lr_model, lr_actor, lr_critic, lr_expl, w_expl.
    """
    params, opt, norm = dict(state['params']), dict(state['opt']), dict(state['norm'])
    latent_key, start_key, task_key, expl_key = jax.random.split(key, 4)
    uniform = jax.random.uniform(latent_key, (*batch['reward'].shape, agent.model.stoch))
    if agent.frozen:
        _, (states, metrics) = wmod.loss(agent, params['wm'], batch, uniform)
    else:
        grad = jax.grad(functools.partial(wmod.loss, agent), has_aux=True)
        grads, (states, metrics) = grad(params['wm'], batch, uniform)
        params['wm'], opt['wm'] = optim.step(optim.MODEL, params['wm'], grads, opt['wm'], hyper['lr_model'])

    start, first_cont = choose_starts(agent, states, batch, start_key)
    rewards = {'task': lambda wm, feat, action: wmod.reward_mean(agent, wm, feat[1:])}
    args = (start, first_cont, hyper)
    params['task'], opt['task'], norm['task'], task_metrics = actor_critic.train(
        agent, params['wm'], params['task'], opt['task'], norm['task'], rewards, {'task': 1.0}, *args, task_key
    )
    metrics |= task_metrics
    if agent.explore:
        params['disag'], opt['disag'], disag_metrics = explore.train(
            agent, params['disag'], opt['disag'], states, batch, hyper
        )
        rewards['disag'] = explore.reward(agent, params['disag'])
        mix = {'task': 1 - hyper['w_expl'], 'disag': hyper['w_expl']}
        params['expl'], opt['expl'], norm['expl'], expl_metrics = actor_critic.train(
            agent, params['wm'], params['expl'], opt['expl'], norm['expl'], rewards, mix, *args, expl_key
        )
        metrics |= disag_metrics | {f'expl_{k}': v for k, v in expl_metrics.items()}
    feat = wmod.features(*states)
    params['probe'], opt['probe'], probe_metrics = probe.train(agent, params['probe'], opt['probe'], feat)
    return {'params': params, 'opt': opt, 'norm': norm}, metrics | probe_metrics


def choose_starts(agent, states, batch, key):
    """Imagination starts: all B x T posteriors, or `model.starts` of them drawn without replacement."""
    flat = jax.tree.map(
        lambda x: jax.lax.stop_gradient(x).reshape((-1, *x.shape[2:])), (*states, 1.0 - batch['is_terminal'])
    )
    if agent.model.starts:
        index = jax.random.permutation(key, flat[0].shape[0])[: agent.model.starts]
        flat = jax.tree.map(lambda x: x[index], flat)
    return flat[:2], flat[2]


def train_chunk(agent, state, batches, hyper, keys):
    """K updates in one program: batches (K, B, T, ...), keys (K,) -> (state, metrics averaged over the chunk)."""

    names = []

    def step(state, inputs):
        state, metrics = train_step(agent, state, inputs[0], hyper, inputs[1])
        names[:] = metrics
        return state, jnp.stack([*metrics.values()])  # one array: a tenth of the kernels moved single numbers

    state, metrics = jax.lax.scan(step, state, (batches, keys))
    return state, dict(zip(names, metrics.mean(0)))


def init_carry(agent, size):
    """Recurrent state of `size` environments before their first step."""
    model = agent.model
    return {
        'deter': jnp.zeros((size, model.deter)),
        'stoch': jnp.zeros((size, model.stoch, model.classes)),
        'action': jnp.zeros((size, agent.action)),
    }


def policy(agent, params, carry, obs, key, behaviour):
    """One acting step: filter the observation (n, ...) in, sample an action (n, A) from a sampled posterior (v1).

    `behaviour` is 'task' or 'expl'. Returns the new carry, whose 'action' is the one to take.
    """
    latent_key, action_key = jax.random.split(key)
    size = obs['is_first'].shape[0]
    uniform = jax.random.uniform(latent_key, (size, agent.model.stoch))
    embed = wmod.encode(agent, params['wm'], obs)
    state, fresh = (carry['deter'], carry['stoch']), agent.rssm.apply(params['wm']['rssm'], method='initial')
    inputs = (embed, carry['action'], obs['is_first'], uniform)
    (deter, stoch), _ = wmod.observe_step(agent, params['wm'], fresh, state, *inputs)
    dist = actor_critic.actor_dist(agent, params[behaviour]['actor'], wmod.features(deter, stoch))
    action = actor_critic.sample_action(agent, dist, actor_critic.action_noise(agent, action_key, (size,)))
    return {'deter': deter, 'stoch': stoch, 'action': action}


def inside(agent, params, episodes, key):
    """Teacher-force whole episodes (n, L, ...) through the model, from its learned initial state.

    Returns per step (n, L) losses, value and reconstruction, of the definition in training (free nats included), and
    the states (n, L, ...) behind them.
    """
    uniform = jax.random.uniform(key, (*episodes['reward'].shape, agent.model.stoch))
    terms, states = wmod.losses(agent, params['wm'], episodes, uniform)
    feat = wmod.features(*states)
    return {
        'wm_loss': wmod.total(terms),
        **{f'wm_{name}': value for name, value in terms.items()},
        'value': actor_critic.value_mean(agent, params['task']['critics']['task'], feat),
        'recon_loss': probe.error(agent, params['probe'], feat),
    }, states


def assess(agent, params, episodes, key):
    """What `inside` finds, without the states."""
    return inside(agent, params, episodes, key)[0]


def decode(agent, params, episodes, key):
    """What the decoder makes of the first episode's states in `assess` with this key: (1, L, ...)."""
    _, states = inside(agent, params, episodes, key)
    return {'decoded': observation(agent, params, wmod.features(*states)[:1])}


def observation(agent, params, feat):
    """What the decoder makes of features (..., F): pictures (..., H, W, 3) uint8, or vectors (..., D) as observed."""
    made = agent.decoder.apply(params['wm']['decoder'], feat)
    if agent.image:
        return (255 * jnp.clip(made, 0, 1)).round().astype(jnp.uint8)
    return dists.symexp(made[0]) / agent.model.obs_scale
