"""Shards tagged by the process that asks, for when one is enough."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from teddy.model.bulk.loading import describe, load_model
from teddy.model.bulk.progress import Progress
from teddy.model.bulk.shards import Assignment, Options
from teddy.model.bulk.tagging import ShardTagger
from teddy.model.bulk.workers import Finished, LoadedModel, ModelChoice, Place, Underway, Workers
from teddy.model.records import TextTagger


@contextmanager
def start_alone(choice: ModelChoice) -> Iterator[tuple[Workers, LoadedModel]]:
    """Load the model into this process. Raises TeddyError when it is refused."""
    predictor = load_model(choice)
    yield Alone(predictor), describe(predictor)


class Alone:
    """Only the process that asks, one shard after another."""

    def __init__(self, tagger: TextTagger) -> None:
        self._tagger = tagger

    def results(self, tasks: Iterable[Assignment], options: Options, place: Place) -> Iterator[Finished | Underway]:
        """See `Workers`."""
        with closing(ShardTagger(self._tagger, options)) as shards:
            for task in tasks:
                done = Progress()
                for done in shards.tag_into(task, place(task)):
                    yield Underway(progress=done)
                yield Finished(task=task, tally=done)
