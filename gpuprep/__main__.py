"""The console script: `gpuprep`, or `python -m gpuprep`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command, then leaves without tearing torch down, which takes a quarter of a second for nothing."""
    if sys.argv[1:2] == ["check"] and "--require" not in sys.argv:
        from gpuprep.grading import pool_line

        # Before the rest is imported: a pool that runs gets a worker ready meanwhile.
        pool_line.call_ahead()
    from gpuprep import cli

    try:
        cli.main()
    except SystemExit as ending:
        if "torch" not in sys.modules or not isinstance(ending.code, int):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ending.code)


if __name__ == "__main__":
    main()
