"""Model files that are not quite what they were."""

import io
import json
import zipfile

from teddy.model.file.bundle import seal

OTHER_DATE = "2001-02-03T04:05:06Z"


def version_of(content: bytes) -> str:
    """The first digits of the digest at a model file's end."""
    return content[-64:].decode()[:12]


def damaged(content: bytes) -> bytes:
    """One bit is another one."""
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def redated(content: bytes) -> bytes:
    """A model file with another date, and so with another version; it finds the same."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in source.namelist():
            part = source.read(name)
            if name.endswith("/extra/manifest.json"):
                part = json.dumps({**json.loads(part), "created": OTHER_DATE}).encode()
            target.writestr(name, part)
    return seal(stream.getvalue())
