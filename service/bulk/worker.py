"""A process that tags shards for another one, `bulk.processes`: `python -m teddy.service.bulk.worker DESCRIPTOR`.

DESCRIPTOR is its end of a socket. It is given a ModelChoice, then one Order after the other, and
tells a LoadedModel, then for each order Underway now and then and Finished; or Refused, for what no
other worker could do either. It ends when the process that started it is gone.
"""

import sys
import time
from multiprocessing.connection import Connection

from teddy.model.errors import TeddyError
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.sharding import ShardTagger
from teddy.service.bulk.workers import Finished, Order, Refused, Underway, describe, load_model

TOLD_EVERY_SECONDS = 0.5


def work(connection: Connection) -> None:
    """Tag what comes, until nobody is there any more who would want it."""
    try:
        predictor = load_model(connection.recv())
        connection.send(describe(predictor))
        shards: ShardTagger | None = None
        while True:
            order: Order = connection.recv()
            shards = shards or ShardTagger(predictor, order.options)
            connection.send(Finished(task=order.task, tally=_tag(shards, order, connection)))
    except TeddyError as error:
        connection.send(Refused(reason=str(error)))
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        connection.send(Refused(reason=f"{error.filename or 'the output'}: {error.strerror}"))


def _tag(shards: ShardTagger, order: Order, connection: Connection) -> Progress:
    done = Progress()
    told_at = time.monotonic()
    for done in shards.tag_into(order.task, order.place):
        if time.monotonic() - told_at >= TOLD_EVERY_SECONDS:
            connection.send(Underway(progress=done))  # raises when the other side is gone
            told_at = time.monotonic()
    return done


if __name__ == "__main__":
    try:
        work(Connection(int(sys.argv[1])))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(0)
