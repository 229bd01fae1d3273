"""What a model forgets when it learns a second corpus, by the way in which it is updated.

    python -m benchmarks.forgetting FIRST.toml SECOND.toml --data DIR --output DIR [--model MODEL]

FIRST.toml is trained, unless `--model` has learnt it already; then that model is updated with
SECOND.toml in each way:

    naive        with nothing but the second corpus
    predictions  and with its own predictions on the sentences of the second corpus
    rehearsal    and with half of each epoch from the first corpus's training data, no predictions
    both         with predictions and rehearsal

Strict F1 on the dev data of both, in per cent, is printed as a table. SECOND.toml may say more in
its `[update]` and `[distill]` tables; `--set KEY=VALUE` changes it for all the ways, `--ways` names
those to try."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import check_files, read_names
from teddy.model.errors import TeddyError
from teddy.model.predictor import load
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.evaluation.measurements import evaluate_dev
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train

WAYS = {
    "naive": ("update.predictions=false", "update.rehearse=[]"),
    "predictions": ("update.rehearse=[]",),
    "rehearsal": ("update.predictions=false",),
    "both": (),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, metavar="FIRST.toml")
    parser.add_argument("second", type=Path, metavar="SECOND.toml")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="what the recipes' files are relative to",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where the runs go"
    )
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="what FIRST.toml gives, if it is there already"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change SECOND.toml; repeatable",
    )
    parser.add_argument("--ways", metavar="NAME,...", help=f"by default {','.join(WAYS)}")
    given = parser.parse_args()
    check_files(parser, [given.first, given.second, given.model])
    ways = read_names(parser, "--ways", given.ways, [*WAYS]) or (*WAYS,)
    try:
        run(given, ways)
    except TeddyError as error:
        parser.error(str(error))


def run(given: argparse.Namespace, ways: Sequence[str]) -> None:
    """Trains, updates and measures; a row is printed as soon as it is known."""
    first = load_recipe(given.first)
    model = given.model or train(first, given.data, given.output / "first", resume=True)
    second = load_recipe(given.second)
    corpora = [load_corpora(each, given.data) for each in (first, second)]
    print("| | first | second |\n|---|---:|---:|", flush=True)
    print(row("before", model, corpora), flush=True)
    for way in ways:
        recipe = updating(given.second, first, model, way, given.set)
        print(
            row(way, train(recipe, given.data, given.output / way, resume=True), corpora),
            flush=True,
        )


def updating(second: Path, first: Recipe, model: Path, way: str, changes: Sequence[str]) -> Recipe:
    """The second recipe as an update of the model, in one of the ways."""
    recipe = load_recipe(
        second, [f"update.model={json.dumps(str(model.resolve()))}", *changes, *WAYS[way]]
    )
    if (
        way not in ("rehearsal", "both")
        or recipe.update is None
        or recipe.update.rehearse
        or recipe.update.rehearsal
    ):
        return recipe
    old = tuple(each.model_copy(update={"name": f"first: {each.name}"}) for each in first.corpus)
    return recipe.model_copy(update={"update": recipe.update.model_copy(update={"rehearsal": old})})


def row(name: str, model: Path, corpora: Sequence[list[Corpus]]) -> str:
    """A model's F1 on the dev data of each recipe."""
    predictor = load(model, precision="fp32")
    f1 = [
        evaluate_dev(
            predictor.tagger, each, labels=sorted(each[0].annotates), worst=0
        ).scores.micro.f1
        for each in corpora
    ]
    return f"| {name} | {' | '.join(f'{100 * each:.1f}' for each in f1)} |"


if __name__ == "__main__":
    main()
