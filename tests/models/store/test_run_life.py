"""The state of a run in every combination of its folder and the queue."""

from datetime import UTC, datetime

import pytest

from models.store.run_life import DIED, LOST, QUEUING_S, TRAINERS_DIED, Turn, life
from models.store.run_status import RunState, RunStatus

QUEUED, RUNNING, SUCCEEDED, STOPPED, FAILED = RunState
WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER_S = QUEUING_S + 1


def written(state):
    return RunStatus(status=state, created_at=WRITTEN_AT, updated_at=WRITTEN_AT, eta_s=60.0, step=7)


def state_and_error(state, **seen):
    found = life(written(state), **({"lock_held": False, "stop_requested": False, "age_s": LATER_S} | seen))
    return found.status, found.error


@pytest.mark.parametrize("stop_requested", [False, True])
@pytest.mark.parametrize("turn", [None, *Turn])
@pytest.mark.parametrize("lock_held", [False, True])
@pytest.mark.parametrize("state", [SUCCEEDED, STOPPED, FAILED])
def test_a_run_that_has_ended_stays_as_it_was_written(state, lock_held, turn, stop_requested):
    seen = {"lock_held": lock_held, "turn": turn, "stop_requested": stop_requested, "age_s": LATER_S}
    assert life(written(state), **seen) == written(state)


@pytest.mark.parametrize("stop_requested", [False, True])
@pytest.mark.parametrize("turn", [None, *Turn])
@pytest.mark.parametrize("state", [QUEUED, RUNNING])
def test_while_a_process_trains_the_folder_is_right(state, turn, stop_requested):
    seen = {"lock_held": True, "turn": turn, "stop_requested": stop_requested, "age_s": LATER_S}
    assert life(written(state), **seen) == written(state)


@pytest.mark.parametrize(
    ("state", "turn", "stop_requested", "expected"),
    [
        # In the queue: it waits, whatever a trainer that died wrote before.
        (QUEUED, Turn.WAITING, False, (QUEUED, None)),
        (QUEUED, Turn.WAITING, True, (QUEUED, None)),
        (RUNNING, Turn.WAITING, False, (QUEUED, None)),
        (RUNNING, Turn.WAITING, True, (QUEUED, None)),
        # A trainer has it: its process is about to start, or has just ended.
        (QUEUED, Turn.STARTED, False, (QUEUED, None)),
        (QUEUED, Turn.STARTED, True, (QUEUED, None)),
        (RUNNING, Turn.STARTED, False, (RUNNING, None)),
        (RUNNING, Turn.STARTED, True, (RUNNING, None)),
        # Its trainers died too often.
        (QUEUED, Turn.FAILED, False, (STOPPED, TRAINERS_DIED)),
        (QUEUED, Turn.FAILED, True, (STOPPED, None)),
        (RUNNING, Turn.FAILED, False, (FAILED, TRAINERS_DIED)),
        (RUNNING, Turn.FAILED, True, (STOPPED, None)),
        # The attempt is over, and nobody wrote how.
        (QUEUED, Turn.ENDED, False, (STOPPED, LOST)),
        (QUEUED, Turn.ENDED, True, (STOPPED, None)),
        (RUNNING, Turn.ENDED, False, (FAILED, DIED)),
        (RUNNING, Turn.ENDED, True, (STOPPED, None)),
        # The queue does not know it: Redis lost it.
        (QUEUED, None, False, (STOPPED, LOST)),
        (QUEUED, None, True, (STOPPED, None)),
        (RUNNING, None, False, (FAILED, DIED)),
        (RUNNING, None, True, (STOPPED, None)),
    ],
)
def test_where_nobody_trains_the_queue_and_the_stop_file_decide(state, turn, stop_requested, expected):
    assert state_and_error(state, turn=turn, stop_requested=stop_requested) == expected


@pytest.mark.parametrize("stop_requested", [False, True])
@pytest.mark.parametrize("state", [QUEUED, RUNNING])
def test_whoever_wrote_the_status_has_time_to_queue_the_run(state, stop_requested):
    seen = {"turn": None, "stop_requested": stop_requested, "age_s": QUEUING_S - 1}
    assert state_and_error(state, **seen) == (state, None)


def test_a_run_that_died_ended_when_it_was_last_heard_of():
    found = life(written(RUNNING), lock_held=False, turn=Turn.ENDED, stop_requested=False, age_s=LATER_S)
    assert (found.finished_at, found.eta_s, found.step) == (WRITTEN_AT, None, 7)
