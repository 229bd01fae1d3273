"""How far a process has got with stopping."""


class Drain:
    """Two steps to a stop: first nobody should send more (`begun`), then no more is taken (`closed`).

    A plain object without a clock: `service/server.py` takes the steps, readiness and the door look.
    """

    __slots__ = ("_begun", "_closed")

    def __init__(self) -> None:
        self._begun = False
        self._closed = False

    @property
    def begun(self) -> bool:
        """Whether readiness says no, so that who balances loads sends requests elsewhere. They are still answered."""
        return self._begun

    @property
    def closed(self) -> bool:
        """Whether new requests are refused; those in flight are finished."""
        return self._closed

    def begin(self) -> None:
        """Take the first step."""
        self._begun = True

    def close(self) -> None:
        """Take the second step, and the first if that is not done."""
        self._begun = self._closed = True
