"""The study: specs in; frames, statistics, figures and verdicts out. It needs neither jax nor a simulator.

The modules are the rooms of a staircase. A module imports from its own room and from rooms below it, never from one
above, and no two modules import each other. `tests/study/test_staircase.py` checks this.

    book       what a notebook calls: catalogue of figures, captions, the notebook as an object
    figures    frames in, figure out: panels, grids of panels, whole figures, and how they are saved
    analysis   frames in, numbers out: statistics, claims, and what others published
    archive    small tables that finished runs are copied into, their rows as frames, and the merging of archives
    plan       which runs a scale trains, and the spec of each
"""

# Bottom to top. A new module is added to the room that it belongs to.
ROOMS: dict[str, tuple[str, ...]] = {
    'plan': ('names', 'paper', 'scales', 'plan', 'parameters'),
    'archive': ('paths', 'starts', 'sealed', 'frames', 'extract', 'archive', 'merge', 'rates'),
    'analysis': (
        'reference',
        'visitation',
        'stats',
        'steps',
        'comparisons',
        'claims',
        'verdicts',
        'power',
        'sensitivity',
        'offline',
        'conclusion',
        'coverage',
        'diagnosis',
        'published',
        'supplement',
        'price',
    ),
    'figures': (
        'style',
        'panels',
        'grids',
        'overview',
        'episodes',
        'figures',
        'forest',
        'tables',
        'screening',
        'outcomes',
        'drawing',
        'diagnosis_panels',
        'diagnosis_report',
    ),
    'book': ('catalogue', 'captions', 'book', 'artefacts', 'report'),
}
