"""`teddy train` under the name that torchrun can start: `torchrun --nproc-per-node 2 -m training RECIPE ...`."""

import os
import sys

import teddy


def main() -> None:
    """Run `teddy train` with the arguments of this process, and exit as it does."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # see `teddy.main`
    sys.exit(teddy.run(["train", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
