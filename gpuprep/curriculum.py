"""`curriculum.yaml` → a validated `Curriculum`: exercises in order, modules, study plans, and every path from an id."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from gpuprep import __version__
from gpuprep.errors import CurriculumError, UnknownExerciseError, UsageError
from gpuprep.exercise import FIGURES, Exercise, Hint, Target
from gpuprep.yaml_nodes import Value, compose, read_text, suggestion

FILE_NAME = "curriculum.yaml"
FORMAT_VERSION = 1
"""Of `curriculum.yaml` and the files that it stands for. Goes up when a curriculum could be misread by an older
gpuprep; a key that may be left out doesn't change it."""
FORMAT_KEYS = ("format_version", "version")
"""The key that says it, and what it was called at first: curricula that were written then are read on."""
LANGUAGES = ("triton", "cuda", "pytorch", "distributed", "python")

EXERCISE_ID = re.compile(r"ex_(?:[0-9]{2}|[1-9][0-9]{2})")
"""Two digits, and three once they are used up."""
FILE_PART = re.compile(r"[a-z0-9][a-z0-9_]*")
"""Module ids, plan ids and exercise names become parts of paths and of Python names."""

_NUMBER = re.compile(r"(?:ex_?)?([0-9]{1,3})")


@dataclass(frozen=True)
class PlanEntry:
    """What a plan sets for a day or a week. An id that the curriculum doesn't have yet is coming."""

    when: str
    exercises: tuple[str, ...]
    note: str = ""
    """What else belongs here: a mock interview, a deep dive."""


@dataclass(frozen=True)
class Plan:
    """A study plan: the same exercises in an order and at a pace of its own."""

    id: str
    title: str
    entries: tuple[PlanEntry, ...]


@dataclass(frozen=True)
class Ability:
    """Something that one can do after some exercises. An id that the curriculum doesn't have yet is coming."""

    text: str
    exercises: tuple[str, ...]


@dataclass(frozen=True)
class Area:
    """A part of the roadmap: what belongs to it, and which exercises teach it."""

    title: str
    abilities: tuple[Ability, ...]


@dataclass(frozen=True)
class Module:
    """A folder of exercises."""

    id: str
    title: str
    exercise_ids: tuple[str, ...]


@dataclass(frozen=True)
class Curriculum:
    """A folder with a `curriculum.yaml`, read and validated. `root` is that folder."""

    root: Path
    title: str
    modules: tuple[Module, ...]
    exercises: tuple[Exercise, ...]
    """All of them, in the order a learner meets them."""
    plans: tuple[Plan, ...]
    roadmap: tuple[Area, ...] = ()
    """What the exercises are for, by subject."""
    checklist: tuple[Ability, ...] = ()
    """What a learner should be able to do in the end."""

    def exercise(self, exercise_id: str) -> Exercise:
        """The exercise with exactly this id.

        Raises:
            UnknownExerciseError: there is none.
        """
        for exercise in self.exercises:
            if exercise.id == exercise_id:
                return exercise
        raise self._unknown(exercise_id)

    def find(self, query: str) -> Exercise:
        """The exercise that a person means by `ex_03`, `3`, `03`, its slug, or a unique part of its title or name.

        Raises:
            UnknownExerciseError: none fits (names the nearest), or more than one does (names them all).
        """
        wanted = _plain(query)
        number = _NUMBER.fullmatch(query.strip().lower())
        if number:
            return self.exercise(f"ex_{int(number[1]):02}")
        for exercise in self.exercises:
            if wanted in (_plain(exercise.slug), _plain(exercise.name), _plain(exercise.title)):
                return exercise
        fitting = [ex for ex in self.exercises if wanted in _plain(ex.title) or wanted in _plain(ex.name)]
        if not wanted or not fitting:
            raise self._unknown(query)
        if len(fitting) > 1:
            names = ", ".join(f"{ex.id} ({ex.title})" for ex in fitting)
            raise UnknownExerciseError(
                f"{query!r} fits more than one exercise: {names}", next_step="type one of the ids"
            )
        return fitting[0]

    def plan(self, plan_id: str) -> Plan:
        """The plan with this id.

        Raises:
            UsageError: there is none.
        """
        for plan in self.plans:
            if plan.id == plan_id:
                return plan
        ids = [plan.id for plan in self.plans]
        raise UsageError(
            f"no study plan {plan_id!r}; {suggestion(plan_id, ids)}",
            next_step=f"choose one of: {', '.join(ids) or 'this curriculum has none'}",
        )

    def stub_path(self, exercise: Exercise) -> Path:
        """What a learner starts from."""
        return self.root / "exercises" / exercise.module / f"{exercise.slug}.py"

    def reference_path(self, exercise: Exercise) -> Path:
        """The solution that the stub is generated from."""
        return self.root / "reference" / exercise.module / f"{exercise.slug}.py"

    def grader_path(self, exercise: Exercise) -> Path:
        """The file that defines the exercise's `GRADER`."""
        return self.root / "graders" / exercise.module / f"{exercise.slug}.py"

    def driver_path(self, exercise: Exercise) -> Path | None:
        """The file that runs an exercise of more than one call, where there is one."""
        path = self.root / "graders" / exercise.module / f"{exercise.slug}_driver.py"
        return path if path.is_file() else None

    def guide_path(self, module_id: str) -> Path:
        """The module's guide."""
        return self.root / "exercises" / module_id / "README.md"

    def sources(self, path: Path) -> tuple[Path, ...]:
        """The exercise file at `path` and the `.cu` beside it, if there is one."""
        cuda = path.with_suffix(".cu")
        return (path, cuda) if cuda.is_file() else (path,)

    def exercise_hash(self, exercise: Exercise) -> str:
        """sha256 over the grader, driver and stub: a pass against another hash is a pass of another exercise.

        A file that is missing counts as such; that it is missing is `dev check`'s to say.

        Raises:
            CurriculumError: one of them can't be read.
        """
        driver = self.driver_path(exercise)
        paths = [self.grader_path(exercise), *([driver] if driver else []), *self.sources(self.stub_path(exercise))]
        digest = hashlib.sha256()
        for path in paths:
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CurriculumError(f"{path}: can't be read ({error.strerror})") from error
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()

    def _unknown(self, query: str) -> UnknownExerciseError:
        import difflib  # only a mistake needs it

        if any(query in entry.exercises for plan in self.plans for entry in plan.entries):
            return UnknownExerciseError(f"{query} is planned, but not in this curriculum yet", next_step="gpuprep list")
        called = {_plain(name): ex for ex in self.exercises for name in (ex.id, ex.name, ex.slug, ex.title)}
        near = difflib.get_close_matches(_plain(query)[:80], called, n=3)
        names = ", ".join(dict.fromkeys(f"{called[name].id} ({called[name].title})" for name in near))
        return UnknownExerciseError(
            f"no exercise {query!r}" + (f"; nearest: {names}" if names else ""), next_step="gpuprep list"
        )


