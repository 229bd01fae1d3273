import json
import re
import tomllib
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.errors import RecipeError
from teddy.model.system.toml import KeyPath, dump_toml, line_of
from teddy.training.data import options
from teddy.training.recipe.corpus_config import FormatConfig
from teddy.training.recipe.recipe import Recipe, load_recipe

RECIPE = """\
# A small recipe.
name = "small"
labels = ["PER", "LOC"]

[[corpus]]
name = "letters"
licence = "CC0"
train = ["a.conll"]
dev = ["b.conll"]
map = { person = "PER", "place.name" = "?" }

[[corpus]]
name = "diaries"
licence = "CC BY 4.0"
train = [
  "c.jsonl",
  "d.jsonl",
]
format = "jsonl"

[corpus.map]
person = "PER"

[training]
epochs = 3

[network]
layers = 1
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def changed(path: Path, old: str, new: str) -> Path:
    assert RECIPE.count(old) == 1
    path.write_text(RECIPE.replace(old, new), encoding="utf-8")
    return path


def test_a_recipe_has_the_values_of_its_file_and_defaults_elsewhere(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert recipe.labels == ("PER", "LOC")
    assert [corpus.format for corpus in recipe.corpus] == ["auto", "jsonl"]
    assert recipe.corpus[1].map == {"person": "PER"}
    assert (recipe.training.epochs, recipe.training.patience) == (3, 8)
    assert (recipe.network.layers, recipe.network.bidirectional) == (1, True)


def test_the_dumped_recipe_reads_back_equal(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        recipe_file, ["network.dense_widths=[64, 32]", 'export.canary=["Ümit \\"said\\" \\u007f"]']
    )
    copy = tmp_path / "copy.toml"
    copy.write_text(recipe.dump_toml(), encoding="utf-8")
    assert load_recipe(copy) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[corpus]\nname = "a"\n',
            "corpus: write [[corpus]], with two brackets: there may be several such tables",
        ),
        (
            "epochs = 3\n",
            "epochs: unknown key; did you mean training.epochs, in the table [training]?",
        ),
        (
            "[network]\nword_rows = 3\n",
            "network.word_rows: unknown key; did you mean features.word_rows, in the table "
            "[features]?",
        ),
        (
            "[training]\nholdout = 0.1\n",
            "training.holdout: unknown key; did you mean corpus.holdout, in the table [[corpus]]?",
        ),
    ],
)
def test_a_key_in_a_wrong_place_is_sent_to_its_own(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f'name = "a"\nlabels = ["PER"]\n{text}', encoding="utf-8")
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(path)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("epochs = 3", "epoch = 3", 25, "training.epoch: unknown key; did you mean epochs?"),
        ("layers = 1", "layer = 1", 28, "network.layer: unknown key; did you mean layers?"),
        (
            "epochs = 3",
            "epochs = 0",
            25,
            "training.epochs: should be greater than or equal to 1, not 0",
        ),
        ("epochs = 3", 'epochs = "3"', 25, "training.epochs: should be a valid integer, not '3'"),
        ('format = "jsonl"', 'format = "json"', 19, "corpus.1.format: should be 'auto', 'conll'"),
        ('licence = "CC0"\n', "", 5, "corpus.0.licence: missing"),
        (
            '"place.name" = "?"',
            '"place.name" = "LCO"',
            10,
            "'LCO' is not in labels, nor 'O' or '?'; did you mean LOC?",
        ),
        (
            'name = "diaries"',
            'name = "letters"',
            13,
            "corpus.1.name: 'letters' is the name of two corpora",
        ),
        ('"PER", "LOC"]', '"PER", "PER"]', 3, "labels.1: 'PER' is listed twice"),
        (
            '"PER", "LOC"]',
            '"PER", "O"]',
            3,
            "labels.1: 'O' cannot be a label: it stands for no entity",
        ),
        (
            '"PER", "LOC"]',
            '"PER", "ORDER ID"]',
            3,
            "labels.1: 'ORDER ID' cannot be a label: it has white space; name it 'ORDER_ID', and "
            "map = { 'ORDER ID' = 'ORDER_ID' }",
        ),
        ('dev = ["b.conll"]', "", 5, "no corpus has dev files"),
        (
            'dev = ["b.conll"]',
            'dev = ["b.conll"]\nholdout = 0.1',
            10,
            "corpus.0.holdout: cannot stand beside dev files",
        ),
        (
            'format = "jsonl"',
            'rules = [{ label = "x", text = "(", to = "O" }]',
            19,
            "corpus.1.rules.0.text: not a regular",
        ),
        (
            'format = "jsonl"',
            'rules = [{ label = "x", trim_end = "[" }]',
            19,
            "corpus.1.rules.0.trim_end: not a regular",
        ),
        (
            'format = "jsonl"',
            'rules = [{ label = "x", text = "a" }]',
            19,
            "corpus.1.rules.0.label: the rule changes nothing: give to, trim_start or trim_end",
        ),
        (
            'format = "jsonl"',
            'rules = [{ label = "x", trim_end = "a", to = "O" }]',
            19,
            "corpus.1.rules.0.to: cannot stand beside trim_start or trim_end",
        ),
        (
            'format = "jsonl"',
            'rules = [{ label = "O", trim_end = "a" }]',
            19,
            "corpus.1.rules.0.label: 'O' is for words in no span: give text and to",
        ),
        (
            '"PER", "LOC"]',
            '"PER", "LOC"]\nrules = [{ label = "PER", trim_start = "(" }]',
            4,
            "rules.0.trim_start: not a regular",
        ),
        (
            'format = "jsonl"',
            'rules = [{ label = "x", txt = "a", to = "O" }]',
            19,
            "did you mean text?",
        ),
        (
            'format = "jsonl"',
            'encoding = "utf-9"',
            19,
            "corpus.1.encoding: unknown encoding 'utf-9'",
        ),
        (
            'format = "jsonl"',
            'encoding = "base64"',
            19,
            "corpus.1.encoding: unknown encoding 'base64'",
        ),
        (
            'format = "jsonl"',
            'format = "conll"\ntoken = "word"',
            20,
            "corpus.1.token: must be a number",
        ),
        (
            'format = "jsonl"',
            "token = 1.5",
            19,
            "corpus.1.token: should be a valid integer, not 1.5",
        ),
        ("epochs = 3", "epochs = = 3", 25, "not valid TOML"),
        ("epochs = 3", "epochs = 3\nepochs = 4", 26, "not valid TOML"),
        ("epochs = 3", "learning_rate = nan", 25, "training.learning_rate: should be"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_key(
    recipe_file: Path, old: str, new: str, line: int, message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(changed(recipe_file, old, new))
    assert caught.value.line == line
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


MISTAKES = (
    ('name = "small"', "nme = 'small'", "nme: unknown key; did you mean name?"),
    ("[training]", "[training]\nseed = 3", "training.seed: unknown key; did you mean seed, above"),
    ('licence = "CC0"', "", "corpus.0.licence: missing"),
    ("epochs = 3", "epochs = 0", "training.epochs: should be greater than or equal to 1, not 0"),
    ('format = "jsonl"', "token = 1.5", "corpus.1.token: should be a valid integer, not 1.5"),
)
CONTRADICTIONS = (
    (
        'labels = ["PER", "LOC"]',
        'labels = ["PER", "LOC", "PER"]',
        "labels.2: 'PER' is listed twice",
    ),
    ('name = "diaries"', 'name = "letters"', "corpus.1.name: 'letters' is the name of two corpora"),
    ('dev = ["b.conll"]', "", "corpus: no corpus has dev files"),
    ('{ person = "PER",', '{ person = "PERS",', "corpus.0.map.person: 'PERS' is not in labels"),
)


@pytest.mark.parametrize("mistakes", [MISTAKES, CONTRADICTIONS])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_mistakes_are_told_together_each_with_its_line(
    recipe_file: Path, mistakes: tuple[tuple[str, str, str], ...], n: int
) -> None:
    for chosen in combinations(mistakes, n):
        text = RECIPE
        for old, new, _ in chosen:
            text = text.replace(old, new)
        recipe_file.write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError) as caught:
            load_recipe(recipe_file)
        lines = str(caught.value).splitlines()
        assert len(lines) == n
        for _, _, message in chosen:
            assert sum(message in line for line in lines) == 1
        assert all(re.match(rf"{re.escape(str(recipe_file))}:\d+: ", line) for line in lines)


def test_of_several_mistakes_an_override_names_itself(recipe_file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(changed(recipe_file, 'licence = "CC0"', ""), ["training.epochs=0", "seed=-1"])
    assert [
        line.partition(": ")[2].partition(":")[0] for line in str(caught.value).splitlines()
    ] == [
        "--set seed=-1",
        "corpus.0.licence",
        "--set training.epochs=0",
    ]


def test_a_missing_recipe_and_a_binary_one_are_recipe_errors(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not a UTF-8 text file"):
        load_recipe(tmp_path / "binary.toml")


def test_overrides_reach_tables_arrays_and_tables_that_the_file_does_not_have(
    recipe_file: Path,
) -> None:
    overrides = [
        "training.epochs=7",
        "corpus.1.weight=2",
        "pieces.vocabulary = 400",
        "training.device=cpu",
    ]
    recipe = load_recipe(recipe_file, overrides)
    assert recipe.training.epochs == 7
    assert recipe.corpus[1].weight == 2.0
    assert recipe.pieces.vocabulary == 400
    assert recipe.training.device == "cpu"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.epoch=3",
            "--set training.epoch=3: training.epoch: unknown key; did you mean epochs?",
        ),
        (
            "training.epochs=-1",
            "--set training.epochs=-1: training.epochs: should be greater than or equal to 1",
        ),
        ("corpus.9.weight=2", "--set corpus.9.weight=2: there is no corpus.9.weight"),
        ("name.x=2", "--set name.x=2: there is no name.x"),
        ("training.epochs=[", "--set training.epochs=[: '[' is not a TOML value"),
        ("training.epochs", "want key=value"),
        ("=3", "want key=value"),
    ],
)
def test_a_bad_override_is_named(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [override])
    assert message in str(caught.value)


def test_every_shipped_recipe_is_valid() -> None:
    recipes = sorted(Path(__file__).parents[2].glob("training/recipes/*.toml"))
    assert len(recipes) >= 5
    for path in recipes:
        trains = "[[corpus]]" in path.read_text(encoding="utf-8")
        recipe = load_recipe(path, purpose="train" if trains else "pretrain")
        assert isinstance(recipe, Recipe)
        assert recipe.name == path.stem
        assert all(corpus.licence for corpus in recipe.corpus)


def test_no_shipped_recipe_for_a_shipped_model_uses_research_only_data() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "training" / "recipes" / "en.toml")
    for corpus in recipe.corpus:
        assert corpus.licence.startswith(("CC BY", "MIT", "CC0"))


def test_a_line_is_found_behind_strings_and_brackets_that_look_like_keys() -> None:
    text = "\n".join(
        [
            "a = '''",
            "b = 1",
            "[c]'''",
            'd = "x # y = [" # e = 1',
            "f = [ # [g]",
            "  { h = 1, i = 2 },",
            '  { h = "]" },',
            "]",
            '"j.k".l = """a \\""" b"""',
            "[ m . n ]",
            "o.p = 1979-05-27T07:32:00Z",
            "[[m.q]]",
            "[[m.q]]",
            "[m.q.r]",
            "s = -1e5",
        ]
    )
    tomllib.loads(text)
    places: dict[KeyPath, int | None] = {
        ("a",): 1,
        ("b",): None,
        ("c",): None,
        ("d",): 4,
        ("f",): 5,
        ("f", 1, "h"): 7,
        ("j.k", "l"): 9,
        ("m", "n", "o", "p"): 11,
        ("m", "n", "o", "absent"): 11,
        ("m", "q", 0): 12,
        ("m", "q", 1, "r", "s"): 15,
        ("m", "q", 1, "absent", "s"): 13,
    }
    assert {path: line_of(path, text) for path in places} == places


