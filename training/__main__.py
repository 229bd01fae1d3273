"""`teddy train` under the name that torchrun can start: `torchrun --nproc-per-node 2 -m teddy.training RECIPE ...`."""

import os
import sys

from teddy import cli


def main() -> None:
    """Run `teddy train` with the arguments of this process, and exit as it does."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # see `teddy.cli.main`
    sys.exit(cli.run(["train", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
