"""What the service refuses or fails at, besides what `model` refuses. `service/problems.py` gives each its HTTP status.

    TeddyError (model/errors.py)
    `-- ServiceError
        |-- before the queue:  BodyTooLargeError, TooManyTextsError, MediaTypeError,
        |                      UnknownModelError, UnknownLabelError
        |-- at the door:       NotReadyError, QueueFullError, ShuttingDownError      (come back later: Retry-After)
        |-- in the queue:      DeadlineError, ClientDepartedError
        |-- in the network:    InferenceError
        `-- before all that:   SettingsError, AddressError                           (the process does not start)

Messages are for the person who called; they never hold a text that was sent.
"""

from model.errors import TeddyError


class ServiceError(TeddyError):
    """A request, or a start of the service, that ends here.

    Attributes: `retry_after_seconds`, when trying the same again later is likely to work; None otherwise.
    """

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BodyTooLargeError(ServiceError):
    """More body bytes than `max_body_bytes`, announced or counted."""


class TooManyTextsError(ServiceError):
    """More texts in one batch than `max_texts`."""


class MediaTypeError(ServiceError):
    """A body that does not call itself JSON."""


class UnknownModelError(ServiceError):
    """A model name that is not served here."""


class UnknownLabelError(ServiceError):
    """A label that the chosen model does not give."""


class NotReadyError(ServiceError):
    """The models are still being loaded."""


class QueueFullError(ServiceError):
    """As many words are waiting as may wait."""


class ShuttingDownError(ServiceError):
    """The process finishes what it has accepted and takes no more."""


class DeadlineError(ServiceError):
    """The answer was not there within `request_timeout_seconds`."""


class ClientDepartedError(ServiceError):
    """The client closed the connection before its answer was there."""


class InferenceError(ServiceError):
    """The network failed on these windows; the cause is chained, for the log only."""


class SettingsError(ServiceError):
    """A `TEDDY_*` variable or an option of `teddy serve` with a value that does not do."""


class AddressError(ServiceError):
    """The host and port cannot be listened on."""
