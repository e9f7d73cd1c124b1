"""Parts of the notebooks that can be operated: one per notebook, each a picture where nobody can."""

from paper_lib.explore.parts import episode, final, maze, steps, threshold

__all__ = ['episode', 'final', 'maze', 'steps', 'threshold']
