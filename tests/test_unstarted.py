"""A file is unstarted as long as the learner has written nothing that runs."""

import pytest

from gpuprep.unstarted import is_unstarted

STUB = '''\
"""The task."""

import torch


def add(x, y):
    """Return x + y."""
    # TODO: add
    raise NotImplementedError("write add()")
'''

CUDA = """\
// The task.
extern "C" __global__ void add(const float* x, float* y) {
    // TODO: add
}
"""

SAME_PYTHON = {
    "the stub itself": STUB,
    "other comments": STUB.replace("# TODO: add", "# I wonder.\n    # Later."),
    "no comments": STUB.replace("    # TODO: add\n", ""),
    "a comment behind code": STUB.replace("import torch", "import torch  # needed"),
    "other module docstring": STUB.replace('"""The task."""', "'Notes: ' 'to self'"),
    "no function docstring": STUB.replace('    """Return x + y."""\n', ""),
    "a docstring more": STUB.replace("    raise", '    "me"\n    raise'),
    "other indentation": STUB.replace("    ", "  "),
    "tabs": STUB.replace("    ", "\t"),
    "blank lines": STUB.replace("\n", "\n\n"),
    "no final line end": STUB.rstrip("\n"),
    "windows line ends": STUB.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + STUB,
    "spaces around brackets": STUB.replace("add(x, y)", "add( x,\n    y )"),
}

OTHER_PYTHON = {
    "nothing": "",
    "pass": STUB.replace("    raise", "    pass\n    raise"),
    "an import": STUB.replace("import torch\n", "import torch\nimport math\n"),
    "another message": STUB.replace("write add()", "write it"),
    "a solution": STUB.replace('raise NotImplementedError("write add()")', "return x + y"),
    "another nesting": STUB.replace("    raise", "    if x:\n        raise"),
    "out of the function": STUB.replace("    raise", "raise"),
    "an open bracket": STUB + "print(\n",
    "an open string": STUB + "x = '''\n",
    "a dedent to nowhere": STUB + "    if x:\n          y\n       z\n",
    "a stray character": STUB + "$\n",
    "a zero byte": STUB + "# \0\n",
}

SAME_CUDA = {
    "the stub itself": CUDA,
    "other comments": CUDA.replace("// TODO: add", "/* one\n two */ // three"),
    "a continued comment": CUDA.replace("// TODO: add", "// one \\\n two"),
    "no comments": CUDA.replace("    // TODO: add\n", "").replace("// The task.\n", ""),
    "other white space": CUDA.replace(" {", "\n{\n\t"),
}

OTHER_CUDA = {
    "code": CUDA.replace("// TODO: add", "y[0] = x[0];"),
    "joined words": CUDA.replace("const float", "constfloat"),
    "a string that looks like a comment": CUDA.replace("// TODO: add", 'printf("//");'),
    "an open comment": CUDA.replace("// TODO: add", "/*"),
    "nothing": "",
}


@pytest.mark.parametrize("text", SAME_PYTHON.values(), ids=SAME_PYTHON)
def test_python_without_work(text):
    """Comments, docstrings and white space are no work."""
    assert is_unstarted(STUB, text, ".py")


@pytest.mark.parametrize("text", OTHER_PYTHON.values(), ids=OTHER_PYTHON)
def test_python_with_work(text):
    """Anything that Python sees is work, and so is a file that Python can't read."""
    assert not is_unstarted(STUB, text, ".py")


@pytest.mark.parametrize("text", SAME_CUDA.values(), ids=SAME_CUDA)
def test_cuda_without_work(text):
    """Comments and white space are no work in a .cu either."""
    assert is_unstarted(CUDA, text, ".cu")


@pytest.mark.parametrize("text", OTHER_CUDA.values(), ids=OTHER_CUDA)
def test_cuda_with_work(text):
    """Anything that the compiler sees is work."""
    assert not is_unstarted(CUDA, text, ".cu")


def test_strings_in_code_count():
    """A string that is part of a statement is no docstring."""
    assert not is_unstarted("x = 'a'\n", "x = 'b'\n", ".py")
    assert not is_unstarted("f(\n'a'\n)\n", "f(\n'b'\n)\n", ".py")
