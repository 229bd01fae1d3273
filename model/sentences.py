"""Sentences of a text."""


def split_sentences(text: str, words: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Provisional."""
    sentences = []
    start = 0
    for index, (begin, end) in enumerate(words):
        if text[begin:end] in ".!?。！？" or index == len(words) - 1:
            sentences.append((start, index + 1))
            start = index + 1
    return sentences
