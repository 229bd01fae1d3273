import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.errors import ForbiddenError, SettingsError, UnauthorizedError
from teddy.service.http.callers import LEAST_CHARACTERS, Caller, Keys
from teddy.service.settings import Settings, read_settings

TAGGER, ADMIN, OTHER = "tagger-0123456789", "admin-0123456789a", "other-0123456789a"


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def keys_of(api_keys: str) -> Keys:
    return Keys.read(read_settings(api_keys=api_keys))


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"teddy"), (b"authorization", b"Bearer " + key.encode())]


def with_file(tmp_path: Path, content: str) -> Settings:
    path = tmp_path / "keys"
    path.write_text(content)
    return Settings(api_keys_file=path)


def test_without_keys_everybody_may_tag_and_nobody_is_admin() -> None:
    keys = Keys.read(Settings())
    assert not keys.required
    assert keys.authenticate(bearer(TAGGER)) == keys.authenticate([]) == Caller("anonymous", "tag")
    with pytest.raises(ForbiddenError, match="role 'admin'"):
        keys.authenticate([]).check_admin()


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer KEY"),
        (b"authorization", b"bearer  KEY"),
        (b"authorization", b"BEARER KEY "),
        (b"x-api-key", b"KEY"),
    ],
)
def test_a_key_is_known_in_either_header(header: tuple[bytes, bytes]) -> None:
    name, value = header
    keys = keys_of(f"{TAGGER},admin:{ADMIN},tag:{OTHER}")
    assert keys.required
    for number, (key, role) in enumerate(((TAGGER, "tag"), (ADMIN, "admin"), (OTHER, "tag")), 1):
        found = keys.authenticate([(name, value.replace(b"KEY", key.encode()))])
        assert found == Caller(f"key:{number}", role)  # type: ignore[arg-type]


def test_only_an_admin_passes_for_one_and_may_also_tag() -> None:
    keys = keys_of(f"{TAGGER},admin:{ADMIN}")
    keys.authenticate(bearer(ADMIN)).check_admin()
    with pytest.raises(ForbiddenError):
        keys.authenticate(bearer(TAGGER)).check_admin()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", TAGGER.encode())],
        [(b"authorization", b"Basic " + TAGGER.encode())],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"\xff\x00")],
        [(b"x-api-key", TAGGER[:-1].encode())],
        [(b"x-api-key", TAGGER.encode() + b"x")],
        [(b"x-api-key", digest(TAGGER).encode())],
        [(b"x-api-key", TAGGER.encode() + b"," + OTHER.encode())],
        [(b"x-api-key", TAGGER.encode()), (b"x-api-key", TAGGER.encode())],
        [(b"x-api-key", b"wrong"), *bearer(TAGGER)],
    ],
)
def test_anything_but_exactly_one_known_key_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        keys_of(f"{TAGGER},{OTHER}").authenticate(headers)
    assert TAGGER not in str(refused.value)


def test_another_scheme_is_left_to_the_proxy_that_it_is_for() -> None:
    headers = [(b"authorization", b"Basic dTpw"), (b"x-api-key", TAGGER.encode())]
    assert keys_of(TAGGER).authenticate(headers).role == "tag"


@given(st.binary(max_size=64))
def test_no_value_but_the_key_is_the_key(value: bytes) -> None:
    keys = keys_of(TAGGER)
    if value.strip() == TAGGER.encode():
        return
    with pytest.raises(UnauthorizedError):
        keys.authenticate([(b"x-api-key", value)])


def test_every_digest_is_compared_whole_whichever_key_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[bytes] = []

    def compare(held: bytes, shown: bytes) -> bool:
        compared.append(held)
        return held == shown

    monkeypatch.setattr("hmac.compare_digest", compare)
    keys = keys_of(f"{TAGGER},admin:{ADMIN},{OTHER}")
    for key in (TAGGER, ADMIN, OTHER):
        compared.clear()
        keys.authenticate(bearer(key))
        assert [each.hex() for each in compared] == [digest(TAGGER), digest(ADMIN), digest(OTHER)]


