"""A tagger on top of a pre-trained transformer: a teacher, which is never exported or served.

The state of each word's first piece stands beside the word's own features, which tell its case and
its shape even where the transformer's pieces do not; a recurrent layer and a CRF read both. So a
transformer trains on the same corpora, with the same loss, noise and checkpoints as any tagger, and
a student learns from its checkpoint (`distill.teachers`).

A word's rows are those of `WordFeatures`, and then one for each of its pieces. The table holds in
the rows of pieces, behind the columns that are learnt, the piece's number plus one, in two digits
to the base of 256: these are exact in every number format, and no gradient moves them.

Letters: B sentences of at most T words, U distinct words, M pieces of a word at most, E the width
of a word's own features.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import MissingExtraError, ModelFileError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet

MOST_PIECES = 8
"""Of a word; the others are not read."""
_BASE = 256
_FEWEST_PIECES = 4
"""A vocabulary has so many, the special ones not counted."""


class TransformerFeatures(WordFeatures):
    """The features of a word, and then its pieces for the transformer."""

    def __init__(
        self,
        pieces: Pieces,
        config: FeatureConfig,
        words: Sequence[str],
        lexicon: bytes,
        tokenizer: Any,
    ) -> None:
        super().__init__(pieces, config, words, lexicon)
        self._tokenizer = tokenizer
        self._first_piece = self.n_rows
        self.n_rows += len(tokenizer)

    @property
    def group_starts(self) -> tuple[int, ...]:
        """The first rows of the kinds of a word's own rows and of the transformer's pieces."""
        return (*super().group_starts, self._first_piece)

    def _look_up(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        if not words:
            return []
        pieces = self._tokenizer(list(words), add_special_tokens=False)["input_ids"]
        return [
            (*own, *(self._first_piece + piece for piece in ids[:MOST_PIECES]))
            for own, ids in zip(super()._look_up(words), pieces, strict=True)
        ]


class TransformerNetwork(Network):
    """A tagger whose words are read by a transformer before the recurrent stack."""

    STARTED = ("transformer.",)

    def __init__(
        self, config: NetworkConfig, n_rows: int, tags: TagSet, transformer: Any, special: Any
    ) -> None:
        """`n_rows` are those of `TransformerFeatures`; `special` is the tokenizer of both."""
        width, states = config.embedding_width, int(transformer.config.hidden_size)
        super().__init__(replace(config, embedding_width=width + states), 1, tags)
        self.width = width
        self.normalisation = nn.LayerNorm(width) if config.normalise else nn.Identity()
        self.embedding = nn.Parameter(_table(n_rows, len(special), width))
        self.transformer = transformer
        self.most_places = int(transformer.config.max_position_embeddings)
        marks = (special.cls_token_id, special.sep_token_id, special.pad_token_id)
        self.begin, self.end, self.padding = marks
        self.unknown = special.unk_token_id

    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """Return the sums of words' own rows, and the numbers of their pieces, plus one.

        Shape: int64 [F], [U] -> float32 [U, E + 2 * M].
        """
        found = functional.embedding(rows, self.embedding)
        is_piece = found[:, self.width :].detach().sum(dim=1) > 0
        counts = torch.diff(starts, append=starts.new_tensor([len(rows)]))
        word = torch.arange(len(starts), device=rows.device).repeat_interleave(counts)
        own = found.new_zeros(len(starts), self.width)
        own = own.index_add(0, word[~is_piece], found[~is_piece, : self.width])
        pieces = found.new_zeros(len(starts), MOST_PIECES, 2)
        of_piece = word[is_piece]
        # The place of a piece among those of its word.
        first = torch.searchsorted(of_piece, of_piece)
        place = torch.arange(len(of_piece), device=rows.device) - first
        pieces[of_piece, place] = found[is_piece, self.width :].detach()
        return torch.cat((self.normalisation(own), pieces.flatten(1)), dim=1)

    def _emissions(self, vectors: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        looked_up = functional.embedding(words, vectors)
        digits = looked_up[:, :, self.width :].detach().long().view(*words.shape, MOST_PIECES, 2)
        states = self._states(digits[..., 0] * _BASE + digits[..., 1], lengths)
        shown = torch.cat((looked_up[:, :, : self.width], states), dim=2)
        shown = self.embedding_dropout(shown.transpose(0, 1).contiguous().transpose(0, 1))
        scores: Tensor = self.emission(self.encoder(shown, lengths))
        return scores.float()

    def _states(self, pieces: Tensor, lengths: Tensor) -> Tensor:
        """Return the transformer's state at the first piece of each word; padding is void.

        Words behind the last place that the transformer has get the state of its end.

        Shape: pieces int64 [B, T, M], numbers plus one, 0 for none; lengths [B] -> [B, T, W].
        """
        n_rows, width, _ = pieces.shape
        device = pieces.device
        inside = torch.arange(width, device=device) < lengths.unsqueeze(1)
        pieces = pieces.clone()
        pieces[..., 0] = pieces[..., 0].masked_fill(pieces[..., 0] == 0, self.unknown + 1)
        counts = (pieces > 0).sum(dim=2) * inside
        ends = counts.cumsum(dim=1)
        n_places = min(int(ends[:, -1].max()) + 2, self.most_places)
        first = (ends - counts + 1).clamp(max=n_places - 1)
        text = torch.full((n_rows, n_places), self.padding, device=device)
        for number in range(MOST_PIECES):
            fits = inside & (counts > number) & (first + number < n_places - 1)
            row, word = fits.nonzero(as_tuple=True)
            text[row, first[row, word] + number] = pieces[row, word, number] - 1
        last = (ends[:, -1] + 1).clamp(max=n_places - 1)
        text[:, 0] = self.begin
        text[torch.arange(n_rows, device=device), last] = self.end
        mask = torch.arange(n_places, device=device) <= last.unsqueeze(1)
        found: Tensor = self.transformer(
            input_ids=text, attention_mask=mask.long()
        ).last_hidden_state
        return found.gather(1, first.unsqueeze(2).expand(-1, -1, found.shape[2]))


def _table(n_rows: int, n_pieces: int, width: int) -> Tensor:
    """Return the rows of features, random, and those of pieces, which hold numbers."""
    table = torch.zeros(n_rows, width + 2)
    nn.init.normal_(table[: n_rows - n_pieces, :width], std=0.1)
    numbers = torch.arange(1, n_pieces + 1)
    table[n_rows - n_pieces :, width] = (numbers // _BASE).float()
    table[n_rows - n_pieces :, width + 1] = (numbers % _BASE).float()
    return table


def _freeze(transformer: nn.Module, n_layers: int) -> None:
    """Let the first layers stay as they are, and with them all that is before them."""
    layer = re.compile(r"layers?\.(\d+)\.")
    for name, parameter in transformer.named_parameters():
        found = layer.search(name)
        if n_layers and (found is None or int(found[1]) < n_layers):
            parameter.requires_grad_(False)


def load_folder(folder: Path, kind: str, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return the model of a folder, its tokenizer, and what transformers say of the loading.

    `kind` is a class of transformers, such as `AutoModel`; `options` are those of its
    `from_pretrained`. The folder has config.json, safetensors and the files of a tokenizer. Nothing
    is fetched and no code of the folder is run. Raises MissingExtraError without transformers,
    ModelFileError for a folder that is no such model.
    """
    try:
        import transformers  # an extra, and seconds to import
    except ImportError:
        raise MissingExtraError(
            "a teacher that is a transformer needs transformers: pip install 'teddy[transformers]'"
        ) from None
    if not (folder / "config.json").is_file():
        raise ModelFileError(folder, "no folder of a Hugging Face model: it has no config.json")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        if tokenizer.is_fast and "add_prefix_space" in tokenizer.init_kwargs:
            # Words are given one by one: without it, RoBERTa's would have no space before them.
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, add_prefix_space=True, **local
            )
        model, about = getattr(transformers, kind).from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **local, **options
        )
    except Exception as error:  # of many kinds: files, keys, versions, shapes
        reason = " ".join(str(error).split())[:300]
        raise ModelFileError(folder, f"transformers cannot load it: {reason}") from error
    if len(tokenizer) < len(set(tokenizer.all_special_tokens)) + _FEWEST_PIECES:
        # Without its files transformers makes one up, to which all words are unknown.
        raise ModelFileError(
            folder,
            "it has no vocabulary: the files of the tokenizer are missing, such as tokenizer.json, "
            "vocab.txt or sentencepiece.bpe.model",
        )
    return model, tokenizer, about


def with_transformer(
    directory: str,
    frozen_layers: int,
    network: NetworkConfig,
    features: FeatureConfig,
    pieces: Pieces,
    words: Sequence[str],
    tag_set: TagSet,
    lexicon: bytes = b"",
) -> tuple[TransformerNetwork, TransformerFeatures]:
    """Return the network and the features of a tagger on the transformer in a directory.

    Raises as `load_folder`.
    """
    model, tokenizer, _ = load_folder(Path(directory), "AutoModel", add_pooling_layer=False)
    _freeze(model, frozen_layers)
    found = TransformerFeatures(pieces, features, words, lexicon, tokenizer)
    return TransformerNetwork(network, found.n_rows, tag_set, model, tokenizer), found
