"""`python -m teddy`: the command `teddy`."""

from teddy.cli import main

if __name__ == "__main__":
    main()
