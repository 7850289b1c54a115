"""Kernels from source text, with nothing in reach but Triton's language.

The text was sent by a process that nobody trusts. What a kernel may say is an allow-list: kinds of syntax, names, and
attributes; names mean `tl`, numbers and the other functions that came along. Python's own ways out of a namespace
(imports, underscores, `getattr`, exceptions with their frames) are not on the list.

The same text is run in the interpreter (`compiled`) or compiled for a card (`jitted`).
"""

from __future__ import annotations

import ast
import functools
import itertools
import json
import linecache
import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import triton
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

from gpuprep.worker.glossary import JIT_OPTIONS

MAX_SOURCE = 200_000
"""Characters of one function."""

_SYNTAX = (
    *(ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Pass, ast.Expr, ast.Assert),
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr),
    *(ast.For, ast.While, ast.If, ast.IfExp, ast.Break, ast.Continue, ast.ListComp, ast.comprehension),
    *(ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.boolop, ast.operator, ast.unaryop, ast.cmpop),
    *(ast.Call, ast.keyword, ast.Starred, ast.Attribute, ast.Subscript, ast.Slice, ast.Name, ast.expr_context),
    *(ast.Constant, ast.Tuple, ast.List, ast.JoinedStr, ast.FormattedValue),
)
_BUILTINS: dict[str, Any] = {
    **{function.__name__: function for function in (abs, all, any, divmod, enumerate, len, max, min, pow, range)},
    **{function.__name__: function for function in (bool, float, int, isinstance, list, reversed, round, slice, sum)},
    "tuple": tuple,
    "zip": zip,
    # As in a launch on a card: what a kernel prints is not the result of anything.
    "print": lambda *_args, **_options: None,
}
_WAYS_OUT = frozenset(
    "eval exec compile open input getattr setattr delattr hasattr vars dir globals locals type object super memoryview "
    "breakpoint exit quit help classmethod staticmethod property".split()
)
"""Builtins that no kernel can use on a card either."""
_RESERVED = ("interpreter_semantic", "_InterpreterComparison")
"""What Triton's own rewriting puts into a kernel's code."""
_LANGUAGE = frozenset("constexpr range static_range pointer_type block_type dtype const condition PropagateNan".split())
"""Public names of `tl` that are neither functions nor dtypes."""
_VALUES = frozenset(
    "math language cdiv next_power_of_2 dtype shape type value element_ty scalar numel primitive_bitwidth nbytes "
    "block_shape strides load store gather scatter ALL NONE TRITON_MAX_TENSOR_NUMEL pi e tau inf nan".split()
)
"""Attributes of values that a kernel meets, and of the modules that it may name."""


def _module(name: str, **contents: Any) -> ModuleType:
    """A module in which nothing else is."""
    module = ModuleType(name)
    vars(module).update(contents)
    return module


_MODULES: dict[str, ModuleType] = {
    "triton": _module("triton", cdiv=triton.cdiv, next_power_of_2=triton.next_power_of_2, language=tl),
    "triton.language": tl,
    "triton.language.math": tl.math,
    "math": _module("math", pi=math.pi, e=math.e, tau=math.tau, inf=math.inf, nan=math.nan),
}
BROKEN = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RuntimeError, AssertionError)
"""What reading a recipe raises that no honest worker writes."""


def _public_names() -> frozenset[str]:
    functions = {
        name
        for module in (tl, tl.math)
        for name, value in vars(module).items()
        if tl.core.is_builtin(value) or isinstance(value, InterpretedFunction | JITFunction) or type(value) is tl.dtype
    }
    methods = {name for name in dir(tl.tensor) if not name.startswith("_")}
    questions = {name for name in dir(tl.dtype) if name.startswith("is_")}
    return _LANGUAGE | _VALUES | questions | {name for name in functions | methods if not name.startswith("_")}


_ATTRIBUTES = _public_names()
"""Read off the language when this module is imported: the interpreter leaves its own functions behind in it."""
_DTYPES = {value.name: value for value in vars(tl).values() if type(value) is tl.dtype}


class ForbiddenError(Exception):
    """The text does what no kernel can do on a card."""


class UnfollowedError(Exception):
    """The text may be a good kernel; it can't be run here."""


