"""Rules beside a served model: what they give, and that a new file replaces them, or is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from teddy.model.predictor import Predictor
from teddy.service.inference.kept_models import KEPT_DIRECTORY

pytest.importorskip("re2")
pytestmark = pytest.mark.anyio

ADMIN = "admin-0123456789"
TEXT = {"text": "Anna Berg went to Oslo with no. 17 ."}
RULES = """
[[dictionary]]
name = "customers"
file = "customers.csv"
column = 1
id_column = 2
label = "CUSTOMER"
[[pattern]]
name = "numbers"
pattern = '\\d+'
label = "NUMBER"
"""


def write(path: Path, content: str) -> None:
    new = path.with_name(f".{path.name}")
    new.write_text(content)
    new.replace(path)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    write(tmp_path / "customers.csv", "Anna Berg,c-7\n")
    write(tmp_path / "rules.toml", RULES)
    return tmp_path / "rules.toml"


@asynccontextmanager
async def serve(
    serving: Any, predictor: Predictor, rules: Path
) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(
        load=lambda _: predictor.with_rules(None),
        rules={"": rules},
        reload_poll_seconds=0,
        api_keys=f"admin:{ADMIN}",
    ) as client:
        client.headers["Authorization"] = f"Bearer {ADMIN}"
        yield client


async def found(client: httpx.AsyncClient) -> list[tuple[str, str, str, str | None]]:
    answer = await client.post("/v1/entities", json=TEXT)
    assert answer.status_code == 200
    entities = answer.json()["entities"]
    return [(e["text"], e["label"], e["source"], e.get("id")) for e in entities]


async def test_entities_say_which_rule_they_are_from_and_each_is_counted(
    serving: Any, tiny_predictor: Predictor, rules: Path
) -> None:
    async with serve(serving, tiny_predictor, rules) as client:
        assert await found(client) == [
            ("Anna Berg", "CUSTOMER", "customers", "c-7"),
            ("Oslo", "LOC", "model", None),
            ("17", "NUMBER", "numbers", None),
        ]
        listed = (await client.get("/v1/models/en/rules")).json()
        assert listed["rules"] == [
            {
                "name": "customers",
                "kind": "dictionary",
                "use": "sure",
                "labels": ["CUSTOMER"],
                "entries": 1,
            },
            {"name": "numbers", "kind": "pattern", "use": "sure", "labels": ["NUMBER"]},
        ]
        only = await client.post("/v1/entities", json={**TEXT, "labels": ["NUMBER"]})
        assert [each["text"] for each in only.json()["entities"]] == ["17"]
        metrics = (await client.get("/metrics")).text
        assert 'teddy_rule_matches_total{model="en",rule="customers"} 2.0' in metrics
        known = (await client.get("/v1/models/en")).json()["labels"]
        assert known == ["PER", "LOC", "CUSTOMER", "NUMBER"]


async def test_without_rules_an_answer_says_nothing_of_them(
    serving: Any, tiny_predictor: Predictor
) -> None:
    async with serving(load=lambda _: tiny_predictor) as client:
        answer = (await client.post("/v1/entities", json=TEXT)).json()
        assert all(each.keys().isdisjoint({"source", "id"}) for each in answer["entities"])
        listed = (await client.get("/v1/models/en/rules")).json()
        assert listed["rules"] == []
        assert "version" not in listed


async def test_a_bad_file_is_refused_with_its_line_while_the_old_one_serves(
    serving: Any, tiny_predictor: Predictor, rules: Path
) -> None:
    async with serve(serving, tiny_predictor, rules) as client:
        before = await found(client)
        write(rules.with_name("customers.csv"), "Anna Berg,c-8\nOtto\n")
        refused = await client.post("/v1/models/en/reload")
        assert refused.status_code == 422
        assert "customers.csv, line 2: 1 columns" in refused.json()["detail"]
        assert str(rules.parent) not in refused.text
        assert await found(client) == before
        assert (
            "customers.csv, line 2" in (await client.get("/v1/models/en/rules")).json()["refused"]
        )
        write(rules.with_name("customers.csv"), "Anna Berg,c-9\n")
        assert (await client.post("/v1/models/en/reload")).status_code == 200
        assert (await found(client))[0] == ("Anna Berg", "CUSTOMER", "customers", "c-9")
        assert "refused" not in (await client.get("/v1/models/en/rules")).json()


@pytest.mark.parametrize("bad", ["customers.csv", "rules.toml", None], ids=str)
async def test_a_successor_has_the_last_good_rules_and_tells_of_the_bad_file(
    serving: Any,
    tiny_predictor: Predictor,
    rules: Path,
    bad: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = rules.with_name("kept")
    kept.mkdir()
    monkeypatch.setenv(KEPT_DIRECTORY, str(kept))
    async with serve(serving, tiny_predictor, rules) as client:
        write(rules.with_name("customers.csv"), "Anna Berg,c-8\n")
        assert (await client.post("/v1/models/en/reload")).status_code == 200
        before = await found(client)
        version = (await client.get("/v1/models/en/rules")).json()["version"]
    assert before[0][3] == "c-8"
    if bad:
        write(rules.with_name(bad), "Otto\n")
    else:
        rules.unlink()
    async with serve(serving, tiny_predictor, rules) as client:
        assert await found(client) == before
        listed = (await client.get("/v1/models/en/rules")).json()
        assert listed["version"] == version
        assert listed["refused"].startswith(bad or "rules.toml: no such file")
        write(rules, RULES)
        write(rules.with_name("customers.csv"), "Anna Berg,c-9\n")
        assert (await client.post("/v1/models/en/reload")).status_code == 200
        assert (await found(client))[0][3] == "c-9"
        assert "refused" not in (await client.get("/v1/models/en/rules")).json()
    assert len([*kept.glob(".rules.*")]) == 1
    assert not [*kept.glob(".copies*")], "what was unpacked is gone"


async def test_a_new_dictionary_that_is_mended_is_tried_again(
    serving: Any, tiny_predictor: Predictor, rules: Path
) -> None:
    async with serve(serving, tiny_predictor, rules) as client:
        write(rules, RULES + "[[dictionary]]\nfile = 'more.txt'\nlabel = 'MORE'\n")
        assert (await client.post("/v1/models/en/reload")).status_code == 422
        write(rules.with_name("more.txt"), "with\n")
        assert (await client.post("/v1/models/en/reload")).status_code == 200
        assert ("with", "MORE", "more", None) in await found(client)


async def test_rules_that_change_under_load_fail_no_request(
    serving: Any, tiny_predictor: Predictor, rules: Path
) -> None:
    """Each answer is that of one state of the rules, whole."""
    async with serve(serving, tiny_predictor, rules) as client:
        done = asyncio.Event()
        seen: set[str | None] = set()

        async def ask() -> None:
            while not done.is_set():
                entities = await found(client)
                assert [each[0] for each in entities] == ["Anna Berg", "Oslo", "17"]
                seen.add(entities[0][3])

        async def change() -> None:
            for number in range(40):
                write(rules.with_name("customers.csv"), f"Anna Berg,{number}\n")
                assert (await client.post("/v1/models/en/reload")).status_code == 200
            done.set()

        await asyncio.gather(ask(), ask(), change())
        assert len(seen) > 1
        assert (await found(client))[0][3] == "39"
