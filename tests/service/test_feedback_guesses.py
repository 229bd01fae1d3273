"""What a correction by request id must not tell: whether it was the id, the place or the text that
was wrong. The attack is the one that read a text back in 68 requests."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.errors import TooManyGuessesError
from teddy.service.feedback.guesses import (
    KEY_BYTES,
    MOST_GUESSES,
    N_PLACES,
    PLACE,
    PRIVATE_FILE,
    SECONDS_EACH,
    Guesses,
)
from teddy.service.feedback.state import GUESSES
from tests.service.live import Live, listening
from tests.service.test_feedback import rows
from tests.service.test_problems import check_problem

pytestmark = pytest.mark.anyio

PRIVATE_TEXT = "Zyxomma met Ada"
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


def client_at(address: str, live: Live, **headers: str) -> httpx.AsyncClient:
    """A client that connects from an address of its own."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    return httpx.AsyncClient(base_url=live.url, transport=transport, headers=headers)


async def answered(client: httpx.AsyncClient, request_id: str = "secret") -> None:
    answer = await client.post(
        "/v1/entities", json={"text": PRIVATE_TEXT}, headers={"X-Request-ID": request_id}
    )
    assert answer.status_code == 200


def guess(request_id: str, *entities: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"request_id": request_id, "entities": list(entities), **others}


def letters(*drawn: str) -> Iterator[dict[str, Any]]:
    for place, letter in enumerate(drawn):
        yield {"start": place, "end": place + 1, "label": "UPPER", "text": letter}


BAD_LABEL = {"start": 14, "end": 15, "label": "NONE"}
WRONG = {
    "no such id": guess("nobodys"),
    "a wrong letter": guess("secret", *letters("Q")),
    "a right letter and a wrong one": guess("secret", *letters("Z", "Q")),
    "right letters and a bad label": guess("secret", *letters(*PRIVATE_TEXT[:13]), BAD_LABEL),
    "a bad label alone": guess("secret", BAD_LABEL),
    "outside the text": guess("secret", {"start": 15, "end": 16, "label": "UPPER"}),
    "another index": guess("secret", index=1),
    "empty": guess("secret", {"start": 1, "end": 1, "label": "UPPER"}),
    "overlap": guess("secret", *letters("Z"), *letters("Z")),
    "another unit": guess("secret", {"start": 0, "end": 16, "label": "UPPER"}, offset_unit="utf16"),
}


async def test_every_wrong_guess_has_one_and_the_same_answer_and_stores_nothing(
    predictor: Any, tmp_path: Path
) -> None:
    async with (
        listening(predictor, feedback_dir=tmp_path) as live,
        client_at(HERE, live) as client,
    ):
        await answered(client)
        contents = [
            check_problem(await client.post("/v1/feedback", json=body), 404, "unknown-answer")
            for body in WRONG.values()
        ]
        for content in contents:
            content.pop("request_id")
            assert content == contents[0], "the one for an id that there never was"
        assert rows(tmp_path) == []
        right = await client.post("/v1/feedback", json=guess("secret", *letters("Z", "y")))
        assert right.status_code == 201


async def test_another_address_never_finds_an_answer_even_with_the_right_text(
    predictor: Any, tmp_path: Path
) -> None:
    async with (
        listening(predictor, feedback_dir=tmp_path) as live,
        client_at(HERE, live) as mine,
        client_at(ELSEWHERE, live) as other,
    ):
        await answered(mine)
        body = guess("secret", *letters("Z"))
        check_problem(await other.post("/v1/feedback", json=body), 404, "unknown-answer")
        await answered(other)
        assert (await mine.post("/v1/feedback", json=body)).status_code == 201
    (row,) = rows(tmp_path)
    assert row["by"] == "anonymous", "addresses are not stored"


async def test_with_keys_the_key_counts_and_not_the_address(predictor: Any, tmp_path: Path) -> None:
    one, two = "one-of-two-api-keys", "two-of-two-api-keys"
    settings = {"feedback_dir": tmp_path, "api_keys": f"{one},{two}"}
    async with (
        listening(predictor, **settings) as live,
        client_at(HERE, live, **{"X-API-Key": one}) as mine,
        client_at(ELSEWHERE, live, **{"X-API-Key": one}) as elsewhere,
        client_at(HERE, live, **{"X-API-Key": two}) as other,
    ):
        await answered(mine)
        body = guess("secret", *letters("Z"))
        check_problem(await other.post("/v1/feedback", json=body), 404, "unknown-answer")
        assert (await elsewhere.post("/v1/feedback", json=body)).status_code == 201


