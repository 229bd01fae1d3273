"""The kinds of findings of `teddy check`: the severity, the name and the remedy of each."""

from enum import Enum, StrEnum


class Severity(StrEnum):
    """How grave a kind of finding is. Only errors make `teddy check` end with exit code 1."""

    ERROR = "error"
    """Training would refuse this, or would not be what it seems."""
    WARNING = "warning"
    """Most probably a mistake, or something that costs accuracy."""
    INFORMATION = "information"
    """Worth knowing; often right as it is."""


def _error(title: str, advice: str) -> tuple[Severity, str, str]:
    return Severity.ERROR, title, advice


def _warning(title: str, advice: str) -> tuple[Severity, str, str]:
    return Severity.WARNING, title, advice


def _information(title: str, advice: str) -> tuple[Severity, str, str]:
    return Severity.INFORMATION, title, advice


class FindingKind(Enum):
    """What may be wrong: severity, title (of the middle of a sentence), and what to do.

    The order is that of suspicion, and of the report.
    """

    UNREADABLE = _error(
        "what cannot be read",
        "Correct the line, or give the format: --format, --token, --tag, --scheme, --encoding.",
    )
    UNKNOWN_LABEL = _error(
        "labels that the recipe does not know",
        "Add the label to `labels`, or to the `map` of its corpus: to another label, to O or to ?.",
    )
    NO_TRAIN_EXAMPLES = _error(
        "labels of the recipe without any example in train",
        "Remove the label from `labels`, map another label to it, or annotate examples of it.",
    )
    ONLY_OUTSIDE = _error(
        "files without any entity",
        "Check that the right column is read as the tag (--tag), and what `map` leaves.",
    )
    NO_EXAMPLES = _warning(
        "labels with few examples",
        "Annotate more, or map the label to a broader one: under 50 examples teach little.",
    )
    ONLY_IN_DEV = _warning(
        "labels that only dev has",
        "Divide the data so that train has examples of each label: these can only be missed.",
    )
    ONLY_IN_TRAIN = _warning(
        "labels that only train has",
        "Put examples into dev: how well these labels are found is not measured.",
    )
    REPAIRED = _warning(
        "illegal tag sequences, repaired",
        "Name the scheme that fits (--scheme, or `scheme` in the recipe), or correct the tags.",
    )
    MISALIGNED = _warning(
        "spans that words cannot express",
        "Move the borders to those of words; such a span is not trained on, and is missed in dev.",
    )
    WHITE_SPACE = _warning(
        "spans that begin or end with white space, or hold nothing else",
        "Move the borders to the first and the last letter.",
    )
    CROSSING = _warning(
        "entities that cross the end of a sentence",
        "Check for an overlong entity or a missing full stop: the sentences are joined into one.",
    )
    CONTRADICTION = _warning(
        "the same sentence, marked differently",
        "Decide for one of the two annotations and give it to both.",
    )
    LEAK = _warning(
        "dev sentences that are also in train",
        "Take them out of dev, whose scores they raise without telling anything of new text.",
    )
    GLUED = _warning(
        "sentences that hold two",
        "Put a blank line, or the end of a record, where the first one ends.",
    )
    BARE_STRETCH = _warning(
        "stretches of sentences without any entity",
        "See whether the annotators left them out; if so, annotate them or take them away.",
    )
    LABEL_NOISE = _warning(
        "labels that taggers trained on the rest of the data doubt",
        "Read the first ones; if the proposal is right, correct the label. Not all are mistakes.",
    )
    MISSING_NOISE = _warning(
        "places where those taggers are sure of an entity",
        "Read the first ones; mark those that are entities by your guidelines.",
    )
    BORDER_NOISE = _warning(
        "borders that those taggers would draw elsewhere",
        "Read the first ones; many in one manner mean that the guidelines are not clear there.",
    )
    SPURIOUS_NOISE = _warning(
        "entities that those taggers take for none",
        "Read the first ones; names that are rare or that stand without context are often right.",
    )
    OTHER_LABEL = _warning(
        "the same words, nearly always with another label",
        "Correct the label where the context does not call for it.",
    )
    UNMARKED = _warning(
        "words that are nearly always marked, and not here",
        "Mark them where they mean the same.",
    )
    UNUSED_RULE = _warning(
        "rules that change no span",
        "Remove the rule, or correct its label and its patterns: it is for the data as it is read.",
    )
    TWO_WAYS = _information(
        "words with two labels",
        "Compare the two examples: does the context decide, or did the annotators?",
    )
    HALF_MARKED = _information(
        "words that are marked in some places, and in as many or more are not",
        "Compare the two examples; mark the others where they mean the same.",
    )
    SHIFT = _information(
        "labels whose share differs between train and dev",
        "Divide at random, by documents, unless dev is meant to be another kind of text.",
    )
    SEEN = _information(
        "dev entities whose words are an entity of train",
        "Expect lower scores on text with new names, the higher this share is.",
    )
    NO_NEGATIVES = _information(
        "parts in which every sentence has an entity",
        "Add sentences without any, as real text has, or the tagger finds entities everywhere.",
    )
    RULE = _information(
        "spans that rules of the recipe have changed",
        "Compare the counts with what you meant; the model card has them too.",
    )
    TOO_FEW = _information(
        "too few sentences, or no entities, to look for label noise in",
        "Annotate more, or ask for fewer folds.",
    )
    EDGE = _information(
        "spans that take in punctuation, are nothing else, or are very long",
        "See whether the border is meant.",
    )
    MOJIBAKE = _warning(
        "text that was decoded wrongly",
        "Convert the file again from its source, with the encoding that it has.",
    )
    MIXED_SCRIPT = _warning(
        "words that mix scripts",
        "Replace the look-alike letter: to a tagger such a word is another word.",
    )
    INVISIBLE = _warning(
        "characters that cannot be seen",
        "Remove them, unless the script needs them: they make words unlike themselves.",
    )
    NOT_NORMALISED = _information(
        "text that is not in normal form C",
        "Normalise the text to NFC and count the offsets again: one word is spelt in two ways.",
    )
    CHARACTER = _information(
        "odd characters",
        "Remove characters that do not print; find out where replacement characters come from.",
    )
    LENGTH = _information(
        "very long sentences",
        "Check whether blank lines or full stops are missing: long sentences cost memory.",
    )
    EMPTY = _information(
        "documents and rows without a word",
        "Remove them; they are left out.",
    )
    DUPLICATE = _information(
        "repeated sentences",
        "Remove the copies: they count more than others, and distort the folds of --deep.",
    )

    def __init__(self, severity: Severity, title: str, advice: str) -> None:
        self.severity = severity
        self.title = title
        self.advice = advice

    @property
    def key(self) -> str:
        """Its name in JSON."""
        return self.name.lower()
