"""What Linux says of processes: children, connections held, and memory."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.machine import memory_bytes

PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """The process and all that it has started, directly or not."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found = [pid]
    for each in found:
        found += children.get(each, ())
    return found


def resident_bytes(pid: int) -> int:
    """Memory of the process and its descendants, in sum."""
    return sum(memory_bytes(each).get("resident", 0) for each in descendants(pid))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far, kernel included, to a hundredth of a second."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> int:
    """File descriptors of the process and its descendants, in sum."""
    return sum(sum(1 for _ in _descriptors(each)) for each in descendants(pid))


def holders(server_port: int, pids: list[int]) -> dict[int, int]:
    """For each client's port that is connected to `server_port`: which of `pids` serves it."""
    clients = dict(_connections(server_port))
    found = {}
    for pid in pids:
        for target in _descriptors(pid):
            inode = target.removeprefix("socket:[").removesuffix("]")
            if inode in clients:
                found[clients[inode]] = pid
    return found


def _connections(server_port: int) -> Iterator[tuple[str, int]]:
    """Return the inode of the server's end by port of the client's end, established over IPv4."""
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote, state, inode = fields[1], fields[2], fields[3], fields[9]
        if state == "01" and int(local.partition(":")[2], 16) == server_port:
            yield inode, int(remote.partition(":")[2], 16)


def _descriptors(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                yield str(link.readlink())


def _parents() -> Iterator[tuple[int, int]]:
    for directory in PROC.iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                # "pid (name, which may hold anything) state parent ...".
                yield (
                    int(directory.name),
                    int((directory / "stat").read_text().rpartition(")")[2].split()[1]),
                )


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def set_affinity(pid: int, cores: list[int]) -> None:
    """Keep the process and its descendants, with all their threads, on these cores."""
    for process in descendants(pid):
        with suppress(OSError):
            for task in (PROC / str(process) / "task").iterdir():
                os.sched_setaffinity(int(task.name), cores)
