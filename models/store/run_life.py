"""What state a run is in, by its folder and the queue (docs/run-life.md). Nothing here reads or writes."""

from enum import StrEnum

from models.store.run_status import RunState, RunStatus

QUEUING_S = 5  # an attempt may be written to the folder so long before it is in the queue

DIED = "The training process ended without reporting why; see its log. Resume continues from the last checkpoint."
LOST = "The queue lost this run's turn. Resume queues it again."
TRAINERS_DIED = (
    "Its trainer died several times without a new checkpoint in between. Resume continues from the last checkpoint."
)


class Turn(StrEnum):
    """Where an attempt at a run is in the training queue."""

    WAITING = "waiting"
    STARTED = "started"  # a trainer has it
    FAILED = "failed"  # its trainers died too often
    ENDED = "ended"


def life(written: RunStatus, *, lock_held: bool, turn: Turn | None, stop_requested: bool, age_s: float) -> RunStatus:
    """The status of a run: as its folder says, unless the process that would have updated it is gone.

    The arguments must be read in this order, or a run that ends in between looks as if its process had died: ``turn``
    first, then ``written``, then ``lock_held``.

    Args:
        written: the folder's status.json.
        lock_held: whether a process trains in the folder.
        turn: of the attempt ``written.attempts``; None if the queue does not know it.
        stop_requested: whether the folder holds a stop file.
        age_s: seconds since ``written`` was written.

    Returns:
        ``written`` itself, or a copy with another state.
    """
    if written.status.ended or lock_held:
        return written
    if turn is Turn.WAITING:
        return written.model_copy(update={"status": RunState.QUEUED})
    if turn is Turn.STARTED or (turn is None and age_s < QUEUING_S):
        return written
    # Nobody is left who could write how the run ended.
    error = None
    if not stop_requested:
        error = TRAINERS_DIED if turn is Turn.FAILED else LOST if written.status is RunState.QUEUED else DIED
    stopped = stop_requested or written.status is RunState.QUEUED
    return written.model_copy(
        update={
            "status": RunState.STOPPED if stopped else RunState.FAILED,
            "error": error,
            "finished_at": written.updated_at,
            "eta_s": None,
        }
    )
