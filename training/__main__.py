"""`teddy train` for torchrun: `torchrun --nproc-per-node 2 -m teddy.training RECIPE ...`."""

from teddy.cli import main

if __name__ == "__main__":
    main("train")
