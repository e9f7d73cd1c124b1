"""The same three episodes in every format that is read."""

import numpy as np

LENGTHS = (5, 9, 7)  # steps of the episodes; the second one ends by termination


def episodes(pictures=False, discrete=False, seed=0):
    """A list of episodes: observations (T + 1, ...), actions (T, ...), rewards (T,), and whether it terminates."""
    rng = np.random.default_rng(seed)
    found = []
    for index, steps in enumerate(LENGTHS):
        observations = rng.normal(size=(steps, 4)).astype(np.float32)
        if pictures:
            observations = rng.integers(256, size=(steps, 32, 32, 3), dtype=np.uint8)
        actions = rng.integers(3, size=steps - 1) if discrete else rng.uniform(-1, 1, (steps - 1, 2)).astype(np.float32)
        rewards = rng.random(steps - 1).astype(np.float32)
        found.append((observations, actions, rewards, index == 1))
    return found


def ours(recorded):
    """The arrays that these episodes become."""
    columns = {name: [] for name in ('observation', 'action', 'reward', 'is_first', 'is_last', 'is_terminal')}
    for observations, actions, rewards, terminates in recorded:
        steps = len(observations)
        row = np.arange(steps)
        vectors = actions if actions.ndim == 2 else np.eye(3, dtype=np.float32)[actions]
        columns['observation'].append(observations)
        columns['action'].append(np.append(vectors, np.zeros_like(vectors[:1]), axis=0))
        columns['reward'].append(np.append(np.float32(0), rewards))
        columns['is_first'].append(row == 0)
        columns['is_last'].append(row == steps - 1)
        columns['is_terminal'].append((row == steps - 1) & terminates)
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    observation = arrays.pop('observation')
    return arrays | {'image' if observation.dtype == np.uint8 else 'vector': observation}


def write_ogbench(path, recorded, compressed=False):
    """Rows are states: the last row of an episode has an action and a reward that led nowhere."""
    rows = []
    for observations, actions, rewards, _ in recorded:
        last = np.arange(len(observations)) == len(observations) - 1
        rows.append((observations, np.append(actions, actions[:1], axis=0), np.append(rewards, np.float32(9)), last))
    observations, actions, rewards, terminals = (np.concatenate(column) for column in zip(*rows))
    save = np.savez_compressed if compressed else np.savez
    save(path, observations=observations, actions=actions, rewards=rewards, terminals=terminals.astype(np.float32))


def write_d4rl(path, recorded):
    """Rows are transitions."""
    rows = []
    for observations, actions, rewards, terminates in recorded:
        last = np.arange(len(actions)) == len(actions) - 1
        rows.append((observations[:-1], observations[1:], actions, rewards, last & terminates, last & (not terminates)))
    names = ('observations', 'next_observations', 'actions', 'rewards', 'terminals', 'timeouts')
    np.savez(path, **dict(zip(names, (np.concatenate(column) for column in zip(*rows)))))


def write_exorl(folder, recorded):
    """A file an episode, in which an action stands beside the observation that it led to."""
    folder.mkdir()
    for index, (observations, actions, rewards, terminates) in enumerate(recorded):
        name = 'image' if observations.dtype == np.uint8 else 'observation'
        arrays = {name: observations, 'action': np.append(np.zeros_like(actions[:1]), actions, axis=0)}
        arrays['reward'] = np.append(np.float32(0), rewards)[:, None]
        arrays['discount'] = np.append(np.ones(len(rewards), np.float32), np.float32(not terminates))[:, None]
        np.savez(folder / f'episode_{index:06}_{len(rewards)}.npz', physics=np.zeros(3), **arrays)


def write_minari(folder, recorded, spaces, data_format, jpeg=False):
    """Written by the library itself. `spaces` are those of observations and actions."""
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    storage = MinariStorage.new(folder, *spaces, data_format=data_format, jpeg_encoding=jpeg)
    for observations, actions, rewards, terminates in recorded:
        last = np.arange(len(actions)) == len(actions) - 1
        episode = EpisodeBuffer(None, None, None, observations, actions, list(rewards),
                                list(last & terminates), list(last & (not terminates)))  # fmt: skip
        storage.update_episodes([episode])
