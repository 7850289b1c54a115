"""Starts a new exercise: small, complete and gradeable, for its author to turn into something else."""

from __future__ import annotations

import contextlib
import json
import keyword
from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from gpuprep.authoring.stubs import make_stub
from gpuprep.curriculum import EXERCISE_ID, FILE_NAME, FILE_PART, Curriculum, parse
from gpuprep.errors import CurriculumError, UsageError
from gpuprep.exercise import Exercise
from gpuprep.workspace import write_atomically
from gpuprep.yaml_nodes import Value, compose, read_text, suggestion

TEMPLATES = Path(__file__).parent / "templates"
"""A folder for each language that an exercise can be started in."""

WRONG_EXAMPLE = "forgets_the_factor"

# The exercise's function has this name, and the file imports these.
_TAKEN_NAMES = frozenset({"torch", "triton", "tl", "Path", "RawModule"})


@dataclass(frozen=True)
class ScaffoldResult:
    """A new exercise and the files that were written for it; `curriculum.yaml` has a new entry besides."""

    exercise: Exercise
    created: tuple[Path, ...]


def scaffold(
    curriculum: Curriculum, exercise_id: str, *, module: str, name: str, title: str, language: str = "triton"
) -> ScaffoldResult:
    """Write reference, grader, one wrong solution, the stub and the module's guide, and append the entry to its module.

    Args:
        curriculum: where the exercise goes.
        exercise_id: a new id, `ex_46`.
        module: id of an existing module.
        name: the rest of the file names, and the function that a learner writes.
        title: what people call it.
        language: one that TEMPLATES has.

    Raises:
        UsageError: an argument makes no sense here; nothing is written.
        CurriculumError: `curriculum.yaml` is broken, or can't be appended to; nothing is written.
        WorkspaceError: a file can't be written; those written before are removed again.
    """
    path = curriculum.root / FILE_NAME
    text = read_text(path)
    before = parse(text, path)
    _refuse_nonsense(before, exercise_id, module, name, title, language)
    words = {
        "id": exercise_id,
        "name": name,
        "title": title,
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "quoted_title": json.dumps(title, ensure_ascii=False),
    }
    new_text = _with_entry(text, path, module, _render(language, "entry", words))
    after = _proven(before, new_text, path, exercise_id, module)
    exercise = after.exercise(exercise_id)
    files = _files(after, exercise, words)
    for file in files:
        if file.exists():
            raise UsageError(f"{file} is there already", next_step="choose another id or name, or move that file away")
    _write_all({**files, path: new_text}, removable=tuple(files))
    return ScaffoldResult(exercise, tuple(files))


def _files(curriculum: Curriculum, exercise: Exercise, words: dict[str, str]) -> dict[Path, str]:
    """The text of each new file. Some languages have kernels beside the launcher, or a driver beside the grader."""
    reference = curriculum.reference_path(exercise)
    language, wrong = exercise.language, curriculum.root / "tests" / "wrong" / exercise.slug / WRONG_EXAMPLE
    files = {
        reference: _render(language, "reference", words),
        (grader := curriculum.grader_path(exercise)): _render(language, "grader", words),
    }
    if (TEMPLATES / language / "driver.txt").is_file():
        files[grader.with_name(f"{exercise.slug}_driver.py")] = _render(language, "driver", words)
    if (TEMPLATES / language / "reference_cu.txt").is_file():
        files[reference.with_suffix(".cu")] = _render(language, "reference_cu", words)
        files[wrong.with_suffix(".cu")] = _render(language, "wrong_cu", words)
    else:
        files[wrong.with_suffix(".py")] = _render(language, "wrong", words)
    for suffix in (".py", ".cu"):
        if text := files.get(reference.with_suffix(suffix)):
            files[curriculum.stub_path(exercise).with_suffix(suffix)] = make_stub(text, reference.with_suffix(suffix))
    guide = curriculum.guide_path(exercise.module)
    if not guide.is_file():
        module = next(module.title for module in curriculum.modules if module.id == exercise.module)
        files[guide] = _template("guide.txt").substitute(words, module_title=module)
    return files


def languages() -> tuple[str, ...]:
    """The languages that an exercise can be started in."""
    return tuple(sorted(folder.name for folder in TEMPLATES.iterdir() if folder.is_dir()))


