import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from teddy.service.errors import SettingsError
from teddy.service.http.callers import (
    MOST_HOPS,
    Keys,
    check_exposure,
    client_address,
    is_loopback,
    parse_networks,
)
from teddy.service.settings import Settings, read_settings

PROXIES = parse_networks(["10.0.0.0/8", "192.168.1.1", "fd00::/8"])


def scope_of(peer: str, *forwarded: str) -> Scope:
    lines = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": (peer, 50000), "headers": [(b"host", b"teddy"), *lines]}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    settings = Settings(host=host)
    check_exposure(settings, Keys.read(settings))


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1", "teddy.example", "localhost.evil"],  # noqa: S104
)
def test_any_other_address_needs_keys_or_a_word_that_it_needs_none(host: str) -> None:
    assert not is_loopback(host)
    settings = Settings(host=host)
    with pytest.raises(
        SettingsError, match=r"^other machines .*TEDDY_API_KEYS_FILE.*TEDDY_ALLOW_ANONYMOUS=true"
    ) as no:
        check_exposure(settings, Keys.read(settings))
    assert "\n" not in str(no.value)
    for allowed in (
        read_settings(host=host, api_keys="k" * 16),
        Settings(host=host, allow_anonymous=True),
    ):
        check_exposure(allowed, Keys.read(allowed))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # not from a proxy of ours: its word is worth nothing
        ("203.0.113.9", ("198.51.100.7",), "203.0.113.9"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        # what the client put before is its own invention
        ("10.0.0.1", ("1.1.1.1, 198.51.100.7",), "198.51.100.7"),
        ("10.0.0.1", ("1.1.1.1", "198.51.100.7"), "198.51.100.7"),
        ("10.0.0.1", ("198.51.100.7, 192.168.1.1,10.2.3.4",), "198.51.100.7"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("198.51.100.7, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.7,,10.0.0.2",), "10.0.0.2"),
        ("10.0.0.1", ("198.51.100.7:4711",), "198.51.100.7"),
        ("10.0.0.1", ("[2001:db8::7]:4711",), "2001:db8::7"),
        ("fd00::1", ("2001:DB8:0::7",), "2001:db8::7"),
        ("fd00::1", ("fe80::7%any text",), "fe80::7"),
        ("::ffff:10.0.0.1", ("::ffff:198.51.100.7",), "198.51.100.7"),
        ("10.0.0.1", ("\xff\x00, 1' OR 1=1",), "10.0.0.1"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy_of_ours(
    peer: str, forwarded: tuple[str, ...], expected: str
) -> None:
    assert client_address(scope_of(peer, *forwarded), PROXIES) == expected


def test_without_trusted_proxies_nothing_is_believed() -> None:
    assert client_address(scope_of("10.0.0.1", "198.51.100.7"), ()) == "10.0.0.1"
    # a socket that has no address
    assert client_address({"client": None, "headers": []}, PROXIES) == "unknown"


def test_a_made_up_list_is_not_followed_to_its_end() -> None:
    long = ",".join(["198.51.100.7"] + ["10.0.0.2"] * 4000)
    assert client_address(scope_of("10.0.0.1", long), PROXIES) == "10.0.0.2"
    just_right = ",".join(["198.51.100.7"] + ["10.0.0.2"] * (MOST_HOPS - 1))
    assert client_address(scope_of("10.0.0.1", just_right), PROXIES) == "198.51.100.7"


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=3))
def test_hostile_values_give_an_address_all_the_same(forwarded: list[str]) -> None:
    found = client_address(scope_of("10.0.0.1", *forwarded), PROXIES)
    assert found.replace(":", "").replace(".", "").isalnum()


@pytest.mark.parametrize("network", ["proxy", "10.0.0.0/33", "10.0.0.1/8", ""])
def test_a_proxy_that_is_no_network_is_refused_at_the_start(network: str) -> None:
    with pytest.raises(SettingsError, match="TEDDY_TRUSTED_PROXIES: "):
        parse_networks([network])
