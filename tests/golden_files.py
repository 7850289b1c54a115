"""Compares text with a file in tests/golden. GPUPREP_UPDATE_GOLDEN=1 writes the files instead; read the diff then."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """The text is what the golden file holds."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GPUPREP_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs; GPUPREP_UPDATE_GOLDEN=1 rewrites it"
