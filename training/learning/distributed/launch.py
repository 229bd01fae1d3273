"""What a launcher has told this process of the group that it belongs to.

Read without torch, which takes seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The place of a process: number `rank` of `size`, on its machine number `local_rank` of `local_size`.

    `restarts` is how often the group had to be started again. A process that nobody launched is
    alone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks for the others."""
        return self.rank == 0


def launched(environ: Mapping[str, str]) -> Launch:
    """By the variables that torchrun sets; other launchers set some of them, which are not believed."""
    if "TORCHELASTIC_RUN_ID" not in environ:
        return Launch()
    return Launch(
        rank=int(environ["RANK"]),
        size=int(environ["WORLD_SIZE"]),
        local_rank=int(environ["LOCAL_RANK"]),
        local_size=int(environ["LOCAL_WORLD_SIZE"]),
        restarts=int(environ["TORCHELASTIC_RESTART_COUNT"]),
    )
