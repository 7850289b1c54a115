"""The counting worker, asked with recipes of our own making: what it runs, what it counts, and what it refuses."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from gpuprep.grading.process import WorkerProcess

Replay = Callable[..., dict[str, Any]]

ADD = """
@triton.jit
def add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    tl.store(out_ptr + offsets, x + tl.load(y_ptr + offsets, mask=offsets < n), mask=offsets < n)
"""
TL = {"tl": {"module": "triton.language"}}
N = 100


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    """Has one worker follow recipes."""
    with WorkerProcess("witness", is_trusted=True) as worker:
        worker.wait_until_ready()
        assert worker.can_count

        def ask(recipe: dict[str, Any], *args: Any, reverse: bool = False) -> dict[str, Any]:
            request = {"do": "replay", "recipe": recipe, "args": args or (X, Y), "reverse": reverse}
            return worker.ask(request, deadline=time.monotonic() + 60)

        yield ask


X, Y = torch.arange(float(N)), torch.full((N,), 0.5)


def function(source: str, **meanings: Any) -> dict[str, Any]:
    """A function's description."""
    source = textwrap.dedent(source).strip("\n")
    name = next(line for line in source.splitlines() if line.startswith("def ")).split("(")[0].removeprefix("def ")
    return {"name": name, "source": source, "line": 7, "path": "/solution.py", "globals": {**TL, **meanings}}


def place(number: int, *shape: int, dtype: str = "float32", offset: int = 0) -> list[Any]:
    """Where a contiguous tensor lies."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return [number, dtype, list(shape), strides, offset]


def launch(*tensors: int, n: int = N, grid: list[int] | None = None, function: int = 0) -> dict[str, Any]:
    """A launch of ADD."""
    names = ("x_ptr", "y_ptr", "out_ptr")
    args = {name: {"tensor": place(tensor, N)} for name, tensor in zip(names, tensors, strict=True)}
    return {"launch": function, "grid": grid or [4], "args": {**args, "n": n, "BLOCK": 32}}


MAKE = {"make": 2, "bytes": 4 * N, "dtype": "float32", "fill": None}


def recipe(*steps: dict[str, Any], functions: list[dict[str, Any]] | None = None, output: Any = None) -> dict[str, Any]:
    """A recipe with one output, which is storage 2 unless said."""
    return {
        "functions": [function(ADD)] if functions is None else functions,
        "steps": list(steps),
        "outputs": [output or place(2, N)],
        "why_not": "",
    }


def test_launch_is_run_and_counted(replay: Replay) -> None:
    """A kernel's source, a grid and arguments give outputs, counts, and elements that it stored."""
    seen = replay(recipe(MAKE, launch(0, 1, 2)))
    assert seen["status"] == "returned"
    assert torch.equal(seen["outputs"][0], X + Y)
    assert seen["stored"] == [N]
    assert (seen["work"]["bytes_loaded"], seen["work"]["bytes_stored"]) == (8 * N, 4 * N)
    assert (seen["work"]["launches"], seen["work"]["programs"]) == (1, 4)
    assert torch.equal(seen["args"][0], X)


SHIFT = """
def shift(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    before = tl.load(out_ptr + offsets - 1, mask=(offsets > 0) & (offsets < n), other=0.0)
    tl.store(out_ptr + offsets, before + 1, mask=offsets < n)
"""
SAME = """
def same(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    tl.store(out_ptr + tl.arange(0, BLOCK), 1.0)
"""
COUNT = """
def count(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    tl.atomic_add(out_ptr + tl.program_id(0), 1.0)
"""
HALVES = """
def halves(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    halves = (x_ptr + tl.program_id(0)).to(tl.pointer_type(tl.float16), bitcast=True)
    tl.store(out_ptr + tl.program_id(0), tl.load(halves).to(tl.float32))
"""
KEEPS = """
def keeps(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr, kept={default}):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    kept += {more}
    tl.store(out_ptr + offsets, 1.0 * len(kept), mask=offsets < n)
"""


