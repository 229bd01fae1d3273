"""A study: the trials of a search, in a database that several processes share.

    study.db       Optuna's database: values and results
    recipe.toml    the recipe that is searched
    trials/NNNN    each trial, as an ordinary training run

A trial belongs to the process that holds the lock on its directory, which the system releases when
the process ends. A trial that is neither finished nor locked was interrupted: the next process
resumes it, under its number and from its checkpoint. (Optuna's heartbeat with
RetryFailedTrialCallback would begin a new trial from the start under another number, so that equal
seeds would not give equal studies.)
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from teddy.model.errors import TrainingError
from teddy.model.system.files import locked, write_atomically
from teddy.model.system.toml import dotted, first_problem
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.search_config import Interval, Range, SearchConfig, put_values

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

_STARTS = "starts_without_evaluation"
_MOST_STARTS = 3
"""A trial fails that ends its process so often before its first evaluation."""
_LOCK_SECONDS = 60.0
"""The time that SQLite waits for another process that writes."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A trial that this process works on, with its recipe and directory.

    `reported` are the numbers, from 1, of the evaluations that are in the database.
    """

    trial: Trial
    recipe: Recipe
    directory: Path
    reported: frozenset[int]


class Study:
    """The study in a directory, created if there is none.

    Raises TrainingError for a recipe without `[search]`, and in the directory of another recipe.
    """

    def __init__(self, recipe: Recipe, directory: Path) -> None:
        if recipe.search is None:
            raise TrainingError("the recipe has no [search] table to say what to look for")
        self.recipe = recipe
        self.config: SearchConfig = recipe.search
        self.directory = directory
        self.trials = directory / "trials"
        self.trials.mkdir(parents=True, exist_ok=True)
        with locked(self.trials):
            self._refuse_another_recipe()
            self._optuna = self._open()

    @contextmanager
    def claimed(self) -> Iterator[Claim | None]:
        """Claim a trial for the block: an interrupted one, else a new one, else None.

        Trials that need no training are ended on the way: with values that were tried before, or
        that make no valid recipe.
        """
        with ExitStack() as held:
            claim = None
            while claim is None:
                with locked(self.trials):
                    trial = self._interrupted(held) or self._new(held)
                if trial is None:
                    break
                claim = self._prepared(trial)
            yield claim

    def report(self, claim: Claim, evaluation: int, f1: float) -> bool:
        """Record the F1 of an evaluation, from 1; return whether the trial should be pruned."""
        if evaluation not in claim.reported:
            claim.trial.report(f1, evaluation)
            claim.trial.set_user_attr(_STARTS, 0)
        return claim.trial.should_prune()

    def complete(self, claim: Claim, f1: float) -> None:
        """End a trial that has been trained to its end."""
        self._optuna.tell(claim.trial, f1)

    def prune(self, claim: Claim) -> None:
        """End a trial that will not be the best."""
        self._optuna.tell(claim.trial, state=TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str) -> None:
        """End a trial without a result."""
        trial.set_user_attr("error", reason)
        self._optuna.tell(trial, state=TrialState.FAIL)

    def interrupt(self, claim: Claim) -> None:
        """Leave a trial that another process can resume, and not count this start."""
        claim.trial.set_user_attr(_STARTS, 0)

    def all(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials, or those in some states, by number."""
        return self._optuna.get_trials(deepcopy=False, states=states or None)

    def ended(self) -> list[FrozenTrial]:
        """Return the trials that need no more work."""
        return self.all(*_ENDED)

    def unfinished(self) -> list[FrozenTrial]:
        """Return the trials in work, and the interrupted ones."""
        return self.all(TrialState.RUNNING)

    def best(self) -> FrozenTrial | None:
        """Return the complete trial with the best F1, of equal ones the first."""
        return max(
            self.all(TrialState.COMPLETE), key=lambda trial: trial.value or 0.0, default=None
        )

    def importances(self) -> dict[str, float]:
        """Return the importance of each value, by PED-ANOVA (Watanabe et al. 2023); the sum is 1.

        Empty while too few trials are complete.
        """
        complete = self.all(TrialState.COMPLETE)
        if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
            return {}
        return optuna.importance.get_param_importances(self._optuna)

    def directory_of(self, number: int) -> Path:
        """Return the directory of the trial with a number."""
        return self.trials / f"{number:04}"

    def _refuse_another_recipe(self) -> None:
        """Raise TrainingError when more than `trials` differs from the search that is here."""
        path = self.directory / "recipe.toml"
        any_number = {"search": self.config.model_copy(update={"trials": 1})}
        mine = self.recipe.model_copy(update=any_number).dump_toml()
        if not path.exists():
            write_atomically(path, mine)
        elif path.read_text(encoding="utf-8") != mine:
            raise TrainingError(
                f"{self.directory} holds a search of another recipe (see its recipe.toml): "
                "another --output starts over"
            )

    def _open(self) -> optuna.Study:
        url = f"sqlite:///{self.directory / 'study.db'}"
        patience = {"connect_args": {"timeout": _LOCK_SECONDS}}
        self._storage = optuna.storages.RDBStorage(url, engine_kwargs=patience)
        return optuna.create_study(
            storage=self._storage,
            study_name=self.recipe.name,
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(self.config),
        )

    def _interrupted(self, held: ExitStack) -> Trial | None:
        study_id = self._storage.get_study_id_from_name(self.recipe.name)
        for frozen in self.unfinished():
            if not self._take(frozen.number, held):
                continue
            self._optuna.sampler = self._sampler(frozen.number)
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(
                study_id, frozen.number
            )
            trial = Trial(self._optuna, trial_id)  # with the values that it had
            starts = frozen.user_attrs.get(_STARTS, 0)
            if starts < _MOST_STARTS:
                trial.set_user_attr(_STARTS, starts + 1)
                return trial
            self.fail(trial, f"ended its process {starts} times before it was evaluated")
        return None

    def _new(self, held: ExitStack) -> Trial | None:
        number = len(self.all())
        if number >= self.config.trials:
            return None
        self._optuna.sampler = self._sampler(number)
        trial = self._optuna.ask()
        self._take(trial.number, held)
        trial.set_user_attr(_STARTS, 1)
        return trial

    def _take(self, number: int, held: ExitStack) -> bool:
        directory = self.directory_of(number)
        directory.mkdir(exist_ok=True)
        try:
            held.enter_context(locked(directory, wait=False))
        except BlockingIOError:
            return False
        return True

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return the sampler of a trial, which draws the same in any process."""
        seed = self.config.seed * 1_000_003 + number
        if self.config.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed % 2**32)
        return optuna.samplers.TPESampler(
            seed=seed % 2**32, n_startup_trials=self.config.random_trials
        )

    def _prepared(self, trial: Trial) -> Claim | None:
        for name, values in self.config.ranges.items():
            _suggest(trial, name, values)
        trials = self.all()
        for each in trials:
            if each.state in _ENDED and each.params == trial.params:
                # Equal recipes give equal runs.
                trial.set_user_attr("same_as", each.number)
                if "error" in each.user_attrs:
                    trial.set_user_attr("error", each.user_attrs["error"])
                is_complete = each.state == TrialState.COMPLETE
                state = None if is_complete else each.state
                self._optuna.tell(trial, each.value if is_complete else None, state)
                return None
        try:
            recipe = Recipe.model_validate_json(json.dumps(put_values(self.recipe, trial.params)))
        except ValidationError as error:
            location, reason = first_problem(error, Recipe)
            self.fail(trial, f"{dotted(location)}: {reason}")
            return None
        return Claim(
            trial=trial,
            recipe=recipe,
            directory=self.directory_of(trial.number),
            reported=frozenset(trials[trial.number].intermediate_values),
        )


def _pruner(config: SearchConfig) -> optuna.pruners.BasePruner:
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(
            n_startup_trials=config.unpruned_trials, n_warmup_steps=config.warmup_evaluations
        )
    if config.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=max(config.warmup_evaluations, 1))
    return optuna.pruners.NopPruner()


def _suggest(trial: Trial, name: str, values: Range) -> None:
    """Let the trial draw a value; one that it has drawn before stays."""
    if not isinstance(values, Interval):
        trial.suggest_categorical(name, values)
    elif isinstance(values.low, int) and isinstance(values.high, int):
        step = values.step if isinstance(values.step, int) else 1
        trial.suggest_int(name, values.low, values.high, step=step, log=values.log)
    else:
        trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)
