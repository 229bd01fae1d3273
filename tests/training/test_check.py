import json
from pathlib import Path
from typing import Any

import pytest

from teddy.model.tags.spans import Scheme
from teddy.training.check.checking import check_file, check_recipe
from teddy.training.check.display import as_text
from teddy.training.check.finding_kinds import FindingKind, Severity
from teddy.training.check.report import CheckReport
from teddy.training.recipe.corpus_config import CorpusConfig, FormatConfig
from teddy.training.recipe.recipe import Recipe

MIXED = "Мосcow"  # noqa: RUF001


def columns(*sentences: str) -> str:
    """Write sentences such as ``Ada/PER left`` as columns; each marked word is a span."""
    blocks = []
    for sentence in sentences:
        pairs = [word.partition("/") for word in sentence.split()]
        blocks.append(
            "".join(f"{word} {f'B-{label}' if label else 'O'}\n" for word, _, label in pairs)
        )
    return "\n".join(blocks)


def check(path: Path, *sentences: str) -> CheckReport:
    path.write_text(columns(*sentences), encoding="utf-8")
    return check_file(path, FormatConfig())


def messages(report: CheckReport, kind: FindingKind) -> list[str]:
    return [
        f"{finding.line}: {finding.message}" for finding in report.findings if finding.kind is kind
    ]


def test_counts_are_of_words_and_of_spans_by_label(tmp_path: Path) -> None:
    report = check(tmp_path / "a.conll", "Ada/PER saw Bo/PER in Rome/LOC", "They left")
    [part] = report.parts
    assert (part.sentences, part.words, part.longest_sentence, part.spans) == (2, 7, 5, 3)
    assert part.labels == {"PER": 2, "LOC": 1}


def test_a_surface_with_a_rare_label_is_found(tmp_path: Path) -> None:
    usual = [f"in Rome/LOC on day {n}" for n in range(10)]
    report = check(tmp_path / "a.conll", *usual, "with Rome/PER")
    assert messages(report, FindingKind.OTHER_LABEL) == ["61: 'Rome' is PER here, and LOC 10 times"]


def test_a_surface_that_is_unmarked_only_once_is_found(tmp_path: Path) -> None:
    usual = [f"in Rome/LOC on day {n}" for n in range(10)]
    report = check(tmp_path / "a.conll", *usual, "to Rome again")
    assert messages(report, FindingKind.UNMARKED) == ["61: 'Rome' is marked 10 times, and not here"]


@pytest.mark.parametrize("n_unmarked", [2, 27, 40, 41])
def test_words_that_are_marked_in_some_places_only_are_told_once(
    tmp_path: Path, n_unmarked: int
) -> None:
    marked = [f"in Rome/LOC on day {n}" for n in range(10)]
    report = check(tmp_path / "a.conll", *marked, *[f"to Rome on {n}" for n in range(n_unmarked)])
    expected = (
        f"61: 'Rome' is marked 10 times, and not marked {n_unmarked} times of {10 + n_unmarked}, "
        "first here"
    )
    found = messages(report, FindingKind.HALF_MARKED)
    assert found == ([expected] if n_unmarked <= 40 else [])


def test_a_quotation_shows_the_words_that_it_is_about(tmp_path: Path) -> None:
    """However far behind the beginning of its sentence they stand."""
    usual = [f"in Rome/LOC on day {n}" for n in range(10)]
    filler = " ".join(["word"] * 80)
    report = check(tmp_path / "a.conll", *usual, f"{filler} Rome again", f"{filler} {MIXED}")
    text = as_text(report)
    assert "word [Rome O -> LOC] again" in text
    line = text.partition(f"{MIXED!r}")[2].splitlines()[1]
    assert line.strip().startswith("... ")
    assert MIXED in line


@pytest.mark.parametrize(("n_bare", "is_found"), [(9, False), (30, True)])
def test_a_stretch_without_entities_is_found_where_most_sentences_have_one(
    tmp_path: Path, n_bare: int, is_found: bool
) -> None:
    marked = [f"Ada{n}/PER left at {n}" for n in range(40)]
    bare = [f"they left at {n}" for n in range(n_bare)]
    report = check(tmp_path / "a.conll", *marked[:20], *bare, *marked[20:], "they came back")
    found = messages(report, FindingKind.BARE_STRETCH)
    assert bool(found) == is_found
    if found:
        last = 1 + 5 * (20 + n_bare - 1)
        assert found[0].startswith(f"101: 30 sentences without an entity, to line {last}; of the")