def test_a_file_has_a_line_for_each_key_with_comments_and_names(tmp_path: Path) -> None:
    content = (
        "# who may call\n\n"
        f"tag {digest(TAGGER)} letters  # until spring\n"
        f"  admin\t{digest(ADMIN).upper()}\n"
        f"tag {digest(OTHER)} letters\n"
    )
    keys = Keys.read(with_file(tmp_path, content))
    assert (
        keys.authenticate(bearer(TAGGER))
        == keys.authenticate(bearer(OTHER))
        == Caller("letters", "tag")
    )
    assert keys.authenticate(bearer(ADMIN)) == Caller("line:4", "admin")


def test_a_file_and_the_variable_add_up(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"tag {digest(OTHER)} other\n")
    keys = Keys.read(read_settings(api_keys=f"admin:{ADMIN}", api_keys_file=path))
    assert (keys.authenticate(bearer(OTHER)).name, keys.authenticate(bearer(ADMIN)).role) == (
        "other",
        "admin",
    )


@pytest.mark.parametrize(
    "line",
    [
        TAGGER,
        f"tag {TAGGER}",
        f"root {digest(TAGGER)}",
        f"tag {digest(TAGGER)[:-1]}",
        f"tag {digest(TAGGER)} a name",
        f"tag {digest(TAGGER)} -name",
        f"tag {digest(TAGGER)} {'n' * 65}",
        f"tag {digest(TAGGER)} n\u00e4me",
        f"tag {digest(OTHER)}",
    ],
)
def test_a_bad_line_is_refused_by_its_file_and_number_without_what_is_in_it(
    tmp_path: Path, line: str
) -> None:
    settings = with_file(tmp_path, f"# keys\ntag {digest(OTHER)}\n{line}\n")
    with pytest.raises(SettingsError, match=re.escape(f"{settings.api_keys_file}:3: ")) as refused:
        Keys.read(settings)
    assert TAGGER not in str(refused.value)
    assert digest(TAGGER)[:16] not in str(refused.value)


@pytest.mark.parametrize("content", ["", "\n", "# none yet\n"])
def test_a_file_without_a_key_does_not_open_the_door(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingsError, match="no key in it"):
        Keys.read(with_file(tmp_path, content))


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent: No such file or directory"):
        Keys.read(Settings(api_keys_file=tmp_path / "absent"))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not a text file"):
        Keys.read(Settings(api_keys_file=binary))


def test_a_file_that_this_user_may_not_read_is_refused_with_both_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a container, whose user is another than the one who made the file."""
    settings = with_file(tmp_path, f"tag {digest(TAGGER)}\n")
    assert settings.api_keys_file is not None
    settings.api_keys_file.chmod(0o600)

    def refuse(*_: object, **__: object) -> str:  # root, who may run this, is refused nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr("os.geteuid", lambda: 10001)
    with pytest.raises(SettingsError) as refused:
        Keys.read(settings)
    assert str(refused.value) == (
        f"{settings.api_keys_file}: the user 10001, as whom Teddy runs, may not read it: "
        f"it belongs to {os.getuid()} and has mode 0600"
    )


@pytest.mark.parametrize(
    ("api_keys", "fault"),
    [
        (f"{TAGGER},{'x' * (LEAST_CHARACTERS - 1)}", "key 2: a key has at least 16 characters"),
        ("admin:short", "key 1: a key has at least 16 characters"),
        (f"amdin:{TAGGER}", "key 1: what stands before ':' must be a role"),
        ("with a space in it", "all of them visible ASCII"),
        ("schl\u00fcssel-schl\u00fcssel", "all of them visible ASCII"),
        (f"{TAGGER},admin:{TAGGER}", "key 2: the same key as one before"),
    ],
)
def test_a_bad_key_stops_the_start_and_is_not_shown(api_keys: str, fault: str) -> None:
    with pytest.raises(
        SettingsError, match=f"TEDDY_API_KEYS: {fault}" if fault[0] == "k" else fault
    ) as refused:
        keys_of(api_keys)
    assert not any(part in str(refused.value) for part in (TAGGER, "short", "space", "schl"))


def shown_anywhere(values: Sequence[object]) -> str:
    return " ".join(f"{value} {value!r}" for value in values)


def test_no_key_is_shown_by_what_holds_it() -> None:
    settings = read_settings(api_keys=f"{TAGGER},admin:{ADMIN}")
    keys = Keys.read(settings)
    shown = shown_anywhere([settings, keys, keys.authenticate(bearer(TAGGER))])
    assert TAGGER not in shown
    assert ADMIN not in shown
    assert digest(TAGGER) not in shown
