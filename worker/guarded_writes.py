"""Write to several jobs at once, to each only as its status at that moment allows. One round trip, one flush to disk.

RQ writes its records onto a pipeline; a script on the server runs these commands, where a transaction could not look at
the status first.
"""

from collections.abc import Sequence
from typing import Any

import redis
from redis.client import Pipeline

from worker.connection import Command
from worker.stored_script import StoredScript

# A command with an empty list of statuses always runs.
_RUN = """
local i = 1
for _, key in ipairs(KEYS) do
  local status = redis.call('HGET', key, 'status') or ''
  local commands = tonumber(ARGV[i])
  i = i + 1
  for _ = 1, commands do
    local words = tonumber(ARGV[i + 1])
    if ARGV[i] == '' or string.find(ARGV[i], ',' .. status .. ',', 1, true) then
      redis.call(unpack(ARGV, i + 2, i + 1 + words))
    end
    i = i + 2 + words
  end
end
"""


class GuardedWrites:
    """Collects commands, then sends them.

    A full Redis refuses the first command that takes memory, and so those after it, unless a command before has written
    something that takes none. So what must not happen alone, such as the removal from a list, comes last; and where all
    has to be written even then, a removal comes first.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._script = StoredScript(connection, _RUN)
        self._jobs: list[tuple[str, list[tuple[str, Command]]]] = []

    def add_job(self, key: str) -> None:
        """The commands that follow are about the job with this Redis key."""
        self._jobs.append((key, []))

    def add(self, written: Pipeline, *, if_status: Sequence[str] = ()) -> None:
        """Run what was written onto the pipeline, which is emptied, if the job's status is one of these.

        Args:
            if_status: in RQ's words, "" for a job that is not there; none of them: always.
        """
        statuses = f",{','.join(if_status)}," if if_status else ""
        self._jobs[-1][1].extend((statuses, command) for command in _taken(written))

    def execute(self) -> None:
        """Run everything in one go."""
        words: list[Any] = []
        for _, commands in self._jobs:
            words.append(len(commands))
            for statuses, command in commands:
                words += [statuses, len(command), *command]
        self._script.run([key for key, _ in self._jobs], words)


def _taken(written: Pipeline) -> list[Command]:
    commands = [command for command, _ in written.command_stack]
    written.reset()
    return commands