def test_entities_at_random_make_no_stretch(tmp_path: Path) -> None:
    sentences = [f"Ada{n}/PER left" if n % 3 == 0 else f"they left {n}" for n in range(200)]
    assert messages(check(tmp_path / "a.conll", *sentences), FindingKind.BARE_STRETCH) == []


def test_two_sentences_in_one_are_found_where_others_hold_one(tmp_path: Path) -> None:
    single = [f"Ada{n}/PER went home early ." for n in range(30)]
    report = check(tmp_path / "a.conll", *single, "Bo/PER went home . They came late again .")
    assert messages(report, FindingKind.GLUED) == ["181: a sentence seems to begin at 'They'"]
    divided_otherwise = [f"Ada{n}/PER went home . They came late ." for n in range(30)]
    report = check(tmp_path / "b.conll", *divided_otherwise)
    assert messages(report, FindingKind.GLUED) == []


def test_a_copy_in_capitals_is_a_leak_too(tmp_path: Path) -> None:
    train = ["Ada/PER left for Rome today", "Bo/PER came to see us here"]
    dev = ["ADA/PER LEFT FOR ROME TODAY", "Bo/PER came to see us here", "Cy/PER left for good now"]
    report = made(tmp_path, train, dev, "PER")
    place = tmp_path / "train"
    assert sorted(messages(report, FindingKind.LEAK)) == [
        f"1: also in train, at {place}:1, in another case",
        f"7: also in train, at {place}:7",
    ]


def test_repeats_are_told_apart_from_contradictions(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    report = check(path, *["Ada/PER left for Rome/LOC then"] * 2, "Ada/PER left for Rome/PER then")
    assert messages(report, FindingKind.DUPLICATE) == [f"7: as at {path}:1"]
    assert messages(report, FindingKind.CONTRADICTION) == [
        f"13: PER 'Rome' here, LOC 'Rome' at {path}:1"
    ]


def test_illegal_tag_sequences_are_found_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text(
        "Ada B-PER\nByron I-PER\nsaw O\nRome I-LOC\nmet O\nBo S-PER\n", encoding="utf-8"
    )
    report = check_file(path, FormatConfig(outside=("S-PER",)))
    assert messages(report, FindingKind.REPAIRED) == ["4: tag I-LOC is read as B-LOC"]


def test_a_scheme_in_which_every_tag_is_legal_is_suggested(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada I-PER\nsaw O\nRome I-LOC\nB-LOC B-LOC\n", encoding="utf-8")
    report = check_file(path, FormatConfig(scheme=Scheme.BIO))
    first, *_ = messages(report, FindingKind.REPAIRED)
    assert first == "None: 2 tags are illegal in the scheme bio, and none in iob1"


def test_odd_spans_sentences_and_characters_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    long_sentence = "word O\n" * 201
    path.write_text(
        f"Ada B-PER\n, I-PER\nna\u00adme O\ncafÃ© O\n\n{long_sentence}", encoding="utf-8"
    )
    report = check_file(path, FormatConfig())
    assert messages(report, FindingKind.EDGE) == ["1: PER 'Ada ,'"]
    assert messages(report, FindingKind.LENGTH) == [
        "6: 201 words; is the end of a sentence missing?"
    ]
    assert messages(report, FindingKind.MOJIBAKE) == [
        "1: 'Ã©', which looks like UTF-8 read as Latin-1: once, first here"
    ]
    assert messages(report, FindingKind.INVISIBLE) == ["1: U+00AD SOFT HYPHEN: once, first here"]


def test_misaligned_spans_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "Adams left", "entities": [[0, 3, "PER"]]}', encoding="utf-8")
    report = check_file(path, FormatConfig(format="jsonl"))
    assert messages(report, FindingKind.MISALIGNED) == [
        "1: PER 'Ada' does not fall on word borders"
    ]
    assert report.parts[0].misaligned == 1


def test_what_cannot_be_read_is_the_first_finding_and_the_rest_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada B-PER\n\nBo X-PER\nis O\n\nCy B-PER\n\nDi\n\nEl B-LOC\n", encoding="utf-8")
    report = check_file(path, FormatConfig())
    assert report.has_errors
    first, second = map(str, report.findings[:2])
    assert first.startswith(f"{path}:3: bad tag 'X-PER' for the scheme bio; want O or B-LABEL")
    assert second == f"{path}:8: 1 column, but the first row of the file has 2"
    assert report.parts[0].sentences == 3
    assert report.parts[0].labels == {"PER": 2, "LOC": 1}


def test_a_bad_line_of_json_is_left_out_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = '{"text": "Adams left", "entities": [[0, 3, "PER"]]}'
    path.write_text(f'{good}\n{{"text": 3}}\n{good}\nnone\n', encoding="utf-8")
    report = check_file(path, FormatConfig(format="jsonl"))
    assert [
        finding.line for finding in report.findings if finding.kind is FindingKind.UNREADABLE
    ] == [
        2,
        4,
    ]
    assert [
        finding.line for finding in report.findings if finding.kind is FindingKind.MISALIGNED
    ] == [
        1,
        3,
    ]


def test_a_file_of_another_format_gives_a_bounded_number_of_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("no json\n" * 500, encoding="utf-8")
    report = check_file(path, FormatConfig(format="jsonl"))
    assert len(messages(report, FindingKind.UNREADABLE)) == 50


def test_white_space_at_the_edge_of_a_span_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "Ada  left", "entities": [[0, 4, "PER"], [3, 5, "LOC"]]}', encoding="utf-8"
    )
    report = check_file(path, FormatConfig(format="jsonl"))
    assert messages(report, FindingKind.WHITE_SPACE) == ["1: LOC '  '", "1: PER 'Ada '"]


