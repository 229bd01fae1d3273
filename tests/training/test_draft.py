"""`teddy init` and `teddy train DATA`: a recipe from files alone; `teddy try` and its model."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.data.holdout import balanced
from teddy.training.draft.draft import UnfitDataError, draft_recipe
from teddy.training.draft.survey import model_to_start_from, name_of, role_of
from teddy.training.draft.try_command import next_steps
from teddy.training.recipe.recipe import Recipe, load_recipe
from tests.training.test_exports import EXPORTS, FORMATS

Shell = Callable[..., tuple[int, str, str]]
TINY = [
    "--set=training.epochs=1",
    "--set=network.hidden_width=8",
    "--set=network.embedding_width=8",
    "--set=pieces.vocabulary=300",
]
NAMES = ["Ada", "Bo", "Cleo", "Dag", "Eva", "Finn", "Gro", "Hans", "Ida", "Jon"]


def drafted(tmp_path: Path, sources: Sequence[str], data: Path) -> tuple[str, Recipe]:
    draft = draft_recipe(sources, data)
    draft.write(tmp_path / "drafted.toml")
    return draft.text, load_recipe(tmp_path / "drafted.toml")


def labels_of(corpus: Corpus, part: str) -> set[str]:
    return {span.label for sentence in getattr(corpus, part) for span in sentence.spans}


def write_tickets(path: Path) -> None:
    """Twenty texts: a person in each, a city in a few, a god in two."""
    lines = []
    for number in range(20):
        name = NAMES[number % 10]
        text, start = f"{number} {name} called", len(f"{number} ")
        spans = [(start, start + len(name), "PERSON NAME")]
        for label, word, is_due in (
            ("CITY", "Oslo", number % 5 == 0),
            ("GOD", "Thor", number > 17),
        ):
            if is_due:
                text += f" {word}"
                spans.append((len(text) - 4, len(text), label))
        lines.append(json.dumps({"text": text, "label": spans}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("export", sorted(FORMATS.keys() - {"datasets-card/train.jsonl"}))
def test_the_export_of_each_tool_becomes_a_recipe_that_can_be_read(
    tmp_path: Path, export: str
) -> None:
    if export == "docbin.spacy":
        pytest.importorskip("spacy")
    text, recipe = drafted(tmp_path, [export], EXPORTS)
    [config] = recipe.corpus
    assert config.format == FORMATS[export]
    assert set(recipe.labels) == {"PER", "LOC"}
    [corpus] = load_corpora(recipe, EXPORTS)
    assert labels_of(corpus, "train") == labels_of(corpus, "dev") == {"PER", "LOC"}
    assert {'"PER",  # 3; under 50 teach little', '"LOC",  # 2; under 50 teach little'} <= {
        line.strip() for line in text.splitlines()
    }


def test_a_recipe_from_files_does_not_change_and_names_what_it_starts_from(tmp_path: Path) -> None:
    write_tickets(tmp_path / "tickets.jsonl")
    text, recipe = drafted(tmp_path, ["tickets.jsonl"], tmp_path)
    assert draft_recipe(["tickets.jsonl"], tmp_path).text == text
    assert recipe.name == "tickets"
    assert recipe.start.weights == "en"
    assert recipe.corpus[0].map == {"PERSON NAME": "PERSON_NAME"}
    assert recipe.labels == ("PERSON_NAME", "CITY", "GOD")
    [corpus] = load_corpora(recipe, tmp_path)
    assert labels_of(corpus, "train") == labels_of(corpus, "dev") == set(recipe.labels)
    assert 0.1 <= len(corpus.dev) / 20 <= 0.35


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("Die Physikerin Lise Meitner forschte lange in Berlin und floh nach Schweden.", "de"),
        ("The physicist Lise Meitner worked in Berlin for many years and fled to Sweden.", "en"),
        ("DER RAT DER STADT TAGT AM MONTAG UM ZEHN UHR", "de"),
        ("the council of the town meets on monday at ten", "en"),
        ("Мейтнер бежала в Швецию.", None),
        ("迈特纳逃往瑞典。", None),
        ("123 ... !", None),
        ("", None),
    ],
)
def test_a_recipe_starts_from_the_model_that_knows_most_of_the_words(
    text: str, model: str | None
) -> None:
    assert model_to_start_from(text) == model


def test_another_script_starts_from_nothing_and_joins_its_tokens(tmp_path: Path) -> None:
    rows = "张 B-PER\n三 I-PER\n去 O\n北 B-LOC\n京 I-LOC\n\n".splitlines()
    block = "\n".join(rows)
    (tmp_path / "zh.conll").write_text(f"{block}\n\n{block}我 O\n", encoding="utf-8")
    _, recipe = drafted(tmp_path, ["zh.conll"], tmp_path)
    assert recipe.start.weights == ""
    assert (recipe.corpus[0].join, recipe.corpus[0].keep_apart) == ("", True)


def test_files_are_train_dev_and_test_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        (folder / f"{part}.conll").write_text(f"{part} O\nBo B-PER\n\nhi O\n", encoding="utf-8")
    (folder / "README.md").write_text("[Bo](PER) is a name.\n", encoding="utf-8")
    text, recipe = drafted(tmp_path, ["names"], tmp_path)
    assert recipe.name == "names"
    assert recipe.corpus[0].train == ("names/train.conll",)
    assert recipe.corpus[0].dev == ("names/valid.conll",)
    assert recipe.corpus[0].holdout == 0
    assert "names/test.conll is left out" in " ".join(text.replace("\n# ", " ").split())


@pytest.mark.parametrize(
    ("path", "name", "role"),
    [
        ("data/mine/train.txt", "mine", "train"),
        ("eng.testa", "eng", "dev"),
        ("tickets-test.jsonl.gz", "tickets", "test"),
        ("a b/my notes.csv", "my-notes", "train"),
        ("contest.conll", "contest", "train"),
    ],
)
def test_names_say_what_a_file_is(path: str, name: str, role: str) -> None:
    assert (name_of(path), role_of(path)) == (name, role)


def test_all_that_is_wrong_with_any_file_is_listed_at_once(tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "Bo ran", "entities": [[0, 2, "PER"]]}\n{"text": 1}\n{"text": "Bo"\n',
        encoding="utf-8",
    )
    (tmp_path / "b.conll").write_text("Bo O\n\nran O\n", encoding="utf-8")
    code, output, told = shell(
        "init", "a.jsonl", "b.conll", "c.conll", "--data", tmp_path, "--output", tmp_path / "r.toml"
    )
    assert (code, output) == (2, "")
    assert not (tmp_path / "r.toml").exists()
    lines = told.splitlines()
    for place in ("a.jsonl:2", "a.jsonl:3", "b.conll", "c.conll"):
        [line] = [each for each in lines if f"{tmp_path / place}:" in each]
        assert line.startswith("teddy: error: ")
    assert len(lines) == 4


def test_one_document_and_no_entity_are_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(
        '{"text": "Bo ran", "entities": [[0, 2, "PER"]]}\n', encoding="utf-8"
    )
    with pytest.raises(UnfitDataError, match="one document cannot be divided"):
        draft_recipe(["one.jsonl"], tmp_path)


def test_files_in_another_encoding_are_read(tmp_path: Path) -> None:
    (tmp_path / "old.conll").write_bytes(
        "Zoë B-PER\ncalled O\n\nshe O\nZoë B-PER\n".encode("cp1252")
    )
    _, recipe = drafted(tmp_path, ["old.conll"], tmp_path)
    assert recipe.corpus[0].encoding == "cp1252"
    [corpus] = load_corpora(recipe, tmp_path)
    assert {*corpus.train[0].words, *corpus.dev[0].words} == {"Zoë", "called", "she"}


def test_a_recipe_that_is_there_is_not_overwritten(tmp_path: Path, shell: Shell) -> None:
    write_tickets(tmp_path / "tickets.jsonl")
    recipe = tmp_path / "mine.toml"
    command = ("init", "tickets.jsonl", "--data", tmp_path, "--output", recipe)
    code, output, told = shell(*command)
    assert (code, output) == (0, f"{recipe}\n")
    assert told.splitlines()[-1] == f"teddy: next: teddy train {recipe} --data {tmp_path}"
    recipe.write_text("mine", encoding="utf-8")
    assert shell(*command)[0] == 2
    assert recipe.read_text(encoding="utf-8") == "mine"


def test_files_are_trained_on_and_their_model_is_tried(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file to entities in two commands."""
    write_tickets(tmp_path / "tickets.jsonl")
    monkeypatch.chdir(tmp_path)
    command = ("train", "tickets.jsonl", '--set=start.weights=""', *TINY)
    code, output, _ = shell(*command)
    assert (code, output) == (0, "runs/tickets/tickets.teddy\n")
    kept = Path("runs/tickets.toml").read_text(encoding="utf-8")
    assert kept == draft_recipe(["tickets.jsonl"], Path()).text
    assert shell(*command)[:2] == (0, output)  # it has finished: nothing to do
    for source in ("runs/tickets", "runs/tickets.toml", "runs/tickets/tickets.teddy"):
        (tmp_path / "typed").write_text("\nCleo called Oslo\n", encoding="utf-8")
        with (tmp_path / "typed").open(encoding="utf-8") as typed:
            monkeypatch.setattr("sys.stdin", typed)
            code, output, _ = shell("try", source)
        assert code == 0
        first, second = output.splitlines()
        assert first == "tickets finds PERSON_NAME, CITY, GOD"
        assert "Cleo" in second
    Path("runs/tickets.toml").write_text(kept.replace("tickets", "others", 1), encoding="utf-8")
    assert "give another --output" in shell(*command)[2]


