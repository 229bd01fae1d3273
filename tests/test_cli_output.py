"""Standard output that is closed, or of another encoding than UTF-8."""

import os
import subprocess
import sys


def test_output_is_utf_8_in_a_pipe_whatever_the_locale_says() -> None:
    command = [sys.executable, "-m", "teddy", "inspect", "--card", "de"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True
    )
    assert done.returncode == 0
    assert not done.stdout.decode("utf-8").isascii()


def test_a_closed_output_is_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m teddy tag "Ada met Grace in Oslo." >&-', sys.executable],
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pipe_is_read_where_neither_a_text_nor_an_input_is_given() -> None:
    for command in ("tag", "redact"):
        arguments = [sys.executable, "-m", "teddy", command]
        text = b"Ada went to Oslo"
        piped, named = (
            subprocess.run([*arguments, *more], input=text, capture_output=True)
            for more in ((), ("--input", "-"))
        )
        assert piped.returncode == 0
        assert piped.stdout == named.stdout != b""
        without = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True)
        assert without.returncode == 2
