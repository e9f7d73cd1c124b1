"""The bench: what this machine does in a second, and what the study would cost on it.

`flops` counts, `measure` times one case, `processes` gives every measurement a process of its own, `costs` foretells
what many runs cost, `tables` shows all of it.
"""
