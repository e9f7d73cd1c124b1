"""What a recording is worth to agents that only learn from it: reads, trains, judges and writes a page."""