def test_an_entity_over_the_end_of_a_sentence_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "I saw Ada. Bo left.", "entities": [[6, 13, "PER"]]}\n'
        '{"text": "U.S. Steel left. So did we.", "entities": [[0, 10, "ORG"]]}\n'
        '{"text": " ", "entities": []}\n',
        encoding="utf-8",
    )
    report = check_file(path, FormatConfig(format="jsonl"))
    assert messages(report, FindingKind.CROSSING) == ["1: PER 'Ada. Bo'"]
    assert messages(report, FindingKind.EMPTY) == ["3: ' '"]


def test_words_with_two_labels_are_shown_with_an_example_of_both(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    report = check(
        path, *[f"in Rome/LOC on day {n}" for n in range(3)], "with Rome/PER", "with Rome/PER too"
    )
    [finding] = [finding for finding in report.findings if finding.kind is FindingKind.TWO_WAYS]
    assert finding.message == "'Rome' is LOC 3 times, PER 2 times"
    assert [example.given.label for example in finding.examples] == ["LOC", "PER"]
    text = as_text(report)
    assert f"{path}:1: in [Rome LOC] on day 0" in text
    assert f"{path}:19: with [Rome PER]" in text


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (MIXED, FindingKind.MIXED_SCRIPT, f"{MIXED!r}, which has Cyrillic and Latin"),
        ("Pa\u202ers", FindingKind.INVISIBLE, "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("Pa\u200bris", FindingKind.INVISIBLE, "U+200B ZERO WIDTH SPACE"),
        ("cafe\u0301", FindingKind.NOT_NORMALISED, "'cafe\u0301', which NFC writes otherwise"),
        ("caf\ufffd", FindingKind.CHARACTER, "U+FFFD REPLACEMENT CHARACTER"),
        (
            "Ð\u009cÐ¾ÑÐºÐ²Ð°",
            FindingKind.MOJIBAKE,
            "'Ð\\x9c', which looks like UTF-8 read as Latin-1",
        ),
        ("theyâ€™re", FindingKind.MOJIBAKE, "'â€™', which looks like UTF-8 read as Latin-1"),
    ],
    ids=["mixed", "bidi", "zero-width", "nfc", "replacement", "cyrillic", "quote"],
)
def test_an_oddity_of_the_characters_is_found_and_named(
    tmp_path: Path, text: str, kind: FindingKind, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"text": f"In {text}", "entities": []}, ensure_ascii=False), encoding="utf-8"
    )
    report = check_file(path, FormatConfig(format="jsonl"))
    assert f"1: {message}: once, first here" in messages(report, kind)


