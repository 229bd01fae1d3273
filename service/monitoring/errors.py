"""What keeps Prometheus or Alertmanager from running here."""

from teddy.service.errors import ServiceError


class MonitoringError(ServiceError):
    """The root; the message says what to do about it."""


class MissingProgramError(MonitoringError):
    """A program that is not installed."""


class PortTakenError(MonitoringError):
    """A port on which somebody else listens."""


class EndedError(MonitoringError):
    """A program that ended though nobody asked it to; the message has the last lines that it wrote."""
