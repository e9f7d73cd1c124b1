"""Named, counted random streams: every draw is a function of (seed, name, counters), so no state is ever saved."""

import zlib

import numpy as np


def rng(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A fresh generator for one use, e.g. `rng(seed, 'replay', update)`. Counters are integers from 0.

    Adding a stream or a counter never shifts another one.
    """
    # Their number is part of the entropy because SeedSequence pads with zeros: (1, 2) and (1, 2, 0) would be equal.
    words = [seed, zlib.crc32(stream.encode()), len(counters), *counters]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(word) for word in words])))
