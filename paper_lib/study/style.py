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


# Told apart by colour-blind readers, in every figure. The colour says which agent it is, in a figure without the plain
# agents of the family which part or schedule of it; the marker says whose data it learns from.
BLUE, ORANGE, GREEN, *_, YELLOW, _ = seaborn.color_palette('colorblind').as_hex()
BLACK, BROWN, WINE, PINK, SKY, MINT = '#111111', '#6b2d00', '#d6336c', '#f0a6cf', '#7cc4ee', '#8fe0bf'
COPPER, OLIVE, ASH = '#c2651a', '#b9c400', '#8a8a8a'
LOOKS: dict[str, Look] = {
    'active': Look('Active', BLUE, 'o'),
    'passive': Look('Passive', ORANGE, 's'),
    'passive_same': Look('Passive-same', BROWN, 'D'),
    'tandem': Look('Tandem', GREEN, '^'),
    'tandem_alpha_0': Look('Tandem alpha 0', BLACK, 'v'),
    'tandem_alpha_1e-6': Look('Tandem alpha 1e-6', BROWN, '<'),
    'tandem_alpha_1e-3': Look('Tandem alpha 1e-3', OLIVE, '>'),
    'tandem_alpha_1e-1': Look('Tandem alpha 1e-1', PINK, 'd'),
    'tandem_same_wm': Look('Tandem_sameWM', MINT, 'v'),
    'passive_frozen_wm': Look('Passive_sameWM (frozen)', BROWN, 'p'),
    'passive_expert': Look('Passive-expert', WINE, '>'),
    'passive_suboptimal': Look('Passive-suboptimal', PINK, '<'),
    'passive_half': Look('Passive-half', BLACK, 'D'),
    'passive_50': Look('Passive + 50 %', BROWN, '^'),
    'passive_10': Look('Passive + 10 %', WINE, 'v'),
    'passive_1': Look('Passive + 1 %', PINK, 'D'),
    'passive_auto': Look('Passive + auto 1.35', BLACK, 'h'),
    'passive_auto_200': Look('Passive + auto 2.0', PINK, 'o'),
    'passive_auto_165': Look('Passive + auto 1.65', COPPER, 's'),
    'passive_auto_120': Look('Passive + auto 1.2', ASH, '^'),
    'active_expl': Look('Active-expl', SKY, 'P'),
    'passive_expl': Look('Passive-expl', ORANGE, 'X'),
    'passive_expl_same': Look('Passive-expl-same', BROWN, 'd'),
    'tandem_expl': Look('Tandem-expl', GREEN, '<'),
    'active_mixed_10': Look('Active-mixed 0.1', SKY, 'h'),
    'active_mixed': Look('Active-mixed 0.5', SKY, '*'),
    'active_mixed_90': Look('Active-mixed 0.9', SKY, 'D'),
    'passive_mixed_10': Look('Passive-mixed 0.1', ORANGE, 'd'),
    'passive_mixed': Look('Passive-mixed 0.5', ORANGE, 'h'),
    'passive_mixed_90': Look('Passive-mixed 0.9', ORANGE, 'p'),
    'tandem_mixed_10': Look('Tandem-mixed 0.1', GREEN, 'v'),
    'tandem_mixed': Look('Tandem-mixed 0.5', GREEN, '>'),
    'tandem_mixed_90': Look('Tandem-mixed 0.9', GREEN, 'D'),
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