async def test_a_caller_that_guesses_on_is_refused_and_others_are_not(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(tmp_path / GUESSES)
    async with (
        listening(predictor, feedback_dir=tmp_path) as live,
        client_at(HERE, live) as attacker,
        client_at(ELSEWHERE, live) as other,
    ):
        feedback = live.app.state.service.feedback
        monkeypatch.setattr(feedback.guesses, "_clock", lambda: 0.0)
        await answered(attacker)
        await answered(other)
        drawn = ascii_letters * 2
        answers = await asyncio.gather(
            *(attacker.post("/v1/feedback", json=guess("secret", *letters(each))) for each in drawn)
        )
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(429) == len(drawn) - MOST_GUESSES - statuses.count(201)
        refused = answers[statuses.index(429)]
        check_problem(refused, 429, "too-many-guesses")
        assert refused.headers["retry-after"] == "1"
        late = await attacker.post("/v1/feedback", json=guess("secret", *letters("Z")))
        check_problem(late, 429, "too-many-guesses")
        by_text = await attacker.post("/v1/feedback", json={"text": "Ada", "entities": []})
        assert by_text.status_code == 201
        for _ in range(MOST_GUESSES + 1):
            fair = await other.post("/v1/feedback", json=guess("secret", *letters("Z")))
            assert fair.status_code == 201, "who is right is never refused"


def table(file: Path) -> Path:
    """A file with a known secret: "a" and "b", HERE and ELSEWHERE have places of their own."""
    file.write_bytes(bytes(KEY_BYTES + N_PLACES * PLACE.size))
    return file


def wrong(guesses: Guesses, caller: str) -> bool:
    """Guess wrong; whether it was allowed."""
    try:
        guesses.take(caller)
    except TooManyGuessesError:
        return False
    return True


def test_guesses_come_back_one_by_one(tmp_path: Path) -> None:
    now = [time.time()]
    guesses = Guesses(table(tmp_path / "guesses"), lambda: now[0])
    assert [wrong(guesses, "a") for _ in range(MOST_GUESSES + 3)] == [True] * MOST_GUESSES + [
        False
    ] * 3
    now[0] += 2 * SECONDS_EACH + 0.001
    assert [wrong(guesses, "a") for _ in range(3)] == [True, True, False]
    now[0] += 10 * MOST_GUESSES * SECONDS_EACH
    assert sum(wrong(guesses, "a") for _ in range(2 * MOST_GUESSES)) == MOST_GUESSES
    now[0] -= 1e6  # the clock is set right
    assert not wrong(guesses, "a")


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.booleans()), max_size=200))
def test_workers_together_allow_as_many_tries_as_one_alone(
    steps: list[tuple[int, str, bool]],
) -> None:
    """Steps are of a worker, a caller, and whether the guess is right; the clock stands still."""
    with TemporaryDirectory() as folder:
        file = table(Path(folder) / "guesses")
        workers = [Guesses(file, lambda: 1e9) for _ in range(3)]
        n_wrong = Counter[str]()
        for worker, caller, is_right in steps:
            assert wrong(workers[worker], caller) is (n_wrong[caller] < MOST_GUESSES)
            if n_wrong[caller] < MOST_GUESSES:
                if is_right:
                    workers[worker].give_back(caller)
                else:
                    n_wrong[caller] += 1


def test_tries_of_processes_at_the_same_time_are_all_counted(tmp_path: Path) -> None:
    file = table(tmp_path / "guesses")
    guess = f"""
from pathlib import Path
from teddy.service.feedback.guesses import Guesses
guesses = Guesses(Path({str(file)!r}), lambda: 1e9)
for _ in range(15):
    guesses.take("a")
"""
    processes = [subprocess.Popen([sys.executable, "-c", guess]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert not wrong(Guesses(file, lambda: 1e9), "a")
    assert wrong(Guesses(file, lambda: 1e9), "b")


def test_each_file_has_a_secret_of_its_own_and_only_its_user_reads_it(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        Guesses(file)
        assert file.stat().st_mode & 0o777 == PRIVATE_FILE
    assert files[0].read_bytes()[:KEY_BYTES] != files[1].read_bytes()[:KEY_BYTES]
