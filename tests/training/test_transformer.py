"""Teachers on a transformer, a tiny one of random weights: what it reads, and that it teaches."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import ModelFileError, RecipeError
from teddy.model.features.batching import make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.tags.tag_set import TagSet
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.teacher import load_teacher
from teddy.training.learning.transformer import (
    MOST_PIECES,
    TransformerFeatures,
    TransformerNetwork,
    with_transformer,
)
from teddy.training.recipe.recipe import load_recipe
from teddy.training.run import train

# Not imported here: that takes seconds, in each process that collects tests.
pytestmark = pytest.mark.skipif(
    find_spec("transformers") is None, reason="needs the extra transformers"
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz.,?'"
SENTENCES = (
    ("Anna", "Berg", "went", "to", "Oslo", "."),
    ("Nobody",),
    ("In", "New", "Haven", ",", "Otto", "slept"),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers whose pieces are letters."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("bert")
    vocabulary = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    numbers = {piece: number for number, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(numbers, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = ("pad", "unk", "cls", "sep", "mask")
    special: dict[str, Any] = {f"{name}_token": f"[{name.upper()}]" for name in names}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
    )
    BertModel(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def trained_pieces(tiny_run: Path) -> Pieces:
    return Pieces(load_checkpoint(tiny_run / "best.checkpoint").pieces)


@pytest.fixture(scope="module")
def tagger(
    directory: Path, trained_pieces: Pieces
) -> tuple[TransformerNetwork, TransformerFeatures]:
    torch.manual_seed(1)
    network, features = with_transformer(
        str(directory),
        0,
        NetworkConfig(embedding_width=8, hidden_width=8, layers=1, normalise=True),
        FeatureConfig(shape_rows=16, affix_rows=32),
        trained_pieces,
        (),
        TagSet(("PER", "LOC")),
    )
    network.eval()
    return network, features


def test_a_word_is_read_as_the_transformer_reads_it_in_its_sentence(
    tagger: tuple[TransformerNetwork, TransformerFeatures], directory: Path
) -> None:
    network, features = tagger
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    batch = make_batch(SENTENCES, features)
    vectors = network.word_vectors(batch.rows, batch.starts)
    digits = (
        vectors[batch.words][:, :, network.width :].long().view(*batch.words.shape, MOST_PIECES, 2)
    )
    found = network._states(digits[..., 0] * 256 + digits[..., 1], batch.lengths)
    for row, words in enumerate(SENTENCES):
        encoded = tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
        states = network.transformer(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
        ).last_hidden_state[0]
        places = encoded.word_ids()
        first = [places.index(word) for word in range(len(words))]
        torch.testing.assert_close(found[row, : len(words)], states[first], atol=1e-5, rtol=1e-4)


def test_a_sentence_gives_in_a_batch_what_it_gives_alone(
    tagger: tuple[TransformerNetwork, TransformerFeatures],
) -> None:
    network, features = tagger
    # The last is longer than the transformer's places: its end is read by the features alone.
    sentences = (*SENTENCES, ("unpronounceable",) * 20)

    def emissions(some: Any) -> torch.Tensor:
        batch = make_batch(some, features)
        return network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)

    together = emissions(sentences)
    for row, words in enumerate(sentences):
        alone = emissions((words,))[0]
        torch.testing.assert_close(together[row, : len(words)], alone, atol=1e-5, rtol=1e-4)


def test_numbers_of_pieces_survive_every_number_format(
    tagger: tuple[TransformerNetwork, TransformerFeatures],
) -> None:
    network, _ = tagger
    digits = network.embedding.detach()[:, network.width :]
    for form in (torch.float16, torch.bfloat16):
        torch.testing.assert_close(digits.to(form).float(), digits, atol=0, rtol=0)


def test_a_teacher_is_its_checkpoint_and_a_student_learns_from_it(
    directory: Path, tiny_data: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(
        tiny_data / "tiny.toml",
        [
            f'transformer.directory="{directory}"',
            'transformer.name="tiny BERT"',
            'transformer.licence="CC0"',
        ],
    )
    found = train(recipe, tiny_data, tmp_path / "teacher")
    assert found.name == "best.checkpoint"
    assert not list((tmp_path / "teacher").glob("*.teddy"))
    again = train(recipe, tiny_data, tmp_path / "teacher", resume=True)
    assert again == found
    checkpoint = load_checkpoint(found)
    assert "tiny BERT" in {each.name for each in checkpoint.inherited}
    teacher = load_teacher(str(found), tiny_data)
    assert teacher.tag_set.labels == recipe.labels
    student = load_recipe(tiny_data / "tiny.toml", [f'distill.teachers=["{found}"]'])
    model_file = train(student, tiny_data, tmp_path / "student")
    assert model_file.suffix == ".teddy"


@pytest.mark.parametrize("what", ["nothing", "no model"])
def test_a_directory_without_a_transformer_is_named(
    what: str, tmp_path: Path, trained_pieces: Pieces
) -> None:
    if what == "no model":
        (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelFileError, match=str(tmp_path)):
        with_transformer(
            str(tmp_path), 0, NetworkConfig(), FeatureConfig(), trained_pieces, (), TagSet(("PER",))
        )


def test_a_transformer_cannot_stand_on_the_weights_of_another_shape(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'name = "r"\nlabels = ["PER"]\n[[corpus]]\nname = "c"\nlicence = "ours"\n'
        'train = ["a"]\ndev = ["b"]\n[start]\nweights = "en"\n'
        '[transformer]\ndirectory = "d"\nname = "n"\nlicence = "l"\n'
    )
    with pytest.raises(RecipeError, match=r"transformer: cannot stand beside start\.weights"):
        load_recipe(recipe)
