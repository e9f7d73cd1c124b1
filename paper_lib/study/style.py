"""One look for every figure, whatever settings of matplotlib the user has. The looks of agents are in their rows."""

import contextlib

import matplotlib
import matplotlib.style

GREY = '#c8c8c8'  # never visited
FAINT = '#ececec'  # where nothing has run
THEIRS = '#707070'  # published by others
YELLOW = '#ece133'  # where an episode starts
ALERT = '#b00000'  # warnings and limits

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
