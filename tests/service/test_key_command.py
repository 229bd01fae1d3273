from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from teddy.service.commands import key
from teddy.service.errors import SettingsError
from teddy.service.http.callers import LEAST_CHARACTERS, Keys
from teddy.service.settings import Settings


def make(*arguments: str) -> tuple[str, str]:
    """Run the command; gives the key and its line."""
    app = typer.Typer()
    app.command()(key)
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stderr.strip().rpartition(" ")[2], done.stdout


def test_a_new_key_opens_the_door_with_its_line_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    made, line = make("--role", "admin", "--name", "operations")
    path.write_text(line)
    caller = Keys.read(Settings(api_keys_file=path)).authenticate([(b"x-api-key", made.encode())])
    assert (caller.role, caller.name) == ("admin", "operations")
    assert made not in line
    assert len(made) >= 2 * LEAST_CHARACTERS


def test_no_two_keys_are_the_same() -> None:
    assert len({make()[0] for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["a b", "-a", "a" * 65, "a#b"])
def test_a_name_that_the_file_could_not_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="--name: "):
        key(name=name)
