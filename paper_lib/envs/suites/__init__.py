"""The suites of this library: every file of this folder registers one.

It imports no simulator by itself.
"""