@pytest.mark.parametrize(
    ("source", "is_free"),
    [
        (ADD.replace("@triton.jit", ""), True),
        (SHIFT, False),
        (SAME, False),
        (COUNT, False),
        (HALVES, False),
        (KEEPS.format(default="[]", more="[0]"), False),
        (KEEPS.format(default="[0 for _ in range(1)]", more="[0]"), False),
    ],
    ids=["add", "reads another's", "stores another's", "atomic", "other width", "grows a list", "made by a call"],
)
def test_order_is_free_where_no_program_can_know_of_another(replay: Replay, source: str, is_free: bool) -> None:
    """Through memory, or through a default value that changes; then launches are run in another order as well."""
    seen = replay(recipe({**MAKE, "fill": None}, launch(0, 1, 2), functions=[function(source)]))
    assert seen["status"] == "returned", seen
    assert seen["is_order_free"] is is_free


def test_one_program_has_no_order(replay: Replay) -> None:
    """Whatever it does."""
    seen = replay(recipe(MAKE, launch(0, 1, 2, grid=[1]), functions=[function(COUNT)]))
    assert seen["is_order_free"] is True


def test_work_of_several_launches_adds_up(replay: Replay) -> None:
    """Each launch is recorded by itself; the sum is reported."""
    seen = replay(recipe(MAKE, launch(0, 1, 2), launch(2, 1, 2)))
    assert seen["work"]["launches"] == 2
    assert seen["work"]["bytes_stored"] == 8 * N
    assert torch.equal(seen["outputs"][0], X + 2 * Y)


def test_functions_may_name_each_other_and_constants(replay: Replay) -> None:
    """A kernel's globals are numbers, dtypes, constexprs, modules of Triton's and functions, itself among them."""
    kernel = """
    def scaled(x_ptr, out_ptr, pair, KIND: tl.constexpr, BLOCK: tl.constexpr = 64):
        offsets = tl.arange(0, BLOCK)
        x = halve(tl.load(x_ptr + offsets).to(KIND), 1)
        tl.store(out_ptr + offsets, x * SCALE * pair[1] + triton.cdiv(WIDTH, 2) * math.pi * 0)
    """
    halve = """
    def halve(x, times: tl.constexpr):
        if times == 0:
            return x
        return halve(x / 2, times - 1)
    """
    functions = [
        function(
            kernel,
            SCALE=3.0,
            WIDTH={"constexpr": 4},
            halve={"function": 1},
            math={"module": "math"},
            triton={"module": "triton"},
        ),
        function(halve, halve={"function": 1}),
    ]
    args = {
        "x_ptr": {"tensor": place(0, 64)},
        "out_ptr": {"tensor": place(2, N)},
        "pair": {"tuple": [1, 2]},
        "KIND": {"dtype": "fp32"},
    }
    step = {"launch": 0, "grid": [1], "args": args}
    seen = replay(recipe(MAKE, step, functions=functions, output=place(2, 64)))
    assert seen["status"] == "returned", seen
    assert torch.allclose(seen["outputs"][0], X[:64] * 3)


def test_reduction_with_a_function_of_the_recipe(replay: Replay) -> None:
    """`tl.reduce` calls a jit function by itself."""
    largest = "def largest(a, b):\n    return tl.maximum(a, b)"
    kernel = """
    def reduce(x_ptr, out_ptr):
        tl.store(out_ptr, tl.reduce(tl.load(x_ptr + tl.arange(0, 64)), 0, largest))
    """
    step = {
        "launch": 0,
        "grid": [1],
        "args": {"x_ptr": {"tensor": place(0, 64)}, "out_ptr": {"tensor": place(2, N)}},
    }
    functions = [function(kernel, largest={"function": 1}), function(largest)]
    seen = replay(recipe(MAKE, step, functions=functions, output=place(2)))
    assert float(seen["outputs"][0]) == 63.0


def test_finding_names_the_learners_line(replay: Replay) -> None:
    """Lines are counted from where the function stood in its file."""
    seen = replay(recipe(MAKE, launch(0, 1, 2, n=N + 1)))
    assert seen["status"] == "stopped"
    (finding,) = seen["findings"]
    assert (finding["kind"], finding["path"], finding["line"]) == ("out_of_bounds", "/solution.py", 10)


def test_order_can_be_reversed(replay: Replay) -> None:
    """A kernel whose last program wins gives another result backwards."""
    last = "def last(out_ptr):\n    tl.store(out_ptr, tl.program_id(0).to(tl.float32))"
    step = {"launch": 0, "grid": [3], "args": {"out_ptr": {"tensor": place(2, N)}}}
    asked = recipe(MAKE, step, functions=[function(last)], output=place(2))
    assert float(replay(asked)["outputs"][0]) == 2.0
    assert float(replay(asked, reverse=True)["outputs"][0]) == 0.0
    assert replay(asked)["findings"][0]["kind"] == "race"