KEYS = st.text(min_size=1, max_size=6) | st.sampled_from(["a", "b-c", "0"])
SCALARS = st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False)
TABLES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=3),
    lambda tables: st.dictionaries(
        KEYS, tables | st.lists(tables, max_size=3) | SCALARS, max_size=3
    ),
    max_leaves=8,
)


def paths_in(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """All keys, tables and array elements of a document."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    paths = {path} if path else set()
    return paths.union(*(paths_in(inner, (*path, key)) for key, inner in items))


def is_encodable(table: dict[str, Any]) -> bool:
    try:
        json.dumps(table, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(TABLES.filter(is_encodable))
def test_dumped_toml_reads_back_equal_and_every_key_of_it_has_a_line(table: dict[str, Any]) -> None:
    text = dump_toml(table)
    assert tomllib.loads(text) == table
    for path in paths_in(table):
        line = line_of(path, text)
        assert line is not None
        assert has(tomllib.loads("\n".join(text.split("\n")[:line])), path)
        assert not has(tomllib.loads("\n".join(text.split("\n")[: line - 1])), path)


def has(table: Any, path: KeyPath) -> bool:
    for part in path:
        try:
            table = table[part]
        except (IndexError, KeyError, TypeError):
            return False
    return True


def test_the_choices_of_commands_are_those_of_the_keys_of_a_recipe() -> None:
    keys = FormatConfig.model_fields
    for name, choice in (
        ("format", options.FormatChoice),
        ("misaligned", options.MisalignedChoice),
    ):
        assert get_args(choice) == get_args(keys[name].annotation), name
