"""When everything of a run happens, on one clock that counts agent steps.

An agent step is one action in one environment: `repeat` simulator control steps, which are what
budgets count and are called environment steps. Reset transitions count, as in v1. The clock
advances in chunks: collect `chunk` agent steps, make `chunk_updates` updates, evaluate where an
evaluation is due, add own data where that is due.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The schedule of one run; every time and interval is in agent steps unless its name says otherwise."""

    online: bool  # whether the run collects as it learns; an offline run only adds to a recording
    repeat: int  # environment steps per agent step
    envs: int  # parallel environments: a replay row is one agent step of each
    steps: int  # length of the run
    prefill: int  # random steps before the first update
    chunk: int  # steps between bursts of updates
    chunk_updates: int  # updates of a burst
    evaluate_every: int
    explore_until: int  # after it the exploring behaviour rests; 0: it never rests
    collect_until: int  # after it an online run collects no more; 0: it collects to the end
    interact_every: int  # between collections of an offline run; 0: none
    interact_rows: int  # replay rows of each of them

    @property
    def updates(self) -> int:
        """Updates of the whole run; offline runs make as many as their source."""
        return self.updates_at(self.steps)

    @property
    def rows(self) -> int:
        """Replay rows of the whole run where it is online."""
        return self.rows_at(self.steps)

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the whole run."""
        return self.steps // self.evaluate_every

    @property
    def interactions(self) -> int:
        """Most collections that an offline run can make."""
        if not self.interact_every:
            return 0
        return (self.steps - 1) // self.interact_every - self.prefill // self.interact_every

    def environment_steps(self, clock: int) -> int:
        """The clock in environment steps."""
        return clock * self.repeat

    def rows_at(self, clock: int) -> int:
        """Replay rows that an online run has written when the clock stands at `clock`."""
        return min(clock, self.collect_until or clock) // self.envs

    def rows_due(self, clock: int) -> range:
        """Numbers of the replay rows that are collected in the chunk that ends at `clock`; none offline."""
        if not self.online:
            return range(0)
        return range(self.rows_at(clock - self.chunk), self.rows_at(clock))

    def updates_at(self, clock: int) -> int:
        """Updates made when the clock stands at `clock`."""
        return max(0, clock - self.prefill) // self.chunk * self.chunk_updates

    def updates_due(self, clock: int) -> range:
        """Numbers of the updates of the chunk that ends at `clock`; empty during the prefill."""
        return range(self.updates_at(clock - self.chunk), self.updates_at(clock))

    def evaluation_due(self, clock: int) -> bool:
        """Whether an evaluation is due at the end of the chunk."""
        return clock % self.evaluate_every == 0

    def evaluation_at(self, clock: int) -> int:
        """Number of the evaluation at `clock`; the first one has number 1."""
        return clock // self.evaluate_every

    def interaction_due(self, clock: int) -> bool:
        """Whether an offline run may collect at `clock`, if it is not ruled out by what its evaluation found.

        It does not during the prefill, nor at the end, where nobody would learn from the data.
        """
        if not self.interact_every or clock % self.interact_every:
            return False
        return self.prefill < clock < self.steps

    @property
    def random_rows(self) -> int:
        """How many replay rows the uniform random policy fills before the learned one acts; none offline."""
        return self.prefill // self.envs if self.online else 0

    def exploring_row(self, row: int) -> bool:
        """Whether the exploring behaviour of a run that has one acts in this replay row."""
        return not self.explore_until or row * self.envs < self.explore_until

    def explorer_rests(self, clock: int) -> bool:
        """Whether the chunk that ends at `clock` leaves the exploring behaviour as it is, since it will not act again.

        (v1 trains it on, to no effect.) That changes at evaluations only, so that the training metrics
        of one evaluation are means over updates of one kind.
        """
        last_evaluation = (clock - 1) // self.evaluate_every * self.evaluate_every
        return 0 < self.explore_until <= last_evaluation
