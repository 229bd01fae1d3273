"""What rules do to a model on annotated data: which of them help, which hurt, and how often.

The model is run with and without the rules. Each span that is there only with them, or only without
them, is put down to a rule with a match on just these words, or on some of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from teddy.model.rules.merging import Match
from teddy.model.rules.ruled import RuledDocument
from teddy.model.tags.spans import Span
from teddy.model.text.documents import Tagged
from teddy.model.text.sentences import Offsets
from teddy.model.text.windows import split_windows
from teddy.training.data.align import Sentence
from teddy.training.evaluation.evaluate import Predict, ScoredSpan

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor

UNEXPLAINED = "(the model, read again)"
"""For spans that differ where no rule has a match: a hint elsewhere in the sentence."""


@dataclass(slots=True)
class RuleEffect:
    """How often a rule helped and hurt.

    Attributes: `matches`, of the rule in all sentences; `right`, right spans that are there with
    the rules only; `wrong`, wrong ones; `removed_wrong`, wrong spans of the model that are gone;
    `removed_right`, right ones.
    """

    matches: int = 0
    right: int = 0
    wrong: int = 0
    removed_wrong: int = 0
    removed_right: int = 0

    @property
    def helped(self) -> int:
        """How often it made the result better."""
        return self.right + self.removed_wrong

    @property
    def hurt(self) -> int:
        """How often it made the result worse."""
        return self.wrong + self.removed_right


@dataclass(slots=True)
class RuleEffects:
    """The predictions of a model with its rules, and what each rule did."""

    answers: list[list[ScoredSpan]] = field(default_factory=list)
    by_rule: dict[str, RuleEffect] = field(default_factory=dict)

    def predict(self) -> Predict:
        """Return the predictions as `evaluate` wants them, for the same sentences."""
        return lambda _: self.answers

    def as_dict(self) -> dict[str, object]:
        """Give the counts ready for JSON."""
        return {
            name: {**asdict(effect), "helped": effect.helped, "hurt": effect.hurt}
            for name, effect in self.by_rule.items()
        }

    def table(self) -> list[str]:
        """Return the counts as lines of plain text."""
        width = max(map(len, ("rule", *self.by_rule)))
        return [
            f"{'rule':{width}}  matches  helped  hurt   right  wrong  removed: wrong  right",
            *(
                f"{name:{width}}  {e.matches:7,} {e.helped:7,} {e.hurt:5,}   {e.right:5,}"
                f"  {e.wrong:5,}  {e.removed_wrong:14,}  {e.removed_right:5,}"
                for name, e in self.by_rule.items()
            ),
        ]


def measure_rules(
    predictor: "Predictor",
    sentences: Sequence[Sentence],
    annotates: Mapping[str, frozenset[str]],
) -> RuleEffects:
    """Tag sentences with and without the rules of a predictor, and compare.

    Only labels that the sentence's corpus annotates are counted.

    Raises ValueError for a predictor without rules.
    """
    rules = predictor.rules
    if rules is None:
        raise ValueError("the predictor has no rules")
    effects = RuleEffects(by_rule={name: RuleEffect() for name in rules.names})
    plain = predictor.tagger.tag([sentence.words for sentence in sentences])
    for sentence, without in zip(sentences, plain, strict=True):
        tagged, matches = _tag(predictor, sentence)
        spans = _spans_of(tagged, sentence)
        effects.answers.append(spans)
        labels = annotates.get(sentence.corpus)
        gold = {span for span in sentence.spans if labels is None or span.label in labels}
        ruled, bare = (
            {span for span in each if labels is None or span.label in labels}
            for each in ([each.span for each in spans], without.spans)
        )
        for match in matches:
            effects.by_rule[rules.names[match.rule]].matches += 1
        for span in ruled - bare:
            effect = _blamed(effects, rules.names, matches, span)
            if span in gold:
                effect.right += 1
            else:
                effect.wrong += 1
        for span in bare - ruled:
            effect = _blamed(effects, rules.names, matches, span)
            if span in gold:
                effect.removed_right += 1
            else:
                effect.removed_wrong += 1
    return effects


def _tag(predictor: "Predictor", sentence: Sentence) -> tuple[Tagged, Sequence[Match]]:
    """Tag a sentence as it stands in its text, but in words as the corpus has them."""
    rules, manifest = predictor.rules, predictor.manifest
    offsets = Offsets([a for a, _ in sentence.offsets], [b for _, b in sentence.offsets])
    words = list(sentence.words)
    overlap = manifest.window_overlap
    windows = split_windows(words, [(0, len(words))], manifest.window_words, overlap)
    matches = rules.find(sentence.text, offsets, words) if rules else []
    if rules:
        windows.hints = rules.hints(matches, predictor.hinted_labels)
    document = RuledDocument(sentence.text, offsets, windows, matches)
    return predictor.assemble(document, predictor.predict(list(windows))), matches


def _spans_of(tagged: Tagged, sentence: Sentence) -> list[ScoredSpan]:
    """Return the entities in words; one that begins or ends within a word is widened to it."""
    spans: list[ScoredSpan] = []
    end = 0
    for entity in tagged.entities:
        touched = [
            k for k, (a, b) in enumerate(sentence.offsets) if a < entity.end and entity.start < b
        ]
        if touched and touched[0] >= end:
            end = touched[-1] + 1
            spans.append(ScoredSpan(Span(touched[0], end, entity.label), entity.score))
    return spans


def _blamed(
    effects: RuleEffects, names: Sequence[str], matches: Sequence[Match], span: Span
) -> RuleEffect:
    """Return the counts of the rule that a difference is put down to."""
    near = [m.rule for m in matches if m.words[0] < span.end and span.start < m.words[1]]
    exact = [m.rule for m in matches if m.words == (span.start, span.end)]
    if not near:
        return effects.by_rule.setdefault(UNEXPLAINED, RuleEffect())
    return effects.by_rule[names[min(exact or near)]]
