"""One look for every figure: a fixed colour and marker per agent, and files that are equal when drawn again."""

import contextlib
import typing

import matplotlib
import matplotlib.style
import seaborn


class Look(typing.NamedTuple):
    label: str
    color: str
    marker: str


# Told apart by colour-blind readers. Of an offline agent the colour says which it is and the marker whose data it
# learns from.
BLUE, ORANGE, GREEN, RED, PURPLE, _, _, _, YELLOW, SKY = seaborn.color_palette('colorblind').as_hex()
LOOKS: dict[str, Look] = {
    'active': Look('Active', BLUE, 'o'),
    'passive': Look('Passive', ORANGE, 's'),
    'tandem': Look('Tandem', GREEN, '^'),
    'passive_same': Look('Passive-same', RED, 'D'),
    'tandem_alpha': Look('Tandem alpha', YELLOW, 'v'),
    'active_expl': Look('Active-expl', SKY, 'P'),
    'passive_expl': Look('Passive-expl', ORANGE, 'X'),
    'tandem_expl': Look('Tandem-expl', GREEN, '<'),
    'active_mixed': Look('Active-mixed 0.5', PURPLE, '*'),
    'passive_mixed': Look('Passive-mixed 0.5', ORANGE, 'h'),
    'tandem_mixed': Look('Tandem-mixed 0.5', GREEN, '>'),
}
GREY = '#c8c8c8'  # never visited
THEIRS = '#707070'  # published by others
WARNING = 'smoke: too small to mean anything'

RC = {
    'font.size': 9.0,
    'axes.titlesize': 10.0,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'legend.fontsize': 8.0,
    'legend.edgecolor': 'none',
    'legend.borderpad': 0.2,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.alpha': 0.3,
    'lines.linewidth': 1.8,
    'savefig.dpi': 130,
    'pdf.fonttype': 42,
}


def context() -> contextlib.AbstractContextManager:
    """The user's own matplotlib settings are left out while drawing and saving."""
    return matplotlib.style.context(['default', RC])
