"""Loads the reference vectors of DreamerV3 v1 and maps their names onto our parameter trees."""

import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib.agent.networks import Networks
from paper_lib.contract.spec import ModelSpec

FOLDER = pathlib.Path(os.environ.get('PAPER_LIB_GOLDEN') or pathlib.Path(__file__).parents[1] / 'golden')
AGENTS = ('proprio', 'vision64', 'vision32_discrete')


def load(name):
    if name.endswith('.json'):
        return json.loads((FOLDER / name).read_text())
    with np.load(FOLDER / name) as data:
        return {key: data[key] for key in data.files}


def networks_of(name):
    """The networks that a reference was made with, their sizes read off the weights."""
    weights, batch = load(f'{name}_weights.npz'), load(f'{name}_batch.npz')
    rssm = {key.removeprefix('wm.rssm.'): value.shape for key, value in weights.items() if key.startswith('wm.rssm.')}
    stoch, classes = load(f'{name}_forward.npz')['in_stoch'].shape[1:]
    layers = sum(key.startswith('wm.rew.h') and key.endswith('kernel') for key in weights)
    ensemble = sum(key.startswith('expl_behavior.disag_reward') and key.endswith('h0.kernel') for key in weights)
    image = batch['image'].shape[2:] if 'image' in batch else None
    mlp = (
        {}
        if image
        else {
            'mlp_units': weights['wm.enc.mlp.h0.kernel'].shape[1],
            'mlp_layers': sum(key.startswith('wm.enc.mlp.h') and key.endswith('kernel') for key in weights),
        }
    )
    depth = {'cnn_depth': weights['wm.enc.cnn.s0res.kernel'].shape[-1]} if image else {}
    model = ModelSpec(
        deter=rssm['initial'][0],
        stoch=stoch,
        classes=classes,
        units=rssm['img_out.kernel'][1],
        layers=layers,
        horizon=5,
        batch=batch['reward'].shape[0],
        length=batch['reward'].shape[1],
        bins=weights['wm.rew.dist_out.out.bias'].shape[0],
        ensemble=max(1, ensemble),
        **mlp,
        **depth,
    )
    discrete = 'task_behavior.ac.actor.dist_out.std.kernel' not in weights
    vector = () if image else (batch['vector'].shape[-1],)
    return Networks(model, vector, image, batch['action'].shape[-1], discrete, explore=ensemble > 0)


def params_of(name):
    """The reference weights as our parameter tree."""
    weights = {key: jnp.asarray(value) for key, value in load(f'{name}_weights.npz').items()}

    def under(prefix):
        return {key.removeprefix(prefix + '.'): value for key, value in weights.items() if key.startswith(prefix + '.')}

    def block(w, prefix):
        return {
            'linear': {'kernel': w[f'{prefix}.kernel']},
            'norm': {'scale': w[f'{prefix}.norm.scale'], 'bias': w[f'{prefix}.norm.bias']},
        }

    def dense(w, prefix):
        return {'kernel': w[f'{prefix}.kernel'], 'bias': w[f'{prefix}.bias']}

    def mlp(prefix, *outs):
        w = under(prefix)
        count = sum(key.startswith('h') and key.endswith('.kernel') for key in w)
        return {
            'params': {f'h{i}': block(w, f'h{i}') for i in range(count)}
            | {f'out{i}': dense(w, out) for i, out in enumerate(outs)}
        }

    def cnn(prefix, transpose):
        w, tree = under(prefix), {}
        for i in range(sum(key.endswith('res.kernel') for key in w)):
            kernel = w[f's{i}res.kernel']
            tree[f'conv{i}'] = {'kernel': kernel.transpose(0, 1, 3, 2) if transpose else kernel}
            if f's{i}res.norm.scale' in w:
                tree[f'norm{i}'] = {'scale': w[f's{i}res.norm.scale'], 'bias': w[f's{i}res.norm.bias']}
            else:
                tree[f'conv{i}']['bias'] = w[f's{i}res.bias']
        return {'params': tree | ({'in': dense(w, 'in')} if transpose else {})}

    nets, w = networks_of(name), under('wm.rssm')
    rssm = {key: block(w, key) for key in ('img_in', 'img_out', 'obs_out')}
    rssm |= {key: dense(w, key) for key in ('img_stats', 'obs_stats')}
    rssm |= {
        'gru': {'kernel': w['gru.kernel']},
        'gru_norm': {'scale': w['gru.norm.scale'], 'bias': w['gru.norm.bias']},
        'initial': w['initial'],
    }
    wm = {
        'encoder': cnn('wm.enc.cnn', False) if nets.image else mlp('wm.enc.mlp'),
        'rssm': {'params': rssm},
        'decoder': cnn('wm.dec.cnn', True) if nets.image else mlp('wm.dec.mlp', 'dist_vector.out'),
        'reward': mlp('wm.rew', 'dist_out.out'),
        'cont': mlp('wm.cont', 'dist_out.out'),
    }
    outs = ('dist_out.out',) if nets.discrete else ('dist_out.out', 'dist_out.std')

    def behaviour(prefix, critics):
        return {
            'actor': mlp(f'{prefix}.ac.actor', *outs),
            'critics': {ours: mlp(f'{prefix}.{theirs}.net', 'dist_out.out') for ours, theirs in critics.items()},
            'slow': {ours: mlp(f'{prefix}.{theirs}.slow', 'dist_out.out') for ours, theirs in critics.items()},
        }

    params = {'wm': wm, 'task': behaviour('task_behavior', {'task': 'critic'})}
    if nets.explore:
        params['expl'] = behaviour('expl_behavior', {'task': 'extr', 'disag': 'disag'})
        members = [mlp(f'expl_behavior.disag_reward.disag{i}', 'dist_out.out') for i in range(nets.model.ensemble)]
        params['disag'] = jax.tree.map(lambda *xs: jnp.stack(xs), *members)
    return params