# Host operations


def test_unwritten_memory_is_poison(replay: Replay) -> None:
    """What no kernel wrote is NaN, and nobody's work."""
    seen = replay(recipe(MAKE))
    assert bool(seen["outputs"][0].isnan().all())
    assert seen["stored"] == [0]


def test_fill_is_a_constants_work_and_counts_as_host_operation(replay: Replay) -> None:
    """Zeros and other constants can't hold anything of the inputs; they cost what a fill costs."""
    seen = replay(recipe({**MAKE, "fill": "0000803f"}))
    assert torch.equal(seen["outputs"][0], torch.ones(N))
    assert seen["stored"] == [N]
    assert [(op["name"], op["numel"]) for op in seen["host_ops"]] == [("aten.full", N)]


def test_contents_are_used_but_are_nobodys_work(replay: Replay) -> None:
    """A table that host code made can be loaded; handed out as a result, it was not a kernel's."""
    contents = (X * 3).view(torch.uint8)
    seen = replay(recipe({"make": 2, "contents": contents}))
    assert torch.equal(seen["outputs"][0], X * 3)
    assert seen["stored"] == [0]
    made = {**MAKE, "make": 3}
    seen = replay(recipe({"make": 2, "contents": contents}, made, launch(2, 1, 3), output=place(3, N)))
    assert torch.equal(seen["outputs"][0], X * 3 + Y)
    assert seen["stored"] == [N]


def test_copy_of_an_input_is_nobodys_work(replay: Replay) -> None:
    """Only bytes that a kernel or a constant wrote are passed on as such."""
    seen = replay(recipe(MAKE, {"copy": place(0, N), "into": place(2, N)}))
    assert torch.equal(seen["outputs"][0], X)
    assert seen["stored"] == [0]
    assert [(op["name"], op["numel"]) for op in seen["host_ops"]] == [("aten.clone", N)]


def test_copy_of_a_kernels_result_stays_the_kernels_work(replay: Replay) -> None:
    """Also through a transposition, element by element."""
    copied = {**MAKE, "make": 3}
    source, target = [2, "float32", [10, 10], [1, 10], 0], place(3, 10, 10)
    half = launch(0, 1, 2, n=50)
    seen = replay(recipe(MAKE, copied, half, {"copy": source, "into": target}, output=target))
    expected = (X + Y).view(10, 10).t()
    assert torch.equal(seen["outputs"][0][:, :5], expected[:, :5])
    assert seen["stored"] == [50]


def test_kernel_that_writes_over_a_copy_makes_it_its_own(replay: Replay) -> None:
    """The last writer counts."""
    seen = replay(recipe(MAKE, {"copy": place(0, N), "into": place(2, N)}, launch(0, 1, 2)))
    assert seen["stored"] == [N]


def test_single_elements_are_computed_with(replay: Replay) -> None:
    """Arithmetic and casts of one element are done again, and are as much a kernel's work as their operands."""
    half = {"make": 3, "bytes": 2, "dtype": "float16", "fill": None}
    steps = [
        {"compute": ["mul", place(2, 1, offset=3), 2.0], "into": place(2, 1, offset=3)},
        {"copy": place(2, 1, offset=3), "into": place(3, dtype="float16")},
    ]
    seen = replay(recipe(MAKE, launch(0, 1, 2), half, *steps, output=place(3, dtype="float16")))
    assert float(seen["outputs"][0]) == 7.0
    assert seen["stored"] == [1]
    seen = replay(recipe(MAKE, {"copy": place(0, 1), "into": place(2)}, output=place(2)))
    assert seen["stored"] == [0]
    seen = replay(recipe(MAKE, {"copy": 0, "into": place(2)}, output=place(2)))
    assert (float(seen["outputs"][0]), seen["stored"]) == (0.0, [1])


def test_more_than_single_elements_is_beyond(replay: Replay) -> None:
    """Host code has no business to compute on whole tensors."""
    step = {"compute": ["add", place(0, N), place(1, N)], "into": place(2, N)}
    assert replay(recipe(MAKE, step))["status"] == "unfollowed"


