"""The ground floor: what a run is and how its id follows, schedules, tasks, agents, scales, errors, files.

It needs the standard library alone, and numpy for files.
"""