def default_root() -> Path:
    """The curriculum that came with the package: inside it (a wheel), or around it (a checkout)."""
    package = Path(__file__).resolve().parent
    content = package / "content"
    return content if (content / FILE_NAME).is_file() else package.parent


def load(root: Path | None = None) -> Curriculum:
    """Read and validate a curriculum.

    Args:
        root: the folder that holds `curriculum.yaml`; None means the package's own.

    Raises:
        CurriculumError: the file can't be read or says something that it must not; the message starts `file:line`.
    """
    path = (root or default_root()).absolute() / FILE_NAME
    return parse(read_text(path), path)


def parse(text: str, path: Path) -> Curriculum:
    """The curriculum that `text` describes; `path` is where it stands, or will stand.

    Raises:
        CurriculumError: the text says something that it must not.
    """
    document = compose(text, path)
    _check_format(document)
    top = document.fields(("title", "modules"), ("plans", "roadmap", "checklist", *FORMAT_KEYS))
    title = top["title"].text()
    modules: list[Module] = []
    exercises: dict[str, Exercise] = {}
    for value in top["modules"].items():
        module, own = _module(value, exercises)
        if any(module.id == other.id for other in modules):
            raise value.fault(f"module {module.id!r} stands here twice")
        modules.append(module)
        exercises |= own
    plans = tuple(_plan(*pair) for pair in top["plans"].entries()) if "plans" in top else ()
    roadmap = tuple(_area(item) for item in top["roadmap"].items()) if "roadmap" in top else ()
    checklist = tuple(_ability(item) for item in top["checklist"].items()) if "checklist" in top else ()
    return Curriculum(path.parent, title, tuple(modules), tuple(exercises.values()), plans, roadmap, checklist)


def _check_format(document: Value) -> None:
    """Comes before all else: in a newer format there are keys that would only look misspelt here."""
    found = [(key, value) for key, value in document.entries() if key.text() in FORMAT_KEYS]
    if not found:
        raise document.fault(f"key {FORMAT_KEYS[0]!r} is missing; this is format {FORMAT_VERSION}")
    if len(found) > 1:
        raise found[1][0].fault(f"{FORMAT_KEYS[1]!r} is what {FORMAT_KEYS[0]!r} was called before; write one of them")
    value = found[0][1]
    version = value.integer()
    if version > FORMAT_VERSION:
        newer = value.fault(
            f"a curriculum in format {version}; gpuprep {__version__} reads formats up to {FORMAT_VERSION}"
        )
        raise CurriculumError(newer.message, next_step="pip install --upgrade gpuprep")
    if version < 1:
        raise value.fault(f"there is no format {version}; this is format {FORMAT_VERSION}")


def _module(value: Value, earlier: dict[str, Exercise]) -> tuple[Module, dict[str, Exercise]]:
    fields = value.fields(("id", "title", "exercises"))
    module_id = _matching(fields["id"], FILE_PART, "lower-case letters, digits and _")
    own: dict[str, Exercise] = {}
    for item in fields["exercises"].items():
        exercise = _exercise(item, module_id, {**earlier, **own})
        own[exercise.id] = exercise
    return Module(module_id, fields["title"].text(), tuple(own)), own