def test_arguments_that_share_memory_do_so_in_a_recipe(replay: Replay) -> None:
    """Storages are numbered, not arguments: two views of one make one number."""
    both = torch.cat([X, Y])
    made = {**MAKE, "make": 1}
    step = launch(0, 0, 1)
    step["args"]["y_ptr"]["tensor"][4] = N
    seen = replay(recipe(made, step, output=place(1, N)), both[:N], both[N:])
    assert torch.equal(seen["outputs"][0], X + Y)


# What is refused


def body(*lines: str, **meanings: Any) -> dict[str, Any]:
    """A recipe that launches a kernel with these lines."""
    source = "def kernel(x_ptr, out_ptr):\n" + textwrap.indent("\n".join(lines), "    ")
    args = {"x_ptr": {"tensor": place(0, N)}, "out_ptr": {"tensor": place(2, N)}}
    return recipe(MAKE, {"launch": 0, "grid": [1], "args": args}, functions=[function(source, **meanings)])


FORBIDDEN = {
    "import": ("import os",),
    "import from": ("from os import system",),
    "global": ("global x", "x = 1"),
    "dunder attribute": ("x = ().__class__",),
    "dunder name": ("x = __builtins__",),
    "__import__": ("x = __import__('os')",),
    "eval": ("eval('1')",),
    "open": ("open('/etc/passwd')",),
    "getattr": ("getattr(tl, 'core')",),
    "the interpreter's own names": ("x = interpreter_semantic",),
}
BEYOND = {
    "private attribute": ("x = tl._experimental",),
    "module of Triton's": ("x = tl.core.builtins",),
    "memory of a tensor": ("x = tl.program_id(0).handle.data",),
    "str.format": ("x = '{0.real}'.format(1)",),
    "assignment to an attribute": ("tl.load = tl.store",),
    "assignment to an element": ("[1][0] = 2",),
    "lambda": ("f = lambda: 1",),
    "a function inside": ("def f():", "    return 1"),
    "class": ("class A:", "    pass"),
    "try": ("try:", "    pass", "except ValueError:", "    pass"),
    "with": ("with x_ptr:", "    pass"),
    "generator": ("yield 1",),
    "dictionary": ("x = {}",),
    "two stars": ("tl.load(**x_ptr)",),
    "a wrapper's own argument": ("tl.load(x_ptr, member=tl.store)",),
    "deletion": ("del x_ptr",),
    "an f-string's attribute": ("x = f'{x_ptr.handle}'",),
}


@pytest.mark.parametrize("lines", FORBIDDEN.values(), ids=FORBIDDEN)
def test_python_that_no_kernel_can_be_is_forbidden(replay: Replay, lines: tuple[str, ...]) -> None:
    """Ways out of a namespace that Triton's compiler would not take either."""
    seen = replay(body(*lines))
    assert seen["status"] == "forbidden", seen
    assert seen["message"]


@pytest.mark.parametrize("lines", BEYOND.values(), ids=BEYOND)
def test_what_is_not_on_the_list_is_not_run(replay: Replay, lines: tuple[str, ...]) -> None:
    """Syntax and attributes that aren't known to be harmless are beyond this worker."""
    seen = replay(body(*lines))
    assert seen["status"] == "unfollowed", seen
    assert seen["message"]


def test_default_values_are_inspected_too(replay: Replay) -> None:
    """They are evaluated before any launch."""
    source = "def kernel(x_ptr, n=().__class__):\n    pass"
    assert replay(recipe(functions=[function(source)]))["status"] == "forbidden"


def test_text_hidden_in_a_string_is_text(replay: Replay) -> None:
    """Only the function that was inspected is ever run, whatever its strings look like."""
    source = 'def kernel(x_ptr):\n    """\ndef kernel(x_ptr):\n    import os\n    """\n    pass'
    step = {"launch": 0, "grid": [1], "args": {"x_ptr": {"tensor": place(0, N)}}}
    assert replay(recipe(MAKE, step, functions=[function(source)]))["status"] == "returned"


def test_names_that_mean_other_things_are_named(replay: Replay) -> None:
    """A module is forbidden where it is called; anything else is beyond, by name."""
    assert replay(body("np.add(1, 2)", np={"other": "module numpy"}))["status"] == "forbidden"
    seen = replay(body("x = table", table={"other": "a dict"}))
    assert (seen["status"], seen["message"]) == ("unfollowed", "table, which is a dict")
    assert replay(body("table = 1", table={"other": "a dict"}))["status"] == "returned"


