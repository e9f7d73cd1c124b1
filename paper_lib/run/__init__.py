"""Training and evaluation of runs: agents, environments and data come together here."""
