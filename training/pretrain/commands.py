"""The commands `teddy pretrain` and `teddy sample`. What they need is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from teddy.model.commands import use_one_thread
from teddy.training.commands import OutputOption, RecipeArgument, ResumeOption, RunDataOption, SetOption
from teddy.training.job.options import MetricsFileOption, MetricsPortOption, PushgatewayOption, shown
from teddy.training.tracking.tracked import MlflowOption, tracked


def pretrain(
    recipe_file: RecipeArgument,
    data: RunDataOption = Path(),
    output: OutputOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    metrics_file: MetricsFileOption = None,
    metrics_port: MetricsPortOption = None,
    pushgateway: PushgatewayOption = None,
    mlflow: MlflowOption = None,
) -> None:
    """Let an encoder learn from plain text, for a tagger to start from.

    The recipe's table [pretrain] names the text and says what is asked of the encoder. A run leaves its resolved
    recipe, metrics, a checkpoint and NAME.encoder in --output; [start] weights of another recipe takes that file. At
    the end, its path is printed on standard output. Stopping, resuming and exit codes are those of `teddy train`.

    Examples:
      teddy pretrain training/recipes/encoder-en.toml --data corpora
      teddy pretrain mine.toml --set pretrain.objective=causal --output runs/causal
      teddy pretrain mine.toml --resume
    """
    from teddy.model.interruption import interruptions
    from teddy.training.config import load_recipe
    from teddy.training.job.job import Job

    recipe = load_recipe(recipe_file, overrides or (), purpose="pretrain")
    output = output or Path("runs") / recipe.name
    job = Job(recipe.name)
    with (
        interruptions() as interruption,
        shown(job, metrics_file, metrics_port, pushgateway),
        tracked(output, mlflow) as watchers,
    ):
        from teddy.training.pretrain.run import pretrain as run_pretraining  # takes seconds, see `teddy train`

        encoder_file = run_pretraining(
            recipe, data, output, resume=resume, job=job, watchers=watchers, interruption=interruption
        )
    print(encoder_file)


def sample(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The directory of a pre-training run.", show_default=False)
    ],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What to go on with; empty: a word by chance.")] = "",
    words: Annotated[int, typer.Option(min=1, help="The most words to write.")] = 40,
    temperature: Annotated[float, typer.Option(min=0.01, help="Below 1 the usual, above 1 the unusual.")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another text.")] = 1,
    backward: Annotated[bool, typer.Option("--backward", help="Write what comes before the prompt.")] = False,
) -> None:
    """Let the language models of a pre-training run write a sentence, to see what they have learnt.

    The run's objective must be causal. Its two models read in opposite directions: one writes on from the prompt, the
    other writes what may stand before it.

    Examples:
      teddy sample runs/causal --prompt "The river flows"
      teddy sample runs/causal --prompt "was born in Oslo." --backward --temperature 0.6
    """
    use_one_thread()
    from teddy.model.text import tokenise
    from teddy.training.pretrain.sample import as_text, load_language_model

    model = load_language_model(run)
    prompted = [prompt[start:end] for start, end in tokenise(prompt)] or [model.first_word(seed)]
    print(as_text(model.sample(prompted, words, temperature=temperature, seed=seed, backwards=backward)))
