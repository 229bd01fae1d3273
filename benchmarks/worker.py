"""One contender, driven through pipes: a line of JSON in, a line of JSON out.

    python -m benchmarks.worker TASK     # TASK is JSON: entrant, cores, started (monotonic seconds)

Texts come as files with a JSON string on each line, so that reading them is never part of what is
timed."""

import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.contender import FIRST_TEXT, Contender, Entrant
from benchmarks.machine import memory_bytes, pin
from benchmarks.texts import count_words

if TYPE_CHECKING:
    from benchmarks.contenders.our import Teddy


def make(entrant: Entrant) -> Contender:
    """Imports what the entrant needs, and loads it."""
    if entrant.kind == "spacy":
        from benchmarks.contenders.spacy_ner import Spacy

        return Spacy(entrant)
    if entrant.kind == "transformer":
        from benchmarks.contenders.transformer import Transformer

        return Transformer(entrant)
    from benchmarks.contenders.our import Teddy, TeddyProcesses

    return Teddy(entrant) if entrant.cores == 1 else TeddyProcesses(entrant)


def read_texts(path: str, n_texts: int | None = None) -> Iterator[str]:
    """The first texts of a file, read as they are needed."""
    with Path(path).open(encoding="utf-8") as lines:
        yield from map(json.loads, islice(lines, n_texts))


@dataclass(frozen=True, slots=True)
class Operations:
    """What can be asked of a worker."""

    contender: Contender

    def tag(self, *, file: str, n_texts: int) -> dict[str, Any]:
        """Tags texts all together: seconds, words read and words there are, entities."""
        texts = list(read_texts(file, n_texts))
        gc.collect()
        started = time.perf_counter()
        n_entities = self.contender.tag(texts)
        seconds = time.perf_counter() - started
        read, there = self.contender.words_read(texts), sum(map(count_words, texts))
        return {"seconds": seconds, "words": read, "words_there": there, "entities": n_entities}

    def tag_singly(self, *, file: str, n_texts: int, skip: int) -> dict[str, Any]:
        """Tags texts one by one, after some that are not timed: seconds for each."""
        seconds = []
        gc.collect()
        for number, text in enumerate(list(read_texts(file, skip + n_texts))):
            started = time.perf_counter()
            self.contender.tag([text])
            if number >= skip:
                seconds.append(time.perf_counter() - started)
        return {"each": seconds, "seconds": sum(seconds)}

    def share(self, *, file: str, n_texts: int) -> dict[str, Any]:
        """Return the seconds of the pipeline, and of its network's calls alone. Teddy only."""
        from benchmarks.contenders.our import network_alone

        texts = list(read_texts(file, n_texts))
        whole = self.tag(file=file, n_texts=n_texts)["seconds"]
        network = network_alone(self._teddy.predictor, texts)
        gc.collect()
        started = time.perf_counter()
        network()
        return {"whole": whole, "network": time.perf_counter() - started}

    def tag_file(self, *, file: str, limit_seconds: float) -> dict[str, Any]:
        """Tag a file as a stream until the time is over: seconds, bytes, words, memory."""
        read_bytes = words = 0
        started = time.perf_counter()

        def until_the_end() -> Iterator[str]:
            nonlocal read_bytes, words
            for text in read_texts(file):
                if time.perf_counter() - started > limit_seconds:
                    return
                read_bytes += len(text.encode()) + 1
                words += count_words(text)
                yield text

        n_entities = self._teddy.tag_stream(until_the_end())
        seconds = time.perf_counter() - started
        gc.collect()
        return {
            "seconds": seconds,
            "bytes": read_bytes,
            "words": words,
            "entities": n_entities,
            **memory_bytes(),
        }

    def memory(self) -> dict[str, Any]:
        """Of this process: resident and peak, in bytes."""
        return {**memory_bytes()}

    @property
    def _teddy(self) -> "Teddy":
        from benchmarks.contenders.our import Teddy

        assert isinstance(self.contender, Teddy)
        return self.contender


def main() -> None:
    """Gets ready, says so, and does what it is asked until standard input ends."""
    task = json.loads(sys.argv[1])
    # What libraries print must not come among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    pin(task["cores"])
    begun = time.monotonic()
    contender = make(Entrant(**task["entrant"]))
    contender.tag([FIRST_TEXT])
    ended = time.monotonic()
    # On Linux and macOS this clock is the same in all processes.
    ready = {
        "seconds": ended - task["started"],
        "load_seconds": ended - begun,
        "details": contender.details,
    }
    print(json.dumps({**ready, **memory_bytes()}), file=answers)
    operations = Operations(contender)
    for line in sys.stdin:
        arguments = json.loads(line)
        print(
            json.dumps(getattr(operations, arguments.pop("operation"))(**arguments)), file=answers
        )


if __name__ == "__main__":
    main()
