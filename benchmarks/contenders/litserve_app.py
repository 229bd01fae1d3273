"""LitServe with batching around spaCy.

python -m benchmarks.contenders.litserve_app FOLDER PORT WORKERS
"""

import sys
from typing import Any

import litserve
import spacy
from fastapi import Request

MOST_TEXTS = 64
BATCH_SECONDS = 0.005


class Entities(litserve.LitAPI):  # type: ignore[misc]
    """What LitServe runs: each worker has the pipeline, and gets texts in batches."""

    folder: str

    def setup(self, device: str) -> None:  # noqa: ARG002
        """In each worker, at its start."""
        self.nlp = spacy.load(self.folder)

    def decode_request(self, request: Request) -> str:
        """The text of a body, which LitServe has read already when it says Request."""
        text: str = request["text"]
        return text

    def predict(self, texts: list[str]) -> list[Any]:
        """A batch."""
        return list(self.nlp.pipe(texts, batch_size=MOST_TEXTS))

    def encode_response(self, document: Any) -> dict[str, Any]:
        """The answer to one text."""
        return {
            "entities": [
                {
                    "start": each.start_char,
                    "end": each.end_char,
                    "label": each.label_,
                    "text": each.text,
                }
                for each in document.ents
            ]
        }


def main() -> None:
    """Serves until it is killed."""
    folder, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    api = Entities(max_batch_size=MOST_TEXTS, batch_timeout=BATCH_SECONDS, api_path="/v1/entities")
    api.folder = folder
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=workers)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=workers,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main()