def test_builtins_are_few(replay: Replay) -> None:
    """A name that is not there is an error of the kernel, as on a card."""
    seen = replay(body("x = sorted([1])"))
    assert seen["status"] == "raised"
    assert "sorted" in seen["message"]


def test_addresses_that_are_no_tensors_are_out_of_bounds(replay: Replay) -> None:
    """An integer for a pointer reads nothing of this process."""
    seen = replay(body("p = (tl.program_id(0).to(tl.int64) + 4096).to(tl.pointer_type(tl.float32))", "tl.load(p)"))
    assert seen["status"] == "stopped"


COPY = """
@triton.jit
def copy(x_tiles, out_tiles):
    start = tl.program_id(0) * 32
    out_tiles.store([start], x_tiles.load([start]))
"""


def copied(**changes: Any) -> dict[str, Any]:
    """A launch of COPY, from a descriptor of x with these changes to one of a new tensor."""
    described = {"shape": [N], "strides": [1], "block_shape": [32], "padding": "zero"}
    tiles = {"x_tiles": {"descriptor": place(0, N), **described, **changes}}
    tiles["out_tiles"] = {"descriptor": place(2, N), **described}
    return recipe(MAKE, {"launch": 0, "grid": [4], "args": tiles}, functions=[function(COPY)])


def test_descriptors_are_made_again(replay: Replay) -> None:
    """What a kernel loads and stores through a tensor descriptor is counted as what it does through a pointer."""
    seen = replay(copied())
    assert torch.equal(seen["outputs"][0], X)
    assert seen["stored"] == [N]
    assert (seen["work"]["bytes_loaded"], seen["work"]["bytes_stored"]) == (4 * N, 4 * N)
    assert seen["work"]["bytes_loaded_of"] == [4 * N, 0]


def test_descriptor_that_reaches_past_its_tensor_is_out_of_bounds(replay: Replay) -> None:
    """The shape that a descriptor claims gives it no more than the tensor has."""
    assert replay(copied(shape=[2 * N]))["status"] == "stopped"


BROKEN: dict[str, dict[str, Any]] = {
    "no steps": {"functions": [], "outputs": []},
    "a step that is none": recipe({"trust": "me"}),
    "a number that is none": recipe({**MAKE, "make": "two"}),
    "a number out of turn": recipe({**MAKE, "make": 7}),
    "an input made anew": recipe({**MAKE, "make": 0}),
    "a size below zero": recipe({**MAKE, "bytes": -4}),
    "a fill of another width": recipe({**MAKE, "fill": "00"}),
    "a fill that is no hex": recipe({**MAKE, "fill": "zz"}),
    "contents that are no tensor": recipe({"make": 2, "contents": "abc"}),
    "an output outside": recipe(MAKE, output=place(2, N + 1)),
    "an offset outside": recipe(MAKE, output=place(2, 1, offset=N)),
    "an offset below": recipe(MAKE, output=place(2, 1, offset=-1)),
    "sizes that overflow": recipe(MAKE, output=[2, "float32", [2**33, 2**31], [2**31, 1], 0]),
    "more elements than memory": recipe(MAKE, output=[2, "float32", [2**40], [0], 0]),
    "no function of that number": recipe(MAKE, launch(0, 1, 2, function=1)),
    "a grid of four": recipe(MAKE, launch(0, 1, 2, grid=[1, 1, 1, 1])),
    "a grid below zero": recipe(MAKE, launch(0, 1, 2, grid=[-1])),
    "an operation that is none": recipe(MAKE, {"compute": ["load", place(0, 1)], "into": place(2, 1)}),
    "functions without text": recipe(functions=[{"name": "f"}]),
    "a descriptor of strided elements": copied(strides=[2]),
    "a descriptor without a shape": copied(shape=[]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_broken_recipe_is_told_from_one_that_is_beyond(replay: Replay, broken: dict[str, Any]) -> None:
    """What no honest worker writes is said to be broken, and the counting worker goes on."""
    assert replay(broken)["status"] == "broken"
    assert replay(recipe(MAKE, launch(0, 1, 2)))["status"] == "returned"


def test_kernel_that_raises_is_reported(replay: Replay) -> None:
    """With what it raised."""
    seen = replay(body("tl.static_assert(1 == 2, 'too small')"))
    assert seen["status"] == "raised"
    assert "kernel" in seen["message"]
