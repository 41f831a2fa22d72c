"""The branches of the error tree (``models/errors.py``) that belong to the queue and its processes.

DoppelError
├── Unavailable
│   ├── RedisMissing        this machine has no Redis to start
│   ├── RedisNotStarted     the embedded Redis did not start
│   ├── RedisUnusable       the Redis that was configured is not one that Doppel can use
│   └── QueueError
│       ├── QueueFull
│       ├── LimitReached    the caller asks for more than its API key may, or more often
│       ├── QueueUnreachable
│       └── RecordUnreadable    Redis holds what no version of Doppel writes
├── TaskError               a job can't be done, whoever tries
│   ├── BadClip             its clip is damaged somewhere
│   ├── OutOfMemory         it takes more memory than a worker may have
│   ├── TimedOut            it took longer than a job may
│   └── ModelRemoved        its model went out of service while it waited
├── JobCanceled             a job was canceled while it ran
└── DeviceFailed            a worker's device failed, and stays so in this process
"""

from models.errors import DoppelError, Unavailable
from worker.contract import FailureCode


class RedisMissing(Unavailable):
    """This machine has no Redis to start; the message names the one command that changes that."""


class RedisNotStarted(Unavailable):
    """The embedded Redis did not start, or another Doppel uses its folder."""


class RedisUnusable(Unavailable):
    """The Redis that was configured is not one that Doppel can use; the message says why, and what to change."""


class QueueError(Unavailable):
    """Base of what can go wrong between a client and the queue."""


class QueueFull(QueueError):
    """The queue has no room for another job now; the message says what is full."""


class LimitReached(QueueError):
    """The caller asks for more than its API key may at a time, or more often; the message says what the limit is."""


class QueueUnreachable(QueueError):
    """Redis does not answer."""


class RecordUnreadable(QueueError):
    """Redis holds something else than a record of Doppel's where one should be."""


class TaskError(DoppelError):
    """A job can't be done, whoever tries; the message is for the job's owner."""

    code = FailureCode.CANNOT_BE_DONE


class BadClip(TaskError):
    """The clip is damaged somewhere behind its beginning, which was read when it was accepted."""

    code = FailureCode.CLIP_REFUSED


class OutOfMemory(TaskError):
    """The job takes more memory than a worker may have."""

    code = FailureCode.OUT_OF_MEMORY

    def __init__(self) -> None:
        super().__init__("The job takes more memory than this server gives one. Ask for a smaller resolution.")


class TimedOut(TaskError):
    """The job took longer than a job may."""

    code = FailureCode.TIMED_OUT

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"The job was ended after {limit_s:g} s, longer than this server lets one take.")


class ModelRemoved(TaskError):
    """The model went out of service after the job was accepted."""

    code = FailureCode.MODEL_REMOVED

    def __init__(self, name: str) -> None:
        super().__init__(f"The model {name!r} was taken out of service while the job waited.")


class JobCanceled(DoppelError):
    """A job was canceled while it ran."""


class DeviceFailed(DoppelError):
    """A worker's device failed for good: every later call in this process would fail, too."""
