"""One process at a time: a lock that the system gives back when its holder is gone, however it went."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from teddy.model.errors import DataError


def keep_others_out(file: TextIO, output: Path, *, signed: bool = False) -> None:
    """Lock an open file until it is closed. `signed`: it holds nothing but the number of the process that has it.

    Raises: DataError, which names the output and, where the file is signed, the process, when another one has it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = f": process {file.read()}" if signed else ""
        raise DataError(output, None, f"another job is writing here{holder}") from None
    if signed:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
