"""Token classifiers of Hugging Face as teachers: what their classes mean, and what they read."""

import json
import shutil
import sys
from collections.abc import Callable
from itertools import chain, pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.errors import MissingExtraError, ModelFileError
from teddy.model.tags.spans import Scheme, read_tags
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.raw_text import Words
from teddy.training.learning import hugging_face
from teddy.training.learning.classes import check_labels, expectations_of_classes, read_classes
from teddy.training.learning.distill import open_teacher
from teddy.training.learning.hugging_face import (
    Windows,
    labels_in,
    load_hugging_face,
    nearest_windows,
)
from teddy.training.recipe.sections import DistillConfig

TAGS = TagSet(("PER", "LOC"))
CPU = torch.device("cpu")
PREFIXES = {
    Scheme.PLAIN: ("",),
    Scheme.IO: ("I-",),
    Scheme.IOB1: ("I-", "B-"),
    Scheme.BIO: ("B-", "I-"),
    Scheme.BIOES: ("B-", "I-", "E-", "S-"),
    Scheme.BILUO: ("B-", "I-", "L-", "U-"),
    Scheme.BMES: ("B-", "M-", "E-", "S-"),
}


# What classes mean.


@pytest.mark.parametrize("scheme", PREFIXES)
@pytest.mark.parametrize("lengths", [[3, 1, 2], [1]])
def test_a_distribution_over_classes_is_that_of_the_spans_which_they_spell(
    scheme: Scheme, lengths: list[int]
) -> None:
    """Against all sequences of classes, each read as tags are read, well-formed or not."""
    labels = TAGS.labels if len(PREFIXES[scheme]) < 4 else TAGS.labels[:1]
    names = ["O", *(prefix + label for label in labels for prefix in PREFIXES[scheme])]
    torch.manual_seed(len(names))
    classes = torch.randn(len(lengths), max(lengths), len(names)).double().softmax(dim=2)
    found = expectations_of_classes(classes, torch.tensor(lengths), read_classes(names, {}), TAGS)
    for row, n_words in enumerate(lengths):
        unary, pairs = torch.zeros(n_words, 9).double(), torch.zeros(9, 9).double()
        for sequence in product(range(len(names)), repeat=n_words):
            share = torch.stack([classes[row, at, each] for at, each in enumerate(sequence)]).prod()
            spans = read_tags([names[each] for each in sequence], scheme)
            tags = TAGS.encode(spans, n_words)
            for at, tag in enumerate(tags):
                unary[at, tag] += share
            for first, second in pairwise(tags):
                pairs[first, second] += share
        torch.testing.assert_close(found.unary[row, :n_words], unary)
        torch.testing.assert_close(found.pairs[row], pairs)
        assert not found.unary[row, n_words:].any()


def test_labels_are_mapped_without_their_prefixes() -> None:
    names = ["OTHER", "B-PERSON", "I-PERSON", "B-GPE", "I-LOC", "B-DATE"]
    reading = read_classes(names, {"PERSON": "PER", "GPE": "LOC", "DATE": "O", "OTHER": "O"})
    assert reading.labels == (None, "PER", "PER", "LOC", "LOC", None)
    assert "".join(reading.positions) == " BIBIB"
    assert reading.goes_on(3, 4), "a part that is mapped to the same label"
    assert not reading.goes_on(1, 4)
    plain = read_classes(["O", "PER", "B-PER"], {})
    assert plain.labels == (None, "PER", "B-PER"), "not all have prefixes: none has one"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["O", "B-PER", "B-ORG", "LABEL_3"], "labels B-PER, B-ORG, LABEL_3 are not in the recipe"),
        (["O", "B-PER", "B-ORG"], "labels ORG are not in the recipe: map each"),
        (["O"], "none of the labels"),
    ],
)
def test_labels_that_a_recipe_does_not_have_are_named(names: list[str], expected: str) -> None:
    with pytest.raises(ModelFileError, match=expected):
        check_labels(read_classes(names, {}), TAGS.labels, Path("config.json"))


# Windows.


@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=40), most=st.integers(1, 12))
def test_windows_cover_all_words_and_each_word_has_the_most_context(
    sizes: list[int], most: int
) -> None:
    windows = Windows(None, most).cut(sizes)
    assert windows[0][0] == 0
    assert windows[-1][1] == len(sizes)
    for (start, end), (following, later) in pairwise(windows):
        assert start < following <= end < later
    for start, end in windows:
        assert sum(sizes[start:end]) <= most or end == start + 1
    if sum(sizes) <= most:
        assert windows == [(0, len(sizes))]

    def margin(window: tuple[int, int], word: int) -> float:
        start, end = window
        borders = [word - start] * (start > 0) + [end - 1 - word] * (end < len(sizes))
        return min(borders, default=1000)

    for word, number in enumerate(nearest_windows(windows, len(sizes))):
        having = [each for each in windows if each[0] <= word < each[1]]
        assert windows[number] in having
        assert margin(windows[number], word) == max(margin(each, word) for each in having)


