"""MinAtar as images, with the package's defaults: sticky actions (0.1) and rising difficulty.

An agent has those of the six actions that have an effect in the game. The image is what the
package draws: a cell has the colour of its highest active channel, on black. It is enlarged
to the task's size without smoothing.
"""

import numpy as np

from paper_lib.contract.pictures import nearest
from paper_lib.contract.tasks import Suite, Task, register
from paper_lib.envs.base import Spaces

GAMES = ('asterix', 'breakout', 'freeway', 'seaquest', 'space_invaders')

# The colours of the package by number of channels: seaborn's palette `cubehelix`.
PALETTES = {
    4: ((22, 61, 78), (84, 121, 47), (208, 126, 147), (193, 202, 243)),
    6: ((26, 36, 65), (27, 97, 69), (105, 123, 48), (200, 123, 124), (205, 162, 224), (198, 225, 241)),
    7: ((27, 30, 59), (22, 83, 76), (68, 119, 49), (161, 121, 74), (212, 132, 169), (198, 180, 238), (203, 232, 240)),
    10: ((25, 18, 43), (23, 52, 76), (24, 91, 72), (60, 118, 50), (126, 122, 54), (188, 121, 103), (212, 134, 175),
         (202, 169, 231), (194, 210, 243), (214, 240, 239)),
}  # fmt: skip
GRID = 10  # cells per side


class Simulator:
    """Simulator of one game; see base.Env for its methods.

    An action is an index into the game's minimal set.
    """

    def __init__(self, task: Task):
        import minatar

        self._game = minatar.Environment(task.name)
        self._actions = self._game.minimal_action_set()
        self.spaces = Spaces((), (task.image, task.image, 3), len(self._actions), discrete=True)
        self._weights = 1 << np.arange(self._game.n_channels)
        self._colours = colours(self._game.n_channels)
        cells = nearest(task.image, GRID)
        self._cells = cells[:, None] * GRID + cells

    def reset(self, seeds: np.random.SeedSequence) -> None:
        self._game.seed(np.random.MT19937(seeds))
        self._game.last_action = 0  # the package repeats the last action of the episode before
        self._game.reset()

    def act(self, action: int) -> tuple[float, bool, bool]:
        reward, terminal = self._game.act(self._actions[action])
        return float(reward), terminal, terminal

    def observe(self) -> dict[str, np.ndarray]:
        codes = self._game.state() @ self._weights
        return {'image': self._colours[codes.ravel()[self._cells]]}


def colours(channels: int) -> np.ndarray:
    """The colour of a cell, uint8 (2 ** channels, 3), by its active channels: bit c says that channel c is."""
    palette = np.array([(0, 0, 0), *PALETTES[channels]], np.uint8)
    return palette[[code.bit_length() for code in range(2**channels)]]


register(
    Suite(
        'minatar',
        Simulator,
        tuple(Task(f'{game}-vision', 'minatar', game, 'vision', repeat=1, limit=2500, image=32) for game in GAMES),
        packages=('minatar==1.0.15',),
        short_episodes=True,
    )
)
