from teddy.service.process.control import Drain


def test_a_drain_begins_and_then_closes() -> None:
    drain = Drain()
    assert (drain.begun, drain.closed) == (False, False)
    drain.begin()
    assert (drain.begun, drain.closed) == (True, False)
    drain.close()
    assert (drain.begun, drain.closed) == (True, True)


def test_what_is_closed_has_begun_to_drain() -> None:
    drain = Drain()
    drain.close()
    assert drain.begun
    drain.begin()
    assert drain.closed
