"""The console script: `gpuprep`, or `python -m gpuprep`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from gpuprep.errors import INTERRUPTED


def main() -> NoReturn:
    """Runs the command, then leaves without tearing anything down: with torch that takes a quarter of a second."""
    if sys.argv[1:2] == ["check"]:
        from gpuprep.practice.ahead import call_ahead

        # Before the rest is imported.
        call_ahead(sys.argv[2:])
    try:
        from gpuprep import cli

        cli.main()
    except KeyboardInterrupt:
        # In the first moments, while nothing had begun yet; later, commands say what became of their work.
        os._exit(INTERRUPTED)
    except SystemExit as ending:
        if not isinstance(ending.code, int):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ending.code)


if __name__ == "__main__":
    main()
