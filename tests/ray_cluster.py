"""A real Ray cluster on this machine's loopback: nodes, each a tree of processes, and Serve on the
first.

Import it only where Ray is installed. The variables are Ray's own, which it reads while it is
imported. `python -m tests.ray_cluster PORT REPLICAS` serves until SIGTERM, on one node."""

import os
import secrets
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from benchmarks.load.processes import descendants
from benchmarks.load.server import free_port

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # only we may use the cluster: whoever may, can run code here
    "RAY_AUTH_TOKEN": secrets.token_hex(),
    # on any system: nodes on loopback, not on the address of this machine
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # one proxy for two nodes: else the other's replica is idle
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",  # not 10: a test waits for it
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    from ray import serve as serve
    from ray.cluster_utils import Cluster

STORE_BYTES = 100 * 2**20
CORES = 2
"""Of each node, as Ray counts them; they need not be there."""
PATIENCE_SECONDS = 60.0


@contextmanager
def cluster(directory: Path, n_nodes: int = 2, port: int = 0) -> Iterator[int]:
    """Nodes and Serve's proxy, on the port that is given; all of it is gone in the end.

    See `nodes`.
    """
    port = port or free_port()
    with nodes(directory, n_nodes):
        try:
            serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
            yield port
        finally:
            # nothing that goes wrong while stopping may keep the rest from being stopped
            with suppress(Exception):
                serve.shutdown()


@contextmanager
def nodes(directory: Path, n_nodes: int = 2) -> Iterator[None]:
    """Nodes, to which this process is connected; all of it is gone in the end.

    `directory` has a short path: Ray's sockets are in it, and a socket's path has 107 bytes at
    most."""
    node = {"num_cpus": CORES, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    os.environ["RAY_TMPDIR"] = str(directory)
    found = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(n_nodes - 1):
            found.add_node(num_cpus=CORES, object_store_memory=STORE_BYTES)
        ray.init(address=found.address, namespace="serve", log_to_driver=False)
        yield
    finally:
        ray.shutdown()
        found.shutdown()


def replicas() -> set[int]:
    """The processes of replicas that this process's cluster has.

    Replicas of other clusters are none of ours.
    """
    return {pid for pid in descendants(os.getpid()) if title(pid).startswith("ray::ServeReplica")}


def nodes_of(pids: Iterable[int]) -> set[int]:
    """The processes that started these: the node's manager, one for each node."""
    return {
        int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids
    }


def title(pid: int) -> str:
    """What a process calls itself; nothing if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def wait_for_replicas(count: int, other_than: Set[int] = frozenset()) -> set[int]:
    """The processes of replicas, once there are so many and none of `other_than`.

    Raises TimeoutError.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    while len(found := replicas()) != count or found & other_than:
        if monotonic() > deadline:
            raise TimeoutError(f"{len(found)} replicas after {PATIENCE_SECONDS:g} s, not {count}")
        sleep(0.1)
    return found


def main(port: int, n_replicas: int) -> None:
    """Serve the model that ships until SIGTERM."""
    from teddy.service.ray_app import Scale, app

    os.environ["TEDDY_ALLOW_ANONYMOUS"] = "true"
    with (
        TemporaryDirectory(prefix="ray") as directory,
        suppress(KeyboardInterrupt),
        cluster(Path(directory), 1, port),
    ):
        # after Ray's own, which would leave all as it is
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        serve.run(app(Scale(replicas=n_replicas)))
        signal.pause()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
