"""One look for every figure: a fixed colour and marker per agent, and files that are equal when drawn again."""

import contextlib
import typing

import matplotlib
import matplotlib.style


class Look(typing.NamedTuple):
    label: str
    color: str
    marker: str


# Okabe and Ito's colours, told apart by colour-blind readers. Of an offline agent the colour says which it is and
# the marker whose data it learns from.
LOOKS: dict[str, Look] = {
    'active': Look('Active', '#0072B2', 'o'),
    'passive': Look('Passive', '#E69F00', 's'),
    'tandem': Look('Tandem', '#009E73', '^'),
    'passive_same': Look('Passive-same', '#D55E00', 'D'),
    'tandem_alpha': Look('Tandem alpha', '#F0E442', 'v'),
    'active_expl': Look('Active-expl', '#56B4E9', 'P'),
    'passive_expl': Look('Passive-expl', '#E69F00', 'X'),
    'tandem_expl': Look('Tandem-expl', '#009E73', '<'),
    'active_mixed': Look('Active-mixed 0.5', '#CC79A7', '*'),
    'passive_mixed': Look('Passive-mixed 0.5', '#E69F00', 'h'),
    'tandem_mixed': Look('Tandem-mixed 0.5', '#009E73', '>'),
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
