"""What rules cost: a million names, hostile patterns and texts, and a thousand reloads.

    python -m benchmarks.rules_speed [--names 1000000] [--reloads 1000]

Times are of the processor, on one core, so that other work on the machine counts less.
"""

import argparse
import random
import resource
import tempfile
from pathlib import Path
from time import process_time

import torch

import teddy
from benchmarks.texts import made_up_paragraphs, short_texts, take_words
from teddy.model.rules.loading import load_rules
from teddy.model.rules.patterns import Expression, Expressions

SYLLABLES = "an ber ko li mar so ten ru vi el ha do po ni ster gar lund wick ton ham"
HOSTILE = [r"(a|a)*b|a", r"(x+x+)+y", r"a.*b|a", r"(?:a?){30}a{30}", r"\b[\w.]+@[\w.]+\b"]


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def write_names(path: Path, n_names: int, *, known: bool) -> None:
    """Write made-up names; with `known`, also each word with a capital of the texts."""
    draw = random.Random(1)  # noqa: S311

    syllables = SYLLABLES.split()

    def word() -> str:
        return "".join(draw.choices(syllables, k=draw.randint(1, 4))).capitalize()

    words = [word() for _ in range(120_000)]
    names: set[str] = set()
    while len(names) < n_names:
        names.add(" ".join(draw.choices(words, k=draw.choice([1, 2, 2, 2, 3, 3, 4]))))
    texts = take_words(made_up_paragraphs(), 10_000) if known else []
    words_of_texts = (word for paragraph in texts for word in paragraph.split())
    names.update(word for word in words_of_texts if word[0].isupper() and word.isalpha())
    path.write_text("".join(f"{name}\t{k}\n" for k, name in enumerate(names)))


def measure_names(folder: Path, n_names: int, texts: list[str], *, known: bool) -> None:
    """Print load, memory and the cost on texts; with `known` they are full of names."""
    write_names(folder / "names.tsv", n_names, known=known)
    toml = '[[dictionary]]\nfile = "names.tsv"\nlabel = "NAME"\nid_column = 2\n'
    (folder / "rules.toml").write_text(toml)
    plain = teddy.load()
    n_words = sum(tagged.n_words for tagged in plain.tag_documents(texts))
    before, started = resident_mb(), process_time()
    rules = load_rules(folder / "rules.toml", plain.tokeniser)
    print(f"{n_names:,} names: load {process_time() - started:.1f} s of CPU,", end=" ")
    print(f"memory {resident_mb() - before:.0f} MB")
    ruled = plain.with_rules(rules)
    seconds = {"without": 1e9, "with": 1e9}
    for _ in range(5):
        for name, each in (("without", plain), ("with", ruled)):
            started = process_time()
            found = each.tag(texts)
            seconds[name] = min(seconds[name], process_time() - started)
    n_found = sum(entity.id is not None for entities in found for entity in entities)
    cost = 1 - seconds["without"] / seconds["with"]
    print(f"{n_words:,} words, {n_found:,} names in them: {cost:.1%} of words/s")
    documents = [plain.prepare(text) for text in texts]
    started = process_time()
    for text, document in zip(texts, documents, strict=True):
        rules.find(text, document.offsets, document.windows.words)
    print(f"to find them takes {(process_time() - started) / n_words * 1e6:.2f} us a word")


def measure_hostile() -> None:
    """Print the slowest of hostile expressions on hostile texts of 10 MB."""
    texts = {"a": "a" * 10**7, "x": "x" * 10**7, "a@": "a@" * (10**7 // 2)}
    for source in HOSTILE:
        expressions = Expressions([Expression.of(0, source)])
        for name, text in texts.items():
            started = process_time()
            n_found = sum(1 for _ in expressions.find(text))
            print(f"{source!r} on 10 MB of {name!r}:", end=" ")
            print(f"{process_time() - started:.2f} s of CPU, {n_found:,} matches")


def measure_reloads(folder: Path, n_reloads: int) -> None:
    """Print what replacing rules again and again, with a text in between, does to the memory."""
    predictor = teddy.load()
    path = folder / "small.toml"
    sizes: list[float] = []
    for k in range(n_reloads):
        path.write_text(f"[[dictionary]]\nentries = ['Anna', 'Name {k}']\nlabel = 'PER'\n")
        ruled = predictor.with_rules(load_rules(path, predictor.tokeniser))
        assert ruled.tag(["Anna went."])[0][0].source == "dictionary-1"
        sizes.append(resident_mb())
    middle = sizes[len(sizes) // 2]
    print(f"{n_reloads:,} reloads: memory {sizes[-1] - middle:+.1f} MB in the second half")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--reloads", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # of several, those that wait would count as work
    with tempfile.TemporaryDirectory() as folder:
        texts = take_words(short_texts(made_up_paragraphs()), arguments.words)
        for known in (False, True):
            measure_names(Path(folder), arguments.names, texts, known=known)
        measure_hostile()
        measure_reloads(Path(folder), arguments.reloads)


if __name__ == "__main__":
    main()
