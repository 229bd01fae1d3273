"""Rules without a model: what a `Predictor` needs to find nothing by itself."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.drift.reference import Reference
from teddy.model.file.bundle import FORMAT_VERSION, Manifest
from teddy.model.rules.rules import Rules
from teddy.model.tagger import TaggedWords, Tagger
from teddy.model.tags.search import Search
from teddy.model.tags.spans import Hint
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import TOKENISER_VERSION

SUFFIX = ".toml"
"""Of a file of rules, where a model file is asked for."""
PRECISION = "none"
_WINDOW_WORDS = 256


class NoTagger(Tagger):
    """A tagger without a network, whose every tag is `O`."""

    def __init__(self) -> None:
        self.tag_set = TagSet(())
        self.padding_words = 0

    @property
    def takes_hints(self) -> bool:
        """Whether there is a network to hint at."""
        return False

    def tag(
        self,
        sentences: Sequence[Sequence[str]],
        search: Search | None = None,  # noqa: ARG002 (nothing is improbable)
        hints: Mapping[int, Sequence[Hint]] | None = None,  # noqa: ARG002 (there are none)
    ) -> list[TaggedWords]:
        """Return sentences without entities."""
        return [
            TaggedWords(
                spans=[],
                scores=[],
                tags=np.zeros(len(sentence), np.int64),
                tag_scores=np.ones(len(sentence)),
            )
            for sentence in sentences
        ]


def manifest_of(rules: Rules) -> Manifest:
    """Return what is known of a tagger of rules alone."""
    changed = rules.path.stat().st_mtime
    return Manifest(
        format_version=FORMAT_VERSION,
        name=rules.path.stem,
        language=rules.language,
        created=datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds"),
        tokeniser_version=TOKENISER_VERSION,
        labels=(),
        features=FeatureConfig(),
        network=NetworkConfig(),
        n_parameters=0,
        window_words=_WINDOW_WORDS,
        window_overlap=0,
        temperature=1.0,
        scores={},
        training_data=(),
        canary=(),
        reference=Reference(features={}),
        recipe="",
    )
