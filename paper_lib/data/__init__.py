"""Data on the host: replay, sources, datasets, run store, random streams.

It uses numpy and files, never jax.
"""