# A tiny model.

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Anna", "Berg", "sl", "##eep", "##s", "in", "Os"]
PIECES += ["##lo", ".", *"abcdefgh"]
CLASSES = ["O", "B-PERSON", "I-PERSON", "B-LOC", "I-LOC"]
SENTENCES: list[Words] = [
    ("Anna", "Berg", "sleeps", "in", "Oslo", "."),
    ("Oslo",),
    ("\u200b", "Anna", "\u00ad"),
    tuple("abcdefgh" * 3),
]
MAP = {"PERSON": "PER"}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT of two layers and random weights, which reads 14 pieces."""
    transformers = pytest.importorskip(
        "transformers", reason="needs the extra: pip install 'teddy[transformers]'"
    )
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    tokeniser = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=False)
    tokeniser.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=18,
        initializer_range=0.5,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: number for number, name in enumerate(CLASSES)},
    )
    transformers.BertForTokenClassification(config).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n")
    return folder


def naive(folder: Path, words: Words, *, mean: bool, temperature: float = 1.0) -> torch.Tensor:
    """What the model says of a sentence alone that it reads whole; [words, C]."""
    import transformers

    network = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokeniser = transformers.AutoTokenizer.from_pretrained(folder)
    of_words = [tokeniser.convert_tokens_to_ids(tokeniser.tokenize(word)) for word in words]
    ids = [PIECES.index("[CLS]"), *chain.from_iterable(of_words), PIECES.index("[SEP]")]
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([ids])).logits[0, 1:-1]
    shares = (logits.double() / temperature).softmax(dim=1)
    rows, start = [], 0
    for each in of_words:
        own = shares[start : start + len(each)]
        if len(each):
            rows.append(own.mean(dim=0) if mean else own[0])
        else:
            rows.append(torch.tensor([1.0, 0, 0, 0, 0]).double())
        start += len(each)
    return torch.stack(rows)


@pytest.mark.parametrize(("pooling", "temperature"), [("first", 1.0), ("mean", 2.0)])
def test_a_teacher_says_of_each_word_what_its_model_says(
    bert: Path, pooling: Any, temperature: float
) -> None:
    teacher = load_hugging_face(bert, TAGS.labels, MAP, pooling)
    short = SENTENCES[:3]
    found = teacher.classes(short, temperature, device=CPU)
    for row, words in enumerate(short):
        expected = naive(bert, words, mean=pooling == "mean", temperature=temperature)
        torch.testing.assert_close(found[row, : len(words)], expected, rtol=1e-4, atol=1e-5)
    lengths = torch.tensor([len(words) for words in short])
    said = teacher.expectations(short, temperature, device=CPU, mixed_precision="fp32")
    expected_all = expectations_of_classes(found, lengths, read_classes(CLASSES, MAP), TAGS)
    torch.testing.assert_close(said.unary, expected_all.unary)
    torch.testing.assert_close(said.pairs, expected_all.pairs)


def test_a_long_sentence_is_read_in_windows(bert: Path) -> None:
    teacher = load_hugging_face(bert, TAGS.labels, MAP, "first")
    words = SENTENCES[3]
    (found,) = teacher.classes([words], device=CPU)
    windows = Windows(None, 14).cut([1] * len(words))
    assert len(windows) > 1
    for word, number in enumerate(nearest_windows(windows, len(words))):
        start, end = windows[number]
        expected = naive(bert, words[start:end], mean=False)[word - start]
        torch.testing.assert_close(found[word], expected, rtol=1e-4, atol=1e-5)


def test_a_tokeniser_in_python_reads_word_by_word(bert: Path) -> None:
    import transformers

    teacher = load_hugging_face(bert, TAGS.labels, MAP, "first")
    slow = Windows(transformers.ByT5Tokenizer(), 100)
    assert not slow.tokeniser.is_fast
    assert slow.pieces_of([("ab", "a")]) == [[[100, 101], [100]]]
    assert slow.edges() == ([], [1])
    assert teacher._windows.edges() == ([2], [3])


def test_a_teacher_has_a_digest_of_its_files_and_of_how_they_are_read(
    bert: Path,
) -> None:
    one = load_hugging_face(bert, TAGS.labels, MAP, "first")
    assert load_hugging_face(bert, TAGS.labels, MAP, "first").digest == one.digest
    assert load_hugging_face(bert, TAGS.labels, MAP, "mean").digest != one.digest
    assert load_hugging_face(bert, TAGS.labels, MAP | {"LOC": "O"}, "first").digest != one.digest
    (credit,) = one.training_data
    assert (credit.name, credit.licence) == (bert.name, "apache-2.0")
    assert labels_in(bert, MAP) == ["PER", "LOC"]
    config = DistillConfig(teachers=(f"hf:{bert.name}",), map=MAP)
    opened = open_teacher(f"hf:{bert.name}", config, bert.parent, ("LOC", "ORG", "PER"))
    assert opened.tag_set.labels == ("LOC", "PER"), "in the order of the recipe, of which it knows"
    assert opened.digest == one.digest


def changed(folder: Path, target: Path, change: Callable[[Path], object]) -> Path:
    shutil.copytree(folder, target)
    change(target)
    return target


def of_another_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nobody"}))


def without_its_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def without_its_head(folder: Path) -> None:
    import transformers

    model = transformers.BertForTokenClassification.from_pretrained(folder)
    model.bert.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    labels = {"id2label": dict(enumerate(CLASSES))}
    (folder / "config.json").write_text(json.dumps(config | labels))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot load it"),
        (of_another_kind, "cannot load it"),
        (without_its_tokenizer, "no vocabulary: the files of the tokenizer are missing"),
        (without_its_head, "no trained token classifier: its files have no classifier"),
    ],
)
def test_a_folder_that_is_no_classifier_is_refused_in_a_line(
    bert: Path, tmp_path: Path, change: Callable[[Path], object], expected: str
) -> None:
    folder = changed(bert, tmp_path / "changed", change)
    with pytest.raises(ModelFileError, match=expected) as error:
        load_hugging_face(folder, TAGS.labels, MAP, "first")
    assert "\n" not in str(error.value)


def test_without_transformers_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'teddy\[transformers\]'"):
        hugging_face.load_hugging_face(tmp_path, (), {}, "first")
