"""When everything happens in a run. Its clock counts agent steps.

An agent step is one action in one environment. It lasts `repeat` control steps of the
simulator, which are called environment steps: budgets count these. Reset transitions count
as steps, as in v1.

The clock advances chunk by chunk. In each chunk a run collects `chunk` agent steps and
makes `chunk_updates` updates. Then it evaluates, and adds data of its own, if these are
due.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The schedule of one run. Times and intervals are in agent steps."""

    online: bool  # true if the run collects what it learns from
    repeat: int  # environment steps per agent step
    envs: int  # parallel environments; a replay row is one agent step of each
    steps: int  # the length of the run
    prefill: int  # random steps before the first update
    chunk: int  # the length of a chunk
    chunk_updates: int  # number of updates at the end of a chunk
    evaluate_every: int
    explore_until: int  # the exploring policy acts until then; 0: to the end
    collect_until: int  # an online run collects until then; 0: to the end
    interact_every: int  # interval between collections of an offline run; 0: none
    interact_rows: int  # number of replay rows of each such collection

    @property
    def updates(self) -> int:
        """Number of updates of the whole run."""
        return self.updates_at(self.steps)

    @property
    def rows(self) -> int:
        """Number of replay rows that an online run writes."""
        return self.rows_at(self.steps)

    @property
    def interactions(self) -> int:
        """The largest number of collections that an offline run can make."""
        if not self.interact_every:
            return 0
        return (self.steps - 1) // self.interact_every - self.prefill // self.interact_every

    def rows_at(self, clock: int) -> int:
        """Number of replay rows that an online run has written at this time."""
        return min(clock, self.collect_until or clock) // self.envs

    def rows_due(self, clock: int) -> range:
        """Indices of the replay rows that an online run writes in the chunk that ends at `clock`."""
        if not self.online:
            return range(0)
        return range(self.rows_at(clock - self.chunk), self.rows_at(clock))

    def updates_at(self, clock: int) -> int:
        """Number of updates that are made by this time."""
        chunks_with_updates = max(0, clock - self.prefill) // self.chunk
        return chunks_with_updates * self.chunk_updates

    def updates_due(self, clock: int) -> range:
        """Indices of the updates of the chunk that ends at `clock`; none during the prefill."""
        return range(self.updates_at(clock - self.chunk), self.updates_at(clock))

    def evaluation_due(self, clock: int) -> bool:
        """Whether the chunk that ends at `clock` ends with an evaluation."""
        return clock % self.evaluate_every == 0

    def evaluation_at(self, clock: int) -> int:
        """Number of the evaluation at this time; the first one has number 1."""
        return clock // self.evaluate_every

    def interaction_due(self, clock: int) -> bool:
        """Whether an offline run may add data at this time; an adaptive one also asks a measure.

        None are added during the prefill, nor at the end, after the last update.
        """
        if not self.interact_every or clock % self.interact_every:
            return False
        return self.prefill < clock < self.steps

    @property
    def random_rows(self) -> int:
        """Number of replay rows that the uniform random policy fills; 0 in an offline run."""
        return self.prefill // self.envs if self.online else 0

    def exploring_row(self, row: int) -> bool:
        """Whether the exploring policy, if there is one, acts in this replay row."""
        return not self.explore_until or row * self.envs < self.explore_until

    def explorer_rests(self, clock: int) -> bool:
        """Whether the updates of the chunk that ends at `clock` leave the exploring policy unchanged.

        They do after the first evaluation at which it has acted for the last time. v1
        trains it on, to no effect. The switch is at an evaluation, so that the training
        metrics of every evaluation are means over updates of one kind.
        """
        last_evaluation = (clock - 1) // self.evaluate_every * self.evaluate_every
        return 0 < self.explore_until <= last_evaluation