class _SandboxedFunction(InterpretedFunction):  # type: ignore[misc]
    """A jit function whose rewritten code is at hand, so that Triton looks for no source file."""

    def __init__(self, plain: Any, rewritten: Any, *, keeps_nothing: bool) -> None:
        super().__init__(plain)
        self._rewritten = rewritten
        self.keeps_nothing = keeps_nothing
        """A call of it leaves nothing behind in it for the next one."""

    def rewrite(self) -> Any:
        return self._rewritten


@functools.lru_cache(maxsize=16)
def _compiled_json(text: str) -> tuple[Any, ...]:
    return _defined(json.loads(text), _interpreted)


def compiled(functions: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Functions that can be launched in the interpreter, from their descriptions in a recipe.

    Args:
        functions: `name`, `source`, `line` and `path` of each, and `globals`: what its free names mean.

    Raises:
        ForbiddenError: one of them is no kernel.
        UnfollowedError: one of them uses something that isn't known here.
    """
    return _compiled_json(json.dumps(functions))


def jitted(functions: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """The same for a card: functions that Triton compiles when they are launched.

    Args:
        functions: as for `compiled`, with the `options` that they were decorated with.
    """
    return _defined(functions, _jitted)


def decoded(value: Any, functions: Sequence[Any]) -> Any:
    """A plain value of a recipe: a number, a string, a dtype, a function, a tuple of such.

    Raises:
        UnfollowedError: it is something else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    ((kind, what),) = value.items()
    if kind == "dtype" and what in _DTYPES:
        return _DTYPES[what]
    if kind == "constexpr":
        return tl.constexpr(decoded(what, functions))
    if kind == "tuple":
        return tuple(decoded(item, functions) for item in what)
    if kind == "module" and what in _MODULES:
        return _MODULES[what]
    if kind == "function":
        return numbered(what, functions)
    raise UnfollowedError(str(what))


def _defined(
    described: Sequence[Mapping[str, Any]],
    define: Callable[[Mapping[str, Any], ast.FunctionDef, dict[str, Any]], Any],
) -> tuple[Any, ...]:
    definitions = [_checked(function) for function in described]
    namespaces = [_namespace(function) for function in described]
    made = [define(*parts) for parts in zip(described, definitions, namespaces, strict=True)]
    for function, namespace in zip(described, namespaces, strict=True):
        # Last, when all are there: functions may name each other, and themselves.
        for name, value in function["globals"].items():
            if isinstance(value, dict) and "function" in value:
                namespace[name] = decoded(value, made)
    return tuple(made)


def _interpreted(
    function: Mapping[str, Any], definition: ast.FunctionDef, namespace: dict[str, Any]
) -> _SandboxedFunction:
    plain = _executed(definition, function["path"], namespace)
    rewritten = interpreter.ASTTransformer().visit(ast.Module(body=[definition], type_ignores=[]))
    code = _executed(rewritten.body[0], function["path"], namespace)
    return _SandboxedFunction(plain, code, keeps_nothing=_keeps_nothing(definition))


_numbers = itertools.count()


def _jitted(function: Mapping[str, Any], definition: ast.FunctionDef, namespace: dict[str, Any]) -> Any:
    # Triton reads a kernel's text from the file that its code names; Python looks for that here first.
    text, file = ast.unparse(definition), f"<kernel {next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    plain = _executed(ast.parse(text).body[0], file, namespace)
    options = {name: value for name, value in function["options"].items() if name in JIT_OPTIONS and value}
    return triton.jit(plain, **options)


def _checked(function: Mapping[str, Any]) -> ast.FunctionDef:
    source, line, path = function["source"], function["line"], function["path"]
    if type(source) is not str or type(line) is not int or type(path) is not str or not 0 < line < 2**24:
        raise TypeError("a function without its text")
    if len(source) > MAX_SOURCE:
        raise UnfollowedError(f"{len(source)} characters of source text")
    try:
        (definition,) = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnfollowedError(f"source text that is no function ({error})") from error
    if not isinstance(definition, ast.FunctionDef) or definition.name != function["name"]:
        raise UnfollowedError("source text that is another function's")
    definition.decorator_list, definition.returns = [], None
    for node in ast.walk(definition):
        if isinstance(node, ast.arg) and node.annotation is not None:
            # All that an annotation says here is which arguments are constants; torch.Tensor, say, isn't known.
            is_constant = ast.unparse(node.annotation).strip("'\"").endswith("constexpr")
            node.annotation = ast.Constant("constexpr") if is_constant else None
    ast.fix_missing_locations(definition)
    ast.increment_lineno(definition, line - 1)
    _Inspection(definition, function["globals"]).visit(definition)
    return definition


class _Inspection(ast.NodeVisitor):
    """Goes through a function and stops at the first thing that isn't on the list."""

    def __init__(self, definition: ast.FunctionDef, meanings: Mapping[str, Any]) -> None:
        nodes = list(ast.walk(definition))
        self._own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        self._own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        self._known = self._own | meanings.keys()
        self._foreign = {
            name: str(value["other"])
            for name, value in meanings.items()
            if isinstance(value, dict) and "other" in value
        }
        self._definition = definition

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal):
            raise ForbiddenError(f"line {node.lineno}: an import or a global statement in a kernel")
        if not isinstance(node, _SYNTAX):
            raise UnfollowedError(f"{type(node).__name__} in a kernel")
        super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node is not self._definition:
            raise UnfollowedError(f"a function {node.name} inside a kernel")
        self._check_name(node.name)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self._check_name(node.arg)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._check_name(node.id)
        if node.id in _WAYS_OUT - self._known:
            raise ForbiddenError(f"line {node.lineno}: {node.id}() in a kernel")
        if node.id in self._foreign.keys() - self._own:
            raise UnfollowedError(f"{node.id}, which is {self._foreign[node.id]}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr.startswith("__"):
            raise ForbiddenError(f"line {node.lineno}: .{node.attr} in a kernel")
        if not isinstance(node.ctx, ast.Load):
            raise UnfollowedError(f"an assignment to .{node.attr}")
        if node.attr not in _ATTRIBUTES:
            raise UnfollowedError(f".{node.attr}, which isn't known here")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            raise UnfollowedError("an assignment to an element")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        root: ast.AST = node.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and self._foreign.get(root.id, "").startswith("module "):
            raise ForbiddenError(f"line {node.lineno}: a call of {ast.unparse(node.func)} in a kernel")
        for keyword in node.keywords:
            # `_semantic` and `member` are how the interpreter's own wrappers hand things on.
            if keyword.arg is None or keyword.arg.startswith("_") or keyword.arg == "member":
                raise UnfollowedError(f"a call with {keyword.arg or '**'}")
        self.generic_visit(node)

    def _check_name(self, name: str) -> None:
        if name.startswith("__") or name in _RESERVED:
            raise ForbiddenError(f"{name} in a kernel")


def _keeps_nothing(definition: ast.FunctionDef) -> bool:
    """False where a default may be something that changes: a list grows, an iterator is used up."""
    defaults = [*definition.args.defaults, *definition.args.kw_defaults]
    return all(default is None or isinstance(default, ast.Constant | ast.Name | ast.Attribute) for default in defaults)


def _namespace(function: Mapping[str, Any]) -> dict[str, Any]:
    namespace: dict[str, Any] = {name: getattr(interpreter, name) for name in _RESERVED if hasattr(interpreter, name)}
    # The interpreter looks for `tl` among a kernel's globals; here it is under a key that no kernel can spell.
    namespace.update({"triton.language": tl, "__builtins__": _BUILTINS, "__name__": "kernels"})
    for name, value in function["globals"].items():
        if name in namespace or not name.isidentifier():
            raise ForbiddenError(f"{name} in a kernel")
        if not isinstance(value, dict) or not {"function", "other"} & value.keys():
            namespace[name] = decoded(value, ())
    return namespace


def _executed(definition: ast.stmt, path: str, namespace: dict[str, Any]) -> Any:
    tree = ast.fix_missing_locations(ast.Module(body=[definition], type_ignores=[]))
    into: dict[str, Any] = {}
    try:
        # Names and annotations of the signature are evaluated here: they passed the inspection with the rest.
        exec(compile(tree, path, "exec", dont_inherit=True), namespace, into)  # noqa: S102
    except Exception as error:
        raise UnfollowedError(f"a kernel can't be defined here ({error})") from error
    (made,) = into.values()
    return made


def numbered(number: Any, items: Sequence[Any]) -> Any:
    """The function or module that a recipe names by its number.

    Raises:
        ValueError: there is none.
    """
    if type(number) is not int or not 0 <= number < len(items):
        raise ValueError(f"{number!r} where the number of a function or a module belongs")
    return items[number]
