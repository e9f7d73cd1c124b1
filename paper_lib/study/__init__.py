"""Specs in; frames, statistics, figures and verdicts out. Needs neither jax nor a simulator."""
