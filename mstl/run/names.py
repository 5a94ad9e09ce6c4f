"""Names of runs, in tables and as folders: ``parts-2+harmful~front`` and ``mstl+strength=0.1+steps=900``.

`Setting` and `Variant` alone know what ``+``, ``~``, ``@`` and ``=`` mean in them. Both are written by
``str`` and read back by ``parse``; nobody else takes a name apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

from mstl.system.errors import InputError

# A plus sign begins a change only before ``name=``: that of ``weight=1e+3`` is part of a value.
CHANGE = re.compile(r"\+(?=[A-Za-z_]\w*=)")
SETTING = re.compile(
    r"(?P<recipe>[^+~@]+?)(?:-(?P<sources>[1-9][0-9]*))?"
    r"(?P<extra>(?:\+[^+~@]+)*)(?P<without>(?:~[^+~@]+)*)(?P<keep>(?:@[^+~@]+)*)"
)
FORM = "recipe[-J][+extra...][~without...][@keep...]"
ESCAPED = re.compile(r"[%+~@/\\]")  # in the name of a source or class, which is that of the user's own folder


@dataclass(frozen=True)
class Setting:
    """How sources and target are made: a recipe and what was changed about it.

    Attributes:
        recipe: its name, which does not end in a hyphen and a number.
        sources: number J of sources; 0 is the recipe's own.
        extra: sources added.
        without: names of the sources left out.
        keep: names of the classes that the target keeps; none leaves that to the recipe.
    """

    recipe: str
    sources: int = 0
    extra: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The name, as `FORM` says."""
        number = f"-{self.sources}" if self.sources else ""
        added = "".join(f"+{name}" for name in self.extra)
        fewer = "".join(f"~{_escaped(name)}" for name in self.without)
        return self.recipe + number + added + fewer + "".join(f"@{_escaped(name)}" for name in self.keep)

    @staticmethod
    @cache
    def parse(text: str) -> Setting:
        """The setting that is called ``text``.

        Raises:
            InputError: no setting is called so.
        """
        found = SETTING.fullmatch(text)
        if not found:
            raise InputError(f"{text!r} names no setting; expected {FORM}")
        extra, *named = (re.split(r"[+~@]", found[part])[1:] for part in ("extra", "without", "keep"))
        without, keep = (tuple(map(unquote, names)) for names in named)
        return Setting(found["recipe"], int(found["sources"] or 0), tuple(extra), without, keep)

    @property
    def plain(self) -> bool:
        """Whether the recipe was taken as it is."""
        return self == Setting(self.recipe)


@dataclass(frozen=True)
class Variant:
    """A method and what was changed about it.

    Attributes:
        method: its name.
        overrides: hyper-parameters, (name, value) as they were written.
        mean_teacher: weight of the consistency with the averaged weights, if not the method's own.
        steps: updates, if not the profile's.
    """

    method: str
    overrides: tuple[tuple[str, str], ...] = ()
    mean_teacher: float | None = None
    steps: int | None = None

    @staticmethod
    def of(method: str, overrides: str, mean_teacher: float | None, steps: int | None) -> Variant:
        """The variant of a method with ``overrides`` as text, ``"attention=none strength=0.1"``.

        Raises:
            InputError: as `changes_of`.
        """
        return Variant(method, changes_of(overrides), mean_teacher, steps)

    def __str__(self) -> str:
        """``method[+name=value...][+mean_teacher=weight][+steps=number]``."""
        return "+".join([self.method, *self.changes])

    @staticmethod
    @cache
    def parse(text: str) -> Variant:
        """The variant that is called ``text``.

        Raises:
            InputError: no variant is called so.
        """
        method, *changes = CHANGE.split(text)
        pairs = [tuple(map(unquote, change.split("=", 1))) for change in changes]
        overrides = tuple(pair for pair in pairs if pair[0] not in RESERVED)
        teacher, steps = map(dict(pairs).get, RESERVED)
        try:
            return Variant(method, overrides, teacher and float(teacher), steps and int(steps))
        except ValueError as error:
            raise InputError(f"{text!r} names no variant ({error})") from None

    @property
    def folders(self) -> list[str]:
        """The folders of weights that it names: as ``weights``, as ``generator``, or among ``models``."""
        said = dict(self.overrides)
        models = [] if said.get("models", "auto") == "auto" else said["models"].split(",")
        weights = [said.get("weights", "none"), *(model.rpartition("@")[2] for model in models)]
        named = [name for name in weights if name not in ("none", "imagenet")]
        return named + [name for name in [said.get("generator", "own")] if name != "own"]

    @property
    def override_text(self) -> str:
        """The hyper-parameters changed, as `of` reads them."""
        return " ".join(f"{name}={value}" for name, value in self.overrides)

    @property
    def change(self) -> str:
        """The name without the method, ``""`` where nothing was changed."""
        return str(self)[len(self.method) + 1 :]

    @property
    def changes(self) -> tuple[str, ...]:
        """Everything changed, ``name=value`` each."""
        own = {"mean_teacher": _shortest(self.mean_teacher), "steps": self.steps}
        pairs = [*self.overrides, *((name, value) for name, value in own.items() if value is not None)]
        return tuple(f"{name}={_of_a_path(value)}" for name, value in pairs)


RESERVED = ("mean_teacher", "steps")  # parameters of any run


def separate(change: str) -> list[str]:
    """The changes of a `Variant.change`, ``name=value`` each."""
    return CHANGE.split(change)


def changes_of(text: str) -> tuple[tuple[str, str], ...]:
    """``"attention=none strength=0.1"`` as names and values, both as written.

    Raises:
        InputError: a word that is not ``name=value``, a name that stands there twice, or one of `RESERVED`.
    """
    pairs = tuple(word.partition("=")[::2] for word in text.split())
    names = [name for name, _ in pairs]
    for word, (name, _) in zip(text.split(), pairs, strict=True):
        if not re.fullmatch(r"[A-Za-z_]\w*=.*", word) or (CHANGE.search(word) and "/" not in word):
            raise InputError(f"overrides: {word!r} is not name=value; write overrides='strength=0.1 gain=5'")
        if names.count(name) > 1:
            raise InputError(f"overrides: {name} stands there {names.count(name)} times; name it once")
        if name in RESERVED:
            raise InputError(f"overrides: {name} is a parameter of its own; write {name}={dict(pairs)[name]}")
    return pairs


def _shortest(number: float | None) -> str | None:
    """A number in six digits where that is all of it."""
    if number is None:
        return None
    return f"{number:g}" if float(f"{number:g}") == number else repr(float(number))


def _of_a_path(value: object) -> str:
    """A value as part of a folder's name: a path in it is no folder of ours, and says nothing of this run."""
    text = str(value)
    return re.sub(r"[%/\\+=]", lambda sign: f"%{ord(sign[0]):02X}", text) if "/" in text else text


def _escaped(name: str) -> str:
    """A name in which the signs of this module, and those of a path, are ``%2B`` and the like."""
    return ESCAPED.sub(lambda sign: f"%{ord(sign[0]):02X}", name)