def test_entities_are_in_brackets_where_there_are_no_colours(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "typed").write_text("Ada Lovelace lived in London.\n", encoding="utf-8")
    with (tmp_path / "typed").open(encoding="utf-8") as typed:
        monkeypatch.setattr("sys.stdin", typed)
        code, output, _ = shell("try")
    assert code == 0
    assert output.splitlines()[1] == "[Ada Lovelace PER] lived in [London LOC]."


def test_a_run_without_a_model_says_what_writes_it(tmp_path: Path, shell: Shell) -> None:
    code, _, told = shell("try", tmp_path)
    assert code == 2
    assert "want one .teddy file, found no model file; teddy train" in told


def test_the_last_lines_of_a_run_are_commands_that_work() -> None:
    steps = next_steps(Path("runs/a b/mine.teddy"), Path("runs/a b"))
    assert steps[1:] == [
        "  teddy try 'runs/a b'",
        "  teddy serve --model mine='runs/a b/mine.teddy'",
    ]


documents = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["", "A", "B", "C"])), max_size=60
)


@given(documents, st.sampled_from([0.1, 0.2, 0.5]))
def test_each_label_of_two_texts_is_on_both_sides(
    given_documents: list[tuple[int, str]], share: float
) -> None:
    """Where each text has one label at most; a text's digest says which."""
    labels = dict(given_documents)
    texts = [(digest, frozenset(filter(None, [labels[digest]]))) for digest, _ in given_documents]
    chosen = balanced(texts, share)
    sides = {
        digest: {place in chosen for place, (d, _) in enumerate(texts) if d == digest}
        for digest in labels
    }
    assert all(len(each) == 1 for each in sides.values())  # equal texts are on one side
    n_texts, n_out = Counter[str](), Counter[str]()
    for digest, label in labels.items():
        n_texts[label] += 1
        n_out[label] += sides[digest] == {True}
    for label, n in n_texts.items():
        if label and n > 1:
            assert n_out[label] == min(max(1, round(n * share)), n - 1)
    if len(labels) > 1:
        assert 0 < n_out.total() < n_texts.total()


@given(
    st.lists(st.frozensets(st.sampled_from("ABCD"), max_size=3), min_size=2, max_size=9),
    st.sampled_from([0.1, 0.3]),
)
def test_no_text_on_the_other_side_would_make_a_division_better(
    sets: list[frozenset[str]], share: float
) -> None:
    """A label of one text must be in train, any other one on both sides."""
    chosen = balanced([*enumerate(sets)], share)

    def n_lacking(out: set[int]) -> int:
        train, dev = (
            frozenset().union(*(each for place, each in enumerate(sets) if (place in out) is side))
            for side in (False, True)
        )
        counts = Counter(label for each in sets for label in each)
        return sum(label not in (train if n == 1 else train & dev) for label, n in counts.items())

    if chosen and len(chosen) < len(sets):
        for place in range(len(sets)):
            moved = chosen ^ {place}
            if moved:  # dev must have a text
                assert n_lacking(chosen) <= n_lacking(moved)
