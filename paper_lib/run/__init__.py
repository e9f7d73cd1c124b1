"""The joint: steps agents through environments, trains and evaluates runs, makes sure that runs exist."""

import os

# XLA splits work over its CPU threads and rounds accordingly: a run's bytes would depend on the cores at hand.
# One thread per process; small runs gain nothing from a second one. Read when JAX starts.
os.environ.setdefault('NPROC', '1')
