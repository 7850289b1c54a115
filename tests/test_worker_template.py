"""The fork-server: what makes its forks safe, and that nothing survives a guardian."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import are_gone

from gpuprep.grading import pool as pools
from gpuprep.grading.pool import WarmPool

CHECKOUT = Path(__file__).resolve().parent.parent


def told(code: str) -> list[str]:
    """The lines that this code prints in a process of its own, which has no threads and no children yet."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    return ran.stdout.splitlines()


def test_a_fork_beside_a_thread_is_refused() -> None:
    """With one thread a fork is safe; with a second one, which could hold a lock for ever in the child, it is not."""
    lines = told("""
        import threading
        from gpuprep.worker.template import why_not_fork
        print(why_not_fork() or "safe")
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        print(why_not_fork())
    """)
    assert lines == ["safe", "2 threads are running"]


def test_a_fork_after_cuda_is_refused() -> None:
    """CUDA does not survive a fork, so a template that has initialised it makes none."""
    lines = told("""
        import sys, types
        from gpuprep.worker.template import why_not_fork
        sys.modules["torch"] = types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=lambda: True))
        print(why_not_fork())
    """)
    assert lines == ["CUDA is initialised"]


def test_all_descendants_are_ended_but_those_to_keep() -> None:
    """Children, and what they left behind in sessions of their own, are killed and buried; the others live on."""
    lines = told("""
        import os, time
        from gpuprep.worker import template

        def child(n_deep):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                for _ in range(n_deep):
                    if os.fork():
                        os._exit(0)
                    os.setsid()
                time.sleep(600)
            return pid

        template._become_reaper()
        kept = child(0)
        for n_deep in (0, 1, 3):
            child(n_deep)
        time.sleep(0.2)
        print(len(template.children()) > 2, template.end_children(but={kept}), template.children() == {kept})
        print(template.end_children(but=set()), template.children())
    """)
    assert lines == ["True True True", "True set()"]


@pytest.fixture(scope="module", params=["interpreted", "compiled", "trusted"])
def template(request: pytest.FixtureRequest) -> Iterator[psutil.Process]:
    """A warm template of each kind."""
    with WarmPool() as pool:
        pool.start(request.param)
        assert pool.wait_until_warm()
        yield psutil.Process(pool.pids()[request.param])


def test_template_has_one_thread(template: psutil.Process) -> None:
    """Importing torch, Triton and NumPy, and the rehearsal, start none."""
    assert template.num_threads() == 1


def test_template_shares_no_writable_memory(template: psutil.Process) -> None:
    """What one worker writes reaches no other by a mapping that both inherited."""
    maps = Path(f"/proc/{template.pid}/maps").read_text(encoding="utf-8").splitlines()
    assert [line for line in maps if line.split()[1] == "rw-s"] == []


def test_template_holds_few_descriptors(template: psutil.Process) -> None:
    """Its stdio leads nowhere, and beside that it has its two sockets."""
    links = {int(link.name): str(link.readlink()) for link in Path(f"/proc/{template.pid}/fd").iterdir()}
    assert {links[number] for number in (0, 1, 2)} == {"/dev/null"}
    assert len([name for name in links.values() if name.startswith("socket:")]) == 2
    assert len(links) == 5


def test_template_has_a_session_and_an_environment_of_its_own(template: psutil.Process) -> None:
    """Ctrl-C at the terminal does not reach it, and tokens of the grading process don't either."""
    assert os.getsid(template.pid) == template.pid
    assert set(template.environ()) <= {*pools.environment("cpu"), "LC_CTYPE"}


def test_template_ends_with_its_owner() -> None:
    """An owner that is killed takes its templates along."""
    code = "from gpuprep.grading.pool import WarmPool\npool = WarmPool()\npool.start('interpreted')\n"
    code += "assert pool.wait_until_warm()\nprint(*pool.pids().values(), flush=True)\nimport time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as owner:
        assert owner.stdout is not None
        template = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    assert are_gone([template])
