"""The interactive parts of the notebooks, one for each. Without a live kernel, each is a plain figure."""

from paper_lib.explore.parts import episode, final, maze, measure, steps, threshold

__all__ = ['episode', 'final', 'maze', 'measure', 'steps', 'threshold']
