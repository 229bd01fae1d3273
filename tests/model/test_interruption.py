import os
import signal
import threading

import pytest

from teddy.model.errors import JobInterrupted
from teddy.model.system.processes import SIGNALS, Interruption, interruptions


def receive(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def test_a_new_one_has_not_been_asked() -> None:
    interruption = Interruption()
    interruption.check()
    with interruption.at_once():
        pass
    assert (interruption.wanted, interruption.name) == (False, "")


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_ends_at_once(number: signal.Signals) -> None:
    with interruptions() as interruption:
        receive(number)
        assert (interruption.wanted, interruption.name) == (True, number.name)
        with pytest.raises(JobInterrupted, match=number.name):
            interruption.check()
        with pytest.raises(KeyboardInterrupt):
            receive()


def test_work_that_may_be_thrown_away_ends_where_it_is_whatever_it_catches() -> None:
    def work() -> None:
        try:
            receive()
        except Exception:  # as torch's readers are wrapped
            pytest.fail("caught")
        pytest.fail("went on")

    with interruptions() as interruption, pytest.raises(JobInterrupted), interruption.at_once():
        work()


def test_a_signal_that_came_before_ends_such_work_before_it_begins() -> None:
    with interruptions() as interruption:
        receive()
        with pytest.raises(JobInterrupted), interruption.at_once():
            pytest.fail("begun")


def test_such_work_within_other_such_work_leaves_that_as_it_is() -> None:
    def work(interruption: Interruption) -> None:
        with interruption.at_once():
            with interruption.at_once():
                pass
            receive()
            pytest.fail("went on")

    with interruptions() as interruption, pytest.raises(JobInterrupted):
        work(interruption)


def test_after_such_work_a_signal_only_asks() -> None:
    with interruptions() as interruption:
        with interruption.at_once():
            pass
        receive()
        assert interruption.wanted


def test_what_goes_wrong_in_such_work_is_told_as_it_is() -> None:
    with interruptions() as interruption, pytest.raises(ZeroDivisionError), interruption.at_once():
        raise ZeroDivisionError


def test_signals_are_as_before_when_the_job_has_ended() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with interruptions():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_another_thread_than_the_main_one_leaves_signals_alone() -> None:
    found: list[bool] = []

    def run() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with interruptions() as interruption:
            found.append(signal.getsignal(signal.SIGTERM) is before and not interruption.wanted)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [True]