def _refuse_nonsense(
    curriculum: Curriculum, exercise_id: str, module: str, name: str, title: str, language: str
) -> None:
    if not EXERCISE_ID.fullmatch(exercise_id):
        raise UsageError(
            f"{exercise_id!r} is no exercise id", next_step=f"take the next free one: {_free_id(curriculum)}"
        )
    taken = {exercise.id: exercise.slug for exercise in curriculum.exercises}
    if exercise_id in taken:
        raise UsageError(
            f"{exercise_id} is taken by {taken[exercise_id]}",
            next_step=f"take the next free one: {_free_id(curriculum)}",
        )
    modules = [known.id for known in curriculum.modules]
    if module not in modules:
        raise UsageError(
            f"no module {module!r}; {suggestion(module, modules)}",
            next_step=f"choose one of the modules, or add it to {curriculum.root / FILE_NAME} first",
        )
    if not FILE_PART.fullmatch(name) or not name.isidentifier() or keyword.iskeyword(name) or name in _TAKEN_NAMES:
        raise UsageError(f"{name!r} can't name a file and a function", next_step="use lower-case letters, digits and _")
    if not title.strip() or not title.isprintable() or set(title) & {'"', "\\"}:
        raise UsageError(f"{title!r} can't be a title", next_step='use one line without " and \\')
    if language not in languages():
        raise UsageError(
            f"no template for {language!r}; {suggestion(language, languages())}",
            next_step=f"start with one of {', '.join(languages())} and change the entry's language",
        )


def _free_id(curriculum: Curriculum) -> str:
    """The number after the last that the curriculum has or plans."""
    planned = [exercise_id for plan in curriculum.plans for entry in plan.entries for exercise_id in entry.exercises]
    known = [*planned, *(exercise.id for exercise in curriculum.exercises)]
    return f"ex_{max((int(known_id.removeprefix('ex_')) for known_id in known), default=0) + 1:02}"


def _render(language: str, part: str, words: dict[str, str]) -> str:
    return _template(f"{language}/{part}.txt").substitute(words)


def _template(name: str) -> Template:
    return Template((TEMPLATES / name).read_text(encoding="utf-8"))


def _with_entry(text: str, path: Path, module: str, entry: str) -> str:
    """The YAML text with `entry` after the module's last exercise; every other byte stays as it is."""
    fields, module_column = _module_fields(text, path, module)
    node = fields["exercises"].node
    newline = "\r\n" if "\r\n" in text else "\n"
    if not node.value:  # exercises: []
        block = _indented(entry, module_column + 2, newline)
        return text[: node.start_mark.index].rstrip(" ") + newline + block + text[node.end_mark.index :]
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        raise fields["exercises"].fault(
            "to append to a list in [brackets], write it as lines that start with `-` first"
        )
    # The parser lets an entry end where the next token begins; blank lines and comments before that go with the next.
    lines = text[: node.value[-1].end_mark.index].split("\n")
    while not lines[-1].strip() or _is_comment(lines[-1], up_to=node.start_mark.column):
        lines.pop()
    at = len("\n".join(lines).removesuffix("\r"))
    return text[:at] + newline + _indented(entry, node.start_mark.column, newline) + text[at:]


def _indented(entry: str, column: int, newline: str) -> str:
    return newline.join(" " * column + line for line in entry.splitlines())


def _is_comment(line: str, *, up_to: int) -> bool:
    code = line.lstrip(" ")
    return code.startswith("#") and len(line) - len(code) <= up_to


def _module_fields(text: str, path: Path, module: str) -> tuple[dict[str, Value], int]:
    """The values of the module's entry, and the column where its keys stand."""
    top = {key.text(): value for key, value in compose(text, path).entries()}
    for item in top["modules"].items():
        fields = {key.text(): value for key, value in item.entries()}
        if fields["id"].text() == module:
            return fields, item.node.start_mark.column
    raise CurriculumError(f"{path}: no module {module!r}")


def _proven(before: Curriculum, new_text: str, path: Path, exercise_id: str, module: str) -> Curriculum:
    """The curriculum with the new entry, once it is sure that it is the old one and this entry."""
    by_hand = f"add the entry of {exercise_id} to {path} by hand"
    try:
        after = parse(new_text, path)
    except CurriculumError as error:
        raise CurriculumError(f"{path}: appending would break it ({error.message})", next_step=by_hand) from error
    others = tuple(exercise for exercise in after.exercises if exercise.id != exercise_id)
    ids = {known.id: known.exercise_ids for known in before.modules}
    ids[module] = (*ids[module], exercise_id)
    same = others == before.exercises and after.plans == before.plans
    if not same or {known.id: known.exercise_ids for known in after.modules} != ids:
        raise CurriculumError(f"{path}: appending would change other entries", next_step=by_hand)
    return after


def _write_all(files: dict[Path, str], *, removable: tuple[Path, ...]) -> None:
    """Write them in order; when one can't be written, remove the `removable` ones."""
    try:
        for path, text in files.items():
            write_atomically(path, text)
    except BaseException:  # Ctrl-C too must not leave half an exercise
        for path in removable:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()  # fails where there is anything else
        raise
