"""Settings that make VS Code show a workspace's exercises as tests."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

LINE_LENGTH = 120
"""What the stubs are formatted with."""

FOLDER = ".vscode"


def settings_files() -> dict[str, bytes]:
    """The files of `.vscode/`, by path relative to the workspace."""
    return {f"{FOLDER}/settings.json": _json(_settings()), f"{FOLDER}/extensions.json": _json(_extensions())}


def has_pytest() -> bool:
    """True where the environment that gpuprep is in can run tests."""
    return importlib.util.find_spec("pytest") is not None


def _settings() -> dict[str, Any]:
    return {
        "python.testing.pytestEnabled": True,
        "python.testing.unittestEnabled": False,
        "python.testing.pytestArgs": ["exercises"],
        # The editor's own search for an environment would miss the one that this gpuprep is in.
        "python.defaultInterpreterPath": sys.executable,
        "editor.rulers": [LINE_LENGTH],
        "files.associations": {"*.cu": "cuda-cpp"},
        "files.exclude": {".gpuprep": True, "**/__pycache__": True},
    }


def _extensions() -> dict[str, Any]:
    return {"recommendations": ["ms-python.python", "ms-python.debugpy", "ms-vscode.cpptools"]}


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
