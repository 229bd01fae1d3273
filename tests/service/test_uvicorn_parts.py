"""What the service takes of uvicorn that uvicorn does not document, by name.

service/http/protocol.py, service/http/connection.py and service/process/server.py use these. When a
release of uvicorn lacks one, this says which; whether it still means the same is what
tests/service/test_protocol.py, test_connection.py and test_server.py tell.
"""

import inspect
import re
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl

METHODS: dict[type, str] = {
    httptools_impl.HttpToolsProtocol: "connection_made connection_lost pause_writing "
    "resume_writing on_headers_complete on_body on_response_complete _start_asgi_task "
    "_unset_keepalive_if_required",
    flow_control.FlowControl: "resume_reading",
    uvicorn.Server: "startup shutdown on_tick capture_signals run _serve",
}
ATTRIBUTES: dict[type, str] = {
    httptools_impl.HttpToolsProtocol: "connections client transport flow parser url headers "
    "scope cycle pipeline loop server_state timeout_keep_alive_task",
    httptools_impl.RequestResponseCycle: "scope more_body message_event response_started "
    "response_complete disconnected",
    uvicorn.Server: "config server_state servers lifespan started should_exit force_exit",
    uvicorn.Config: "encoded_headers http_protocol_class backlog",
    uvicorn.server.ServerState: "connections default_headers",
}


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in METHODS.items() for name in names.split()]
)
def test_uvicorn_has_the_method(owner: type, name: str) -> None:
    assert callable(getattr(owner, name, None)), lacks(owner, name)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, names in ATTRIBUTES.items() for name in names.split()],
)
def test_uvicorn_sets_the_attribute(owner: type, name: str) -> None:
    source = inspect.getsource(owner)
    assert re.search(rf"\bself\.{name}(: [^=\n]+)? = ", source), lacks(owner, name)


def test_uvicorn_has_the_lines_of_all_statuses_and_the_status_of_a_failed_start() -> None:
    lines: Any = getattr(httptools_impl, "STATUS_LINE", {})
    assert lines.get(431, b"").startswith(b"HTTP/1.1 431 "), lacks(httptools_impl, "STATUS_LINE")
    assert uvicorn.config.STARTUP_FAILURE


def lacks(owner: object, name: str) -> str:
    called = getattr(owner, "__name__", owner)
    return f"uvicorn {uvicorn.__version__} has no {called}.{name}, which service/ uses"
