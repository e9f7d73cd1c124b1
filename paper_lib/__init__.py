"""Companion library to "Offline vs. Online Learning in Model-based RL"."""

__version__ = '0.1.0'