def _exercise(value: Value, module_id: str, earlier: dict[str, Exercise]) -> Exercise:
    required = ("id", "name", "title", "language", "summary", "minutes", "hints")
    fields = value.fields(required, ("topics", "needs", "targets"))
    exercise_id = _matching(fields["id"], EXERCISE_ID, "`ex_` and two digits")
    if exercise_id in earlier:
        raise fields["id"].fault(f"{exercise_id} stands here twice, also as {earlier[exercise_id].slug}")
    language = fields["language"].text()
    if language not in LANGUAGES:
        raise fields["language"].fault(f"unknown language {language!r}; {suggestion(language, LANGUAGES)}")
    minutes = fields["minutes"].integer()
    if minutes <= 0:
        raise fields["minutes"].fault(f"want a number of minutes above 0, have {minutes}")
    hints = tuple(_hint(item) for item in fields["hints"].items())
    if not hints:
        raise fields["hints"].fault(f"{exercise_id} has no hints; it needs at least one")
    return Exercise(
        id=exercise_id,
        name=_matching(fields["name"], FILE_PART, "lower-case letters, digits and _"),
        title=fields["title"].text(),
        module=module_id,
        language=language,
        summary=fields["summary"].text(),
        minutes=minutes,
        hints=hints,
        targets=targets_of(fields["targets"]) if "targets" in fields else (),
        needs=_needs(fields["needs"], earlier) if "needs" in fields else (),
        topics=fields["topics"].texts() if "topics" in fields else (),
    )


def _hint(value: Value) -> Hint:
    if value.is_text:
        return Hint(value.text())
    fields = value.fields(("text",), ("for",))
    return Hint(fields["text"].text(), fields["for"].texts() if "for" in fields else ())


def targets_of(value: Value) -> tuple[Target, ...]:
    """Targets by figure, or by operation and then by figure.

    Raises:
        CurriculumError: a figure or a key is unknown, or a value makes no sense.
    """
    entries = value.entries()
    operations = [key for key, content in entries if _is_operation(key, content)]
    if not operations:
        return _figures(value)
    if len(operations) < len(entries):
        raise operations[0].fault("name operations here, or figures, not both")
    return tuple(target for key, figures in entries for target in _figures(figures, _operation(key)))


def _is_operation(key: Value, content: Value) -> bool:
    # By what it holds: a figure's name that is misspelt must be refused, not taken for an operation's.
    if key.text() in FIGURES or not content.is_mapping:
        return False
    inner = content.entries()
    return all(value.is_mapping for _, value in inner) or any(name.text() in FIGURES for name, _ in inner)


def _operation(key: Value) -> str:
    return _matching(key, FILE_PART, "lower-case letters, digits and _")


def _figures(value: Value, of: str = "") -> tuple[Target, ...]:
    targets = []
    for figure, target in value.fields(optional=FIGURES).items():
        fields = target.fields(("pass",), ("gold",))
        gold = fields["gold"].number() if "gold" in fields else None
        try:
            targets.append(Target(figure, fields["pass"].number(), gold, of))
        except ValueError as error:
            raise target.fault(str(error)) from error
    if of and not targets:
        raise value.fault(f"no target for {of}; known here: {', '.join(FIGURES)}")
    return tuple(targets)


def _needs(value: Value, earlier: dict[str, Exercise]) -> tuple[str, ...]:
    for item in value.items():
        if item.text() not in earlier:
            raise item.fault(f"{item.text()!r} is no earlier exercise; {suggestion(item.text(), earlier)}")
    return value.texts()


def _area(value: Value) -> Area:
    fields = value.fields(("area", "abilities"))
    return Area(fields["area"].text(), tuple(_ability(item) for item in fields["abilities"].items()))


def _ability(value: Value) -> Ability:
    fields = value.fields(("can", "exercises"))
    if not fields["exercises"].items():
        raise fields["exercises"].fault("name the exercises that teach it")
    return Ability(fields["can"].text(), _exercise_ids(fields["exercises"]))


def _exercise_ids(value: Value) -> tuple[str, ...]:
    return tuple(_matching(item, EXERCISE_ID, "`ex_` and two digits") for item in value.items())


def _plan(key: Value, value: Value) -> Plan:
    plan_id = _matching(key, FILE_PART, "lower-case letters, digits and _")
    fields = value.fields(("title", "schedule"))
    return Plan(plan_id, fields["title"].text(), tuple(_plan_entry(item) for item in fields["schedule"].items()))


def _plan_entry(value: Value) -> PlanEntry:
    fields = value.fields(("when",), ("exercises", "note"))
    exercises = _exercise_ids(fields["exercises"]) if "exercises" in fields else ()
    if not exercises and "note" not in fields:
        raise value.fault("an entry needs exercises or a note")
    return PlanEntry(fields["when"].text(), exercises, fields["note"].text() if "note" in fields else "")


def _matching(value: Value, pattern: re.Pattern[str], made_of: str) -> str:
    text = value.text()
    if not pattern.fullmatch(text):
        raise value.fault(f"{text!r} is not made of {made_of}")
    return text


def _plain(text: str) -> str:
    """For comparing what was typed: one case, and one blank for every `_`, `-` and run of white space."""
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()
