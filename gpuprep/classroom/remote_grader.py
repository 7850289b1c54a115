"""A grader on a machine of a cluster: what Ray's actors and Slurm's jobs do.

It unpacks the curriculum once, and each task's files, and has a grader process of `classroom.local` grade them: the
same process, with the same warm pool and the same limits, as on the instructor's machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from gpuprep.classroom.executor import Task
from gpuprep.classroom.local import LocalExecutor
from gpuprep.classroom.parcels import Kit, Parcel
from gpuprep.errors import GpuprepError

FOLDER_PREFIX = "gpuprep-grader-"
_SWEEP = """
exec 3<&0
(read -r _ <&3; n=0; while [ -e "$0" ] && [ $n -lt 20 ]; do rm -rf -- "$0"; sleep 0.5; n=$((n+1)); done) &
"""
"""Removes a folder when nobody holds the other end of its input any more. In the background, and so nobody's child: Ray
kills an actor's children first, and a grader that is killed can't clear away."""


class RemoteGrader:
    """Grades parcels, one at a time.

    What it needs lies in a folder of its own, which goes when it is closed, and also when its process is killed.

    Args:
        kit: what came with the first task.
    """

    def __init__(self, kit: Kit) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self._lifeline = _swept(self._folder)
        self._executor = LocalExecutor(1, self._folder, kit.device)
        self._why_unfit = ""
        self._n_graded = 0
        try:
            self._curriculum = kit.unpacked(self._folder)
        except (GpuprepError, OSError) as error:
            self._why_unfit = f"{os.uname().nodename}: {error}"

    def why_unfit(self) -> str:
        """Why nothing can be graded here; empty where nothing is known against it."""
        return self._why_unfit

    def grade(self, parcel: str) -> dict[str, Any]:
        """Grade one.

        Returns:
            What `Finished.from_answer` reads.
        """
        if self._why_unfit:
            return {"fault": self._why_unfit, "is_unfit": True}
        self._n_graded += 1
        files = self._folder / f"file-{self._n_graded}"
        try:
            asked = Parcel.from_json(parcel)
            (finished,) = self._executor.run([asked.unpacked(files, self._curriculum)])
        except (ValueError, OSError) as error:
            return {"fault": str(error)}
        except GpuprepError as error:
            # No grader starts.
            return {"fault": f"{os.uname().nodename}: {error.message}", "is_unfit": True}
        finally:
            shutil.rmtree(files, ignore_errors=True)
        if finished.is_unfit:
            return {"fault": f"{os.uname().nodename}: {finished.fault}", "is_unfit": True}
        return _with_paths_of(asked.task, finished.as_answer(), files)

    def close(self) -> None:
        """End the grader, and remove what was unpacked."""
        self._executor.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lifeline.close()


def _swept(folder: Path) -> BinaryIO:
    """Have a folder removed when this process ends, or closes what is returned."""
    end, ours = os.pipe()
    with os.fdopen(end, "rb") as theirs:
        command = ["sh", "-c", _SWEEP, str(folder)]
        quiet = subprocess.DEVNULL
        subprocess.run(command, stdin=theirs, stdout=quiet, stderr=quiet, check=True, start_new_session=True)
    return os.fdopen(ours, "wb")


def _with_paths_of(task: Task, answer: dict[str, Any], files: Path) -> dict[str, Any]:
    """The answer as it would be if it had been graded at home: it names the files there."""
    here, home = (json.dumps(str(folder))[1:-1] for folder in (files, Path(task.path).parent))
    told: dict[str, Any] = json.loads(json.dumps(answer).replace(here, home))
    return told
