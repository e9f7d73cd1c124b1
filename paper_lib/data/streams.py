"""Random streams by name.

Every draw follows from (seed, name, counters), so that no state is ever saved.
"""

import zlib

import numpy as np


def rng(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A fresh generator for one use.

    For example, `rng(seed, 'replay', update)`. Counters are integers from 0.

    Another stream or counter never shifts this one.
    """
    # The number of counters is a word too: SeedSequence pads with zeros and so takes (1, 2) and (1, 2, 0) as equal.
    words = [seed, zlib.crc32(stream.encode()), len(counters), *counters]
    entropy = np.random.SeedSequence([int(word) for word in words])
    return np.random.Generator(np.random.PCG64(entropy))
