"""Whether a learner has written anything yet: the file's tokens against the stub's."""

from __future__ import annotations

import io
import re
import tokenize
from itertools import groupby

_CUDA_TOKEN = re.compile(
    r"""
    (?P<skipped> //(?:\\\r?\n|[^\n])* | /\*.*?\*/ | \s+ )
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'     # before the rest: a string may hold what looks like a comment
    | [\w.]+
    | (?P<open_comment> /\* )
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def is_unstarted(stub_text: str, learner_text: str, suffix: str) -> bool:
    """True where the two texts differ in comments, docstrings and white space alone.

    A learner's file that can't be split into tokens has been worked on.

    Args:
        stub_text: the stub.
        learner_text: the learner's file.
        suffix: `.py`, or `.cu` and the like for C++.
    """
    split = _python_tokens if suffix == ".py" else _cuda_tokens
    learner = split(learner_text)
    return learner is not None and learner == split(stub_text)


def _python_tokens(text: str) -> list[str] | None:
    """What Python would see, line ends and changes of indentation included; None where it would see no program."""
    source = io.StringIO(text.removeprefix("\ufeff")).readline
    kept: list[tuple[int, str]] = []
    try:
        for token in tokenize.generate_tokens(source):
            if token.type == tokenize.ERRORTOKEN or "\0" in token.string:
                return None
            if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
                kept.append((token.type, tokenize.tok_name[token.type]))
            elif token.type not in (tokenize.COMMENT, tokenize.NL):
                kept.append((token.type, token.string))
    except (tokenize.TokenError, SyntaxError):  # an open bracket or string; a dedent to nowhere
        return None
    return _without_docstrings(kept)


def _without_docstrings(tokens: list[tuple[int, str]]) -> list[str]:
    """The tokens without the statements that are nothing but strings."""
    left: list[str] = []
    layout = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    dropped = False
    for is_layout, group in groupby(tokens, key=lambda token: token[0] in layout):
        run = list(group)
        if is_layout:
            # The docstring's own line end goes with it.
            left += [string for _, string in run[1 if dropped else 0 :]]
            dropped = False
        elif all(kind == tokenize.STRING for kind, _ in run):
            dropped = True
        else:
            left += [string for _, string in run]
    return left


def _cuda_tokens(text: str) -> list[str] | None:
    """The text's tokens, roughly; None where a comment is never closed."""
    matches = list(_CUDA_TOKEN.finditer(text))
    if any(match["open_comment"] for match in matches):
        return None
    return [match[0] for match in matches if match["skipped"] is None]