@pytest.mark.parametrize(
    "text",
    ["Âge d'Or, NAÏVE", "Москва", "東京タワーへ", "👩‍💻", "α-Helix"],  # noqa: RUF001
    ids=["french", "russian", "japanese", "joined", "greek"],
)
def test_honest_text_of_any_script_has_no_odd_characters(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"text": text, "entities": []}, ensure_ascii=False), encoding="utf-8"
    )
    kinds = {finding.kind for finding in check_file(path, FormatConfig(format="jsonl")).findings}
    assert not kinds & {
        FindingKind.MIXED_SCRIPT,
        FindingKind.INVISIBLE,
        FindingKind.NOT_NORMALISED,
        FindingKind.MOJIBAKE,
        FindingKind.CHARACTER,
    }


def test_a_byte_order_mark_is_found_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes(b"\xef\xbb\xbfAda B-PER\n")
    report = check_file(path, FormatConfig())
    assert messages(report, FindingKind.INVISIBLE) == ["1: the file begins with a byte-order mark"]


def test_a_file_with_nothing_but_o_is_an_error(tmp_path: Path) -> None:
    report = check(tmp_path / "a.conll", "They left", "We came")
    assert messages(report, FindingKind.ONLY_OUTSIDE) == ["None: 2 sentences, every word O"]
    assert report.has_errors


@pytest.fixture
def recipe_report(tmp_path: Path) -> CheckReport:
    (tmp_path / "train").write_text(
        columns("Ada/PER left for Rome today", "Bo left"), encoding="utf-8"
    )
    (tmp_path / "dev").write_text(
        columns("Cy/PER left", "Ada/PER left for Rome today"), encoding="utf-8"
    )
    good = CorpusConfig(name="good", licence="CC0", train=("train",), dev=("dev",))
    lost = CorpusConfig(name="lost", licence="CC0", train=("nowhere",))
    return check_recipe(
        Recipe(name="x", labels=("PER", "LOC"), corpus=(good, lost)), tmp_path, path="x.toml"
    )


def test_a_recipe_is_checked_corpus_by_corpus_and_train_against_dev(
    recipe_report: CheckReport,
) -> None:
    assert [(part.corpus, part.part, part.sentences) for part in recipe_report.parts] == [
        ("good", "train", 2),
        ("good", "dev", 2),
    ]
    assert len(messages(recipe_report, FindingKind.UNREADABLE)) == 1
    assert len(messages(recipe_report, FindingKind.LEAK)) == 1
    assert messages(recipe_report, FindingKind.NO_TRAIN_EXAMPLES) == [
        "None: LOC has 0 spans in the training data of x"
    ]
    assert messages(recipe_report, FindingKind.NO_EXAMPLES) == [
        "None: PER has 1 span in the training data of x"
    ]
    assert messages(recipe_report, FindingKind.SEEN) == ["None: 50.0% of 2"]


@pytest.mark.parametrize(
    ("table", "missing"),
    [
        ({"start": {"weights": "none.encoder"}}, "none.encoder"),
        ({"update": {"model": "none.teddy"}}, "none.teddy"),
        ({"lexicon": [{"name": "a", "licence": "CC0", "files": ["none.tsv"]}]}, "none.tsv"),
        ({"embedding": {"vectors": "none.vec", "name": "v", "licence": "CC0"}}, "none.vec"),
        (
            {"distill": {"teachers": ["en"], "text": ["none.txt"], "name": "t", "licence": "CC0"}},
            "none.txt",
        ),
    ],
)
def test_files_that_a_recipe_names_beside_corpora_are_looked_for(
    tmp_path: Path, table: dict[str, object], missing: str
) -> None:
    (tmp_path / "train").write_text(columns("Ada is home."), encoding="utf-8")
    values = {
        "name": "x",
        "labels": ["PER"],
        "features": {"word_rows": 10},
        "corpus": [{"name": "c", "licence": "CC0", "train": ["train"], "dev": ["train"]}],
        **table,
    }
    report = check_recipe(Recipe.model_validate_json(json.dumps(values)), tmp_path)
    (found,) = (each for each in report.findings if each.kind is FindingKind.UNREADABLE)
    assert str(found).startswith(f"{tmp_path / missing}: ")


