"""Identify callers: by API key, and by address.

Keys are stored as digests without a salt. That is safe because `teddy key` draws them at random:
no dictionary of likely keys exists. Short keys are refused for the same reason.
"""

import hmac
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from starlette.types import Scope

from teddy.service.errors import ForbiddenError, SettingsError, UnauthorizedError

if TYPE_CHECKING:
    from teddy.service.settings import Settings


Role = Literal["tag", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

LEAST_CHARACTERS = 16
KEY = re.compile(rf"[!-~]{{{LEAST_CHARACTERS},}}")
LINE = re.compile(r"(tag|admin)[ \t]+([0-9A-Fa-f]{64})(?:[ \t]+([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?")
BEARER = b"bearer "
CHALLENGE = "Bearer"
"""The `WWW-Authenticate` header of every 401, which must have one (RFC 9110, section 15.5.2)."""

HOW = "send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
UNKNOWN = "unknown"
MOST_HOPS = 16
"""Most proxies that a request is followed through; a longer list is not believed."""
LONGEST_ADDRESS = 64
REMEMBERED = 4096
"""Addresses whose parsed form is cached: with proxies, parsing costs half as much as a short
request otherwise."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request, as its key names it.

    Attributes: `name`, the same for each request with this key; it is used by the queue and the log
    and never in a metric. A key without a name is called after its place, `key:2` or `line:7`, as
    no name of a file can be; `role`.
    """

    name: str
    role: Role

    def check_admin(self) -> None:
        """Raise ForbiddenError unless this caller is an admin."""
        if self.role != "admin":
            raise ForbiddenError("This needs an API key with the role 'admin'.")


ANONYMOUS = Caller("anonymous", "tag")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is accepted: its digest, and the caller it belongs to."""

    digest: bytes = field(repr=False)
    caller: Caller


@dataclass(frozen=True, slots=True)
class Keys:
    """All accepted keys. Without any, every caller may tag and none is an admin."""

    _keys: tuple[Key, ...] = ()

    @classmethod
    def read(cls, settings: "Settings") -> "Keys":
        """Return the keys of `TEDDY_API_KEYS` and `TEDDY_API_KEYS_FILE`.

        Raises SettingsError, which shows no key.
        """
        keys: dict[bytes, Key] = {}
        for place, key in _placed(settings):
            if key.digest in keys:
                raise SettingsError(f"{place}: the same key as one before")
            keys[key.digest] = key
        return cls(tuple(keys.values()))

    @property
    def required(self) -> bool:
        """Whether a request needs a key."""
        return bool(self._keys)

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return the caller that these headers identify; their names are in lower case, as in ASGI.

        Raises UnauthorizedError.
        """
        if not self._keys:
            return ANONYMOUS
        shown = list(_shown(headers))
        if len(shown) != 1:
            raise (
                UnauthorizedError(f"More than one API key: {HOW}.", reason="several-keys")
                if shown
                else UnauthorizedError(f"An API key is needed: {HOW}.", reason="no-key")
            )
        digest = sha256(shown[0]).digest()
        found = None
        for key in self._keys:  # to the end, so that the time taken does not tell which key it was
            if hmac.compare_digest(key.digest, digest):
                found = key.caller
        if found is None:
            raise UnauthorizedError("This API key is not known here.", reason="unknown-key")
        return found


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Return the keys in a request's headers.

    An Authorization header of another scheme may be meant for a proxy; it is ignored.
    """
    for name, value in headers:
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
            yield value[len(BEARER) :].strip()


def _placed(settings: "Settings") -> Iterator[tuple[str, Key]]:
    """Yield each configured key with the place where it stands, for messages."""
    for number, secret in enumerate(settings.api_keys, start=1):
        place = f"TEDDY_API_KEYS: key {number}"
        yield place, _parse_key(secret.get_secret_value(), place, f"key:{number}")
    if settings.api_keys_file is not None:
        yield from _read_file(settings.api_keys_file)


def _parse_key(value: str, place: str, name: str) -> Key:
    """Parse a key from `KEY` or `ROLE:KEY`."""
    role, colon, key = value.partition(":")
    if not colon:
        role, key = "tag", value
    if role not in ROLES:
        raise SettingsError(f"{place}: what stands before ':' must be a role, tag or admin")
    if not KEY.fullmatch(key):
        raise SettingsError(
            f"{place}: a key has at least {LEAST_CHARACTERS} characters, all of them visible ASCII"
        )
    return Key(sha256(key.encode("ascii")).digest(), Caller(name, role))


def _read_file(path: Path) -> Iterator[tuple[str, Key]]:
    """Yield the keys in a file.

    A file without keys is refused: naming one shows that access should be restricted.
    """
    n_keys = 0
    for number, line in enumerate(_lines(path), start=1):
        if content := line.partition("#")[0].strip():
            n_keys += 1
            place = f"{path}:{number}"
            yield place, _parse_line(content, place, f"line:{number}")
    if not n_keys:
        raise SettingsError(f"{path}: no key in it")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except PermissionError as error:
        raise SettingsError(f"{path}: {_why_not_readable(path)}") from error
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not a text file") from error


def _why_not_readable(path: Path) -> str:
    """Say who may not read a file: in a container, its user is not the one who made the file."""
    reader = f"the user {os.geteuid()}, as whom Teddy runs, may not read it"
    try:
        status = path.stat()
    except OSError:  # nor see that it is there
        return f"{reader}, or look into the directory"
    return (
        f"{reader}: it belongs to {status.st_uid} and has mode {stat.S_IMODE(status.st_mode):04o}"
    )


def _parse_line(line: str, place: str, default_name: str) -> Key:
    """Parse a key from `ROLE SHA256 [NAME]`.

    No message shows the line: it may hold a key in place of its digest.
    """
    match = LINE.fullmatch(line)
    if not match:
        wanted = (
            "ROLE SHA256 [NAME]: tag or admin, 64 hexadecimal digits, "
            "a name of letters, digits, '.', '_' and '-'"
        )
        raise SettingsError(f"{place}: not {wanted}")
    role, digest, name = match.groups()
    return Key(bytes.fromhex(digest), Caller(name or default_name, cast(Role, role)))


def check_exposure(settings: "Settings", keys: "Keys") -> None:
    """Raise SettingsError if the network could use the service without a key, unless allowed to."""
    if keys.required or settings.allow_anonymous or is_loopback(settings.host):
        return
    raise SettingsError(
        f"other machines can reach {settings.host or 'every address'}: set TEDDY_API_KEYS_FILE or "
        "TEDDY_API_KEYS, or TEDDY_ALLOW_ANONYMOUS=true to serve every caller"
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`.

    Any name but `localhost` may resolve to another address, so it does not count.
    """
    if host.lower() == "localhost":
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback


def parse_networks(items: Iterable[str]) -> tuple[Network, ...]:
    """Parse `TEDDY_TRUSTED_PROXIES`. Raises SettingsError."""
    return tuple(map(_parse_network, items))


def _parse_network(item: str) -> Network:
    try:
        return ip_network(item)
    except ValueError as error:
        raise SettingsError(f"TEDDY_TRUSTED_PROXIES: {error}") from error


def client_address(scope: Scope, trusted_proxies: tuple[Network, ...]) -> str:
    """Return the address of a request's client: the peer, or the client of a trusted proxy.

    `X-Forwarded-For` is read from its end, where the nearest proxy writes, and only as far as
    trusted proxies wrote it: the client may have invented what stands before.
    """
    peer = peer_address(scope)
    if not trusted_proxies:
        return peer
    farthest = parse_address(peer)
    if farthest is None:
        return peer
    for hop in _hops(scope):
        if not is_within(farthest, trusted_proxies):
            break
        address = parse_address(hop)
        if address is None:  # "unknown" or invalid: the proxy is the last address that is certain
            break
        farthest = address
    return str(farthest)


def peer_address(scope: Scope) -> str:
    """Return the address at the other end of the connection."""
    client = scope.get("client")
    return client[0] if client else UNKNOWN


def _hops(scope: Scope) -> Iterator[str]:
    """Yield the client that each proxy names, the nearest proxy first."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for hop in reversed(b",".join(lines).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
        yield hop[:LONGEST_ADDRESS].decode("latin-1").strip()


@lru_cache(REMEMBERED)
def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Return whether an address belongs to one of these networks."""
    return any(address in network for network in networks)


@lru_cache(REMEMBERED)
def parse_address(value: str) -> Address | None:
    """Return an IP address, which may have a port after it; None for anything else.

    IPv4 mapped into IPv6 becomes IPv4. The name of an interface is dropped: it may be any text.
    """
    if value.startswith("["):
        value = value[1:].partition("]")[0]
    elif value.count(":") == 1:
        value = value.partition(":")[0]
    try:
        address = ip_address(value.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
