"""What the service refuses or fails at, besides the errors of `model`.

`problems.py` gives each its status.

    TeddyError (model/errors.py)
    `-- ServiceError
        |-- keys:             UnauthorizedError, ForbiddenError
        |-- before the queue: BodyTimeoutError, BodyTooLargeError, TextTooLongError,
        |                     TooManyTextsError, MediaTypeError, EncodingError,
        |                     CompressionError, TimeoutHeaderError, UnknownModelError,
        |                     UnknownLabelError
        |-- come back later:  NotReadyError, QueueFullError, ClientShareError, ShuttingDownError
        |-- in the queue:     DeadlineError, ClientDepartedError
        |-- in the network:   InferenceError
        |-- of a correction:  FeedbackOffError, UnknownAnswerError, TooManyGuessesError,
        |                     CorrectionsFullError, CorrectionsUnwritableError
        |-- of a model:       ModelRefusedError, NotReloadableError  (the old one goes on serving)
        `-- at the start:     SettingsError, AddressError            (the process does not start)

Messages are for the caller; they never contain text that was sent.
"""

from teddy.model.errors import TeddyError


class ServiceError(TeddyError):
    """Ends a request, or the start of the service.

    Attributes: `retry_after_seconds`, when trying the same again later is likely to work; None
    otherwise.
    """

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnauthorizedError(ServiceError):
    """No API key, several, or one that is not known.

    Attributes: `reason`, which of them it was, for the log.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ForbiddenError(ServiceError):
    """A key whose role does not allow this."""


class BodyTimeoutError(ServiceError):
    """A body that arrives too slowly, or not to its end."""


class BodyTooLargeError(ServiceError):
    """More body bytes than `max_body_bytes`, or more than `max_decompressed_bytes` decompressed."""


class TextTooLongError(ServiceError):
    """A text of more characters than `max_text_characters`."""


class TooManyTextsError(ServiceError):
    """More texts in one batch than `max_texts`."""


class MediaTypeError(ServiceError):
    """A body whose media type is not JSON."""


class EncodingError(ServiceError):
    """A Content-Encoding that is neither gzip nor zstd."""


class CompressionError(ServiceError):
    """A body that cannot be decompressed as its Content-Encoding says."""


class TimeoutHeaderError(ServiceError):
    """An `X-Request-Timeout` that is not a number of seconds."""


class UnknownModelError(ServiceError):
    """A model name that is not served here."""


class UnknownLabelError(ServiceError):
    """A label that the chosen model does not have."""


class NotReadyError(ServiceError):
    """The models are still being loaded."""


class QueueFullError(ServiceError):
    """As many words are waiting as the queue holds."""


class ClientShareError(ServiceError):
    """One client has as many words waiting as one client may have."""


class ShuttingDownError(ServiceError):
    """The process finishes the requests it has accepted and takes no more."""


class DeadlineError(ServiceError):
    """The answer was not ready within the request's time."""


class ClientDepartedError(ServiceError):
    """The client closed the connection before its answer was ready."""


class InferenceError(ServiceError):
    """The network failed on these windows; the cause is chained, for the log only."""


class FeedbackOffError(ServiceError):
    """A correction where `feedback_dir` is not set."""


class UnknownAnswerError(ServiceError):
    """A correction that fits no answer that is remembered for this caller under its request id."""


class TooManyGuessesError(ServiceError):
    """As many corrections of answers as a caller may send in vain."""


class CorrectionsFullError(ServiceError):
    """As many bytes of corrections as `feedback_max_bytes`, or a full disk. Nothing was stored."""


class CorrectionsUnwritableError(ServiceError):
    """The directory of corrections cannot be written to. Nothing was stored."""


class ModelRefusedError(ServiceError):
    """A model file that may not replace the served one; the message gives the reason."""


class NotReloadableError(ServiceError):
    """A reload while another one of the same model is in progress."""


class SettingsError(ServiceError):
    """A `TEDDY_*` variable or an option of `teddy serve` with a value that cannot work."""


class AddressError(ServiceError):
    """The host and port cannot be listened on."""
