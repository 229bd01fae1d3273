"""Which methods a path has, and what a 404 and a 405 say."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import Match, Mount
from starlette.types import Scope

from teddy.service.http.callers import Network, is_within, parse_address, peer_address
from teddy.service.settings import ROOT_PATH

PREFIX_HEADER = b"x-forwarded-prefix"
FORWARDED_PREFIX = "forwarded_prefix"


def forwarded_prefix(scope: Scope, trusted_proxies: tuple[Network, ...]) -> str:
    """Return the path before Teddy's own that a trusted proxy says it has removed, or ""."""
    peer = parse_address(peer_address(scope))
    if peer is None or not is_within(peer, trusted_proxies):
        return ""
    for name, value in scope["headers"]:
        if name == PREFIX_HEADER:
            prefix = value.decode("latin-1").rstrip("/")
            return prefix if ROOT_PATH.fullmatch(prefix) else ""
    return ""


def prefix_of(scope: Scope) -> str:
    """Return the path under which a browser sees Teddy, for links; "" without a proxy's."""
    return _root(scope) or scope.get(FORWARDED_PREFIX, "")


def _root(scope: Scope) -> str:
    """Return what stands before a path, without what a mounted app has added to it."""
    root: str = scope.get("app_root_path", scope.get("root_path", ""))
    return root


def methods_of(request: Request) -> list[str]:
    """Return the methods of the path that was asked for; none if there is nothing.

    Of `/` it is OPTIONS at least, which HAProxy asks to see whether a server is there.
    """
    at_root = request.scope["path"].removeprefix(_root(request.scope)) == "/"
    return _methods(request.app, request.scope) or (["OPTIONS"] if at_root else [])


def where_else(request: Request) -> str:
    """Return what to tell a client that has asked for a path that does not exist."""
    scope = request.scope
    slashless = {**scope, "path": scope["path"].rstrip("/")}
    if scope["path"].endswith("/") and _methods(request.app, slashless):
        return "There is nothing here: leave out the slash at the end of the path."
    return f"There is nothing here: {prefix_of(scope)}/docs describes what there is."


def _methods(app: FastAPI, scope: Scope) -> list[str]:
    found = [
        method
        for method in ("GET", "POST")
        for route in app.routes
        if route.matches({**scope, "method": method, "root_path": _root(scope)})[0] is Match.FULL
        and (method == "GET" or not isinstance(route, Mount))
    ]
    return sorted({*found, "OPTIONS", *(["HEAD"] if "GET" in found else [])}) if found else []