def made(tmp_path: Path, train: list[str], dev: list[str], *labels: str) -> CheckReport:
    (tmp_path / "train").write_text(columns(*train), encoding="utf-8")
    (tmp_path / "dev").write_text(columns(*dev), encoding="utf-8")
    corpus = CorpusConfig(name="a", licence="CC0", train=("train",), dev=("dev",))
    return check_recipe(Recipe(name="x", labels=labels, corpus=(corpus,)), tmp_path, path="x.toml")


def test_labels_of_one_part_only_and_shifted_ones_are_found(tmp_path: Path) -> None:
    train = [f"A{n}/PER in B{n}/LOC or C{n}/ART" for n in range(100)] + [
        f"A{n}/PER left" for n in range(200)
    ]
    dev = [f"B{n}/LOC or D{n}/ORG" for n in range(100)] + ["A1/PER left"]
    report = made(tmp_path, train, dev, "PER", "LOC", "ART", "ORG")
    assert messages(report, FindingKind.ONLY_IN_DEV) == ["None: ORG: 100 spans, none in train"]
    assert messages(report, FindingKind.ONLY_IN_TRAIN) == ["None: ART: 100 spans, none in dev"]
    assert messages(report, FindingKind.SHIFT) == [
        "None: PER is 60.0% of the entities of train, and 0.5% of those of dev",
        "None: LOC is 20.0% of the entities of train, and 49.8% of those of dev",
    ]


def test_a_difference_that_chance_makes_is_no_shift(tmp_path: Path) -> None:
    report = made(tmp_path, ["A/PER B/LOC"] * 10, ["A/PER B/LOC", "A/PER C/PER"], "PER", "LOC")
    assert messages(report, FindingKind.SHIFT) == []


def test_a_label_that_the_recipe_does_not_know_is_told_once_and_the_rest_is_checked(
    tmp_path: Path,
) -> None:
    report = made(tmp_path, ["Ada/PER in Rome/AREA", "Bo/PER in Ulm/AREA"], ["Cy/PER left"], "PER")
    [message] = messages(report, FindingKind.UNKNOWN_LABEL)
    reason = "label 'AREA' is neither in labels nor in the map of corpus 'a'"
    assert message == f"3: {reason}: 2 of them, the first here"
    assert report.parts[0].labels == {"PER": 2}
    assert report.parts[0].unknown_words == 2


def test_every_kind_says_how_grave_it_is_and_what_to_do_about_it_in_a_sentence() -> None:
    for kind in FindingKind:
        assert kind.severity in Severity
        assert kind.advice[0].isupper()
        assert kind.advice.endswith((".", "?"))


def test_the_report_has_a_text_and_a_json_form_in_the_same_order(
    recipe_report: CheckReport,
) -> None:
    values: dict[str, Any] = json.loads(json.dumps(recipe_report.as_dict()))
    assert [finding["kind"] for finding in values["findings"]] == [
        finding.kind.key for finding in recipe_report.findings
    ]
    assert (
        sum(values["counts"].values())
        == len(values["findings"])
        == sum(values["severities"].values())
    )
    assert values["counts"].keys() == values["kinds"].keys()
    text = as_text(recipe_report, limit=0)
    assert "good    train          2" in text
    assert "... and 1 more" in text
    assert "x.toml: LOC has 0 spans" in as_text(recipe_report)
    places = [text.index(kind.title[1:]) for kind in recipe_report.by_kind()]
    assert places == sorted(places)


def test_good_data_has_no_findings(tmp_path: Path) -> None:
    report = check(
        tmp_path / "a.conll", "They left", *[f"Ada{n}/PER met {n} friends" for n in range(30)]
    )
    assert report.findings == ()
    assert not report.has_errors
    assert as_text(report).endswith("Nothing suspicious.\n")
