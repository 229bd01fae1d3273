"""What the service refuses or fails at, besides what `model` refuses.

`problems.py` gives each its status.

    TeddyError (model/errors.py)
    `-- ServiceError
        |-- at the gate:       UnauthorizedError, ForbiddenError
        |-- before the queue:  BodyTimeoutError, BodyTooLargeError, TextTooLongError, TooManyTextsError, MediaTypeError,
        |                      EncodingError, CompressionError, TimeoutHeaderError, UnknownModelError, UnknownLabelError
        |-- at the door:       NotReadyError, QueueFullError, ClientShareError,
        |                      ShuttingDownError                                    (come back later: Retry-After)
        |-- in the queue:      DeadlineError, ClientDepartedError
        |-- in the network:    InferenceError
        |-- of a correction:   FeedbackOffError, UnknownAnswerError, CorrectionsFullError, CorrectionsUnwritableError
        |-- of a model:        ModelRefusedError, NotReloadableError                (the old one goes on serving)
        `-- before all that:   SettingsError, AddressError                          (the process does not start)

Messages are for the person who called; they never hold a text that was sent.
"""

from teddy.model.errors import TeddyError


class ServiceError(TeddyError):
    """A request, or a start of the service, that ends here.

    Attributes: `retry_after_seconds`, when trying the same again later is likely to work; None
    otherwise.
    """

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnauthorizedError(ServiceError):
    """No API key, or one that is not known."""


class ForbiddenError(ServiceError):
    """A key whose role does not allow this."""


class BodyTimeoutError(ServiceError):
    """A body that comes too slowly, or not to its end."""


class BodyTooLargeError(ServiceError):
    """More body bytes than `max_body_bytes`, announced or counted, or than `max_decompressed_bytes` unpacked."""


class TextTooLongError(ServiceError):
    """A text of more characters than `max_text_characters`."""


class TooManyTextsError(ServiceError):
    """More texts in one batch than `max_texts`."""


class MediaTypeError(ServiceError):
    """A body that does not call itself JSON."""


class EncodingError(ServiceError):
    """A Content-Encoding that is neither gzip nor zstd."""


class CompressionError(ServiceError):
    """A body that cannot be unpacked as its Content-Encoding says."""


class TimeoutHeaderError(ServiceError):
    """An `X-Request-Timeout` that is not a number of seconds."""


class UnknownModelError(ServiceError):
    """A model name that is not served here."""


class UnknownLabelError(ServiceError):
    """A label that the chosen model does not give."""


class NotReadyError(ServiceError):
    """The models are still being loaded."""


class QueueFullError(ServiceError):
    """As many words are waiting as may wait."""


class ClientShareError(ServiceError):
    """One client has as many words waiting as one client may have."""


class ShuttingDownError(ServiceError):
    """The process finishes what it has accepted and takes no more."""


class DeadlineError(ServiceError):
    """The answer was not there within `request_timeout_seconds`."""


class ClientDepartedError(ServiceError):
    """The client closed the connection before its answer was there."""


class InferenceError(ServiceError):
    """The network failed on these windows; the cause is chained, for the log only."""


class FeedbackOffError(ServiceError):
    """A correction where none are taken: `feedback_dir` is not set."""


class UnknownAnswerError(ServiceError):
    """A request id under which no answer is remembered for this caller."""


class CorrectionsFullError(ServiceError):
    """As many bytes of corrections as `feedback_max_bytes`, or a full disk. Nothing was stored."""


class CorrectionsUnwritableError(ServiceError):
    """The directory of corrections cannot be written to. Nothing was stored."""


class ModelRefusedError(ServiceError):
    """A model file that was to replace a served one and may not: the message says why."""


class NotReloadableError(ServiceError):
    """A reload that cannot be done now: another one of this model is under way."""


class SettingsError(ServiceError):
    """A `TEDDY_*` variable or an option of `teddy serve` with a value that does not do."""


class AddressError(ServiceError):
    """The host and port cannot be listened on."""
