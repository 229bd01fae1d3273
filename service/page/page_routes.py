"""Serve the page at `/` and its files.

The files lie under a folder named by their digest, so that browsers may keep them for good, and a
new version never runs half of an old one. The page itself is asked for again each time.
"""

from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response

from teddy.service.api.context import Service
from teddy.service.http.middleware import PAGE_FOLDER
from teddy.service.http.paths import prefix_of
from teddy.service.schemas import EntitiesRequest

FOLDER = Path(__file__).parent
PAGE = "index.html"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Files and answers of this server, nothing inline, and no way to make HTML of a string."""
FOR_GOOD = "public, max-age=31536000, immutable"
EXPLAIN = "/v1/explain"


def add_page(app: FastAPI, service: Service) -> None:
    """Serve the page; what it may offer is what `app` has when this is called."""
    files = {
        path.name: path.read_bytes()
        for path in sorted(FOLDER.iterdir())
        if path.suffix in MEDIA_TYPES
    }
    digest = sha256(b"".join(files.values())).hexdigest()[:16]
    template = (FOLDER / PAGE).read_text(encoding="utf-8")
    for name, value in facts_of(app, service).items():
        template = template.replace(f"@{name}@", value)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        # Relative without a known prefix: a proxy may have removed one that it does not name.
        root = f"{prefix_of(request.scope) or '.'}{PAGE_FOLDER}{digest}"
        content = template.replace("@root@", root).encode()
        etag = f'"{sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, media_type="text/html; charset=utf-8", headers=headers)

    @app.get(f"{PAGE_FOLDER}{{version}}/{{name}}", include_in_schema=False)
    async def file(version: str, name: str) -> Response:
        if version != digest or name not in files:
            raise HTTPException(HTTPStatus.NOT_FOUND, "The page has no such file, or not any more.")
        media_type = f"{MEDIA_TYPES[Path(name).suffix]}; charset=utf-8"
        headers = {"Cache-Control": FOR_GOOD}
        return Response(files[name], media_type=media_type, headers=headers)


def facts_of(app: FastAPI, service: Service) -> dict[str, str]:
    """Return the facts of its service that the page shows: keys, models, what it offers."""
    explains = any(getattr(route, "path", None) == EXPLAIN for route in app.routes)
    return {
        "key": str(service.keys.required).lower(),
        "feedback": str(service.feedback is not None).lower(),
        "explain": str(explains).lower(),
        "readings": str("n_best" in EntitiesRequest.model_fields).lower(),
        "most_characters": str(service.settings.max_text_characters),
    }
