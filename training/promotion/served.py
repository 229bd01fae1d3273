"""What a model file finds in sentences whose entities are known, in the precision that it serves in."""

from collections.abc import Sequence

from teddy.model.documents import WindowInput
from teddy.model.predictor import Predictor
from teddy.training.corpus.corpora import Corpus
from teddy.training.evaluate import Evaluation, Predict, ScoredSpan, evaluate


def prediction(predictor: Predictor) -> Predict:
    """A loaded model as `teddy.training.evaluate` wants one."""

    def predict(sentences: Sequence[Sequence[str]]) -> list[list[ScoredSpan]]:
        outputs = predictor.predict([WindowInput(list(words)) for words in sentences])
        return [[*map(ScoredSpan, output.spans, output.scores)] for output in outputs]

    return predict


def evaluate_served(predictor: Predictor, corpora: Sequence[Corpus], labels: Sequence[str] = ()) -> Evaluation:
    """Measures a loaded model on the dev sentences of corpora; `labels` are more than the model's that may be gold."""
    known = predictor.manifest.labels
    return evaluate(
        prediction(predictor),
        [sentence for corpus in corpora for sentence in corpus.dev],
        {corpus.name: corpus.annotates for corpus in corpora},
        labels=(*known, *(label for label in labels if label not in known)),
        worst=0,
    )
