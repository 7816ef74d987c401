"""What is known of a folder of images that is being annotated: what is done, and what comes next. A JSON file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanseg.beside import written_beside
from leanseg.errors import UnreadableFileError

if TYPE_CHECKING:
    from leanseg.suggest import Suggestions

STATE_FILE = "leanseg_suggestions.json"
"""Its usual name, in the folder of the images."""


@dataclass(frozen=True)
class RankedCase:
    """What is kept of a `SuggestedCase`."""

    id: str
    rank: int
    is_suggested: bool
    uncertainty: float
    coverage: float
    slice_k: int
    reason: str


@dataclass(frozen=True)
class SuggestionState:
    """Ids are paths, relative to the folder where they lie in it, with slashes; so the folder can be moved."""

    folder: Path
    done: tuple[str, ...] = ()
    """Annotated."""
    ranking: tuple[RankedCase, ...] = ()
    models: tuple[str, ...] = ()
    measure: str = ""

    def with_suggestions(self, suggestions: Suggestions) -> SuggestionState:
        """With a new ranking; what is done stays."""
        names = [field.name for field in dataclasses.fields(RankedCase)]
        ranking = tuple(
            replace(RankedCase(*(getattr(case, name) for name in names)), id=self.id_of(case.id))
            for case in suggestions.cases
        )
        return replace(self, ranking=ranking, models=suggestions.models, measure=suggestions.measure)

    def mark_done(self, image: Path | str) -> SuggestionState:
        """An image, or an id, is annotated."""
        return replace(self, done=tuple(dict.fromkeys((*self.done, self.id_of(image)))))

    @property
    def next_id(self) -> str | None:
        """The first suggestion that is not done."""
        waiting = [case for case in self.ranking if case.is_suggested and case.id not in self.done]
        return min(waiting, key=lambda case: case.rank).id if waiting else None

    @property
    def labelled(self) -> tuple[Path, ...]:
        """What is done, for `suggest_cases(labelled=...)`."""
        return tuple(self.path_of(name) for name in self.done)

    def id_of(self, image: Path | str) -> str:
        path = Path(image)
        if path.is_absolute() or path.is_relative_to(self.folder):
            path, folder = path.absolute(), self.folder.absolute()
            return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
        return path.as_posix()

    def path_of(self, name: str) -> Path:
        """The image of an id."""
        return self.folder / name

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        values = dataclasses.asdict(self) | {"folder": self.folder.as_posix()}
        with written_beside(path) as file:
            file.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> SuggestionState:
        """What `save` wrote. Unknown keys and values that do not fit are left out, and so are images that are gone
        from the ranking. A file with the usual name speaks of the folder that it lies in, which may have been copied or
        moved; another one of the folder that it names, or if that is gone, of its own.

        Raises:
            UnreadableFileError: no such file, not JSON, or one that names no folder.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            folder = Path(values["folder"])
        except OSError as error:
            raise UnreadableFileError(
                f"{path} cannot be read ({error.strerror}). Check its name and folder."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableFileError(
                f"{path} holds no suggestions ({type(error).__name__}: {error}). Remove it, and rank again."
            ) from error
        state = cls(path.parent if path.name == STATE_FILE or not folder.is_dir() else folder)
        ranking = tuple(case for case in _ranked(values.get("ranking")) if state.path_of(case.id).exists())
        done, models = (_texts(values.get(key)) for key in ("done", "models"))
        return replace(state, done=done, ranking=ranking, models=models, measure=str(values.get("measure", "")))


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(one for one in values if isinstance(one, str)) if isinstance(values, list) else ()


def _ranked(values: Any) -> Iterable[RankedCase]:
    for one in values if isinstance(values, list) else ():
        try:
            figures = float(one["uncertainty"]), float(one["coverage"])
            case = RankedCase(
                str(one["id"]),
                int(one["rank"]),
                one["is_suggested"] is True,
                *figures,
                int(one["slice_k"]),
                one["reason"],
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if isinstance(one["id"], str) and isinstance(case.reason, str) and all(map(math.isfinite, figures)):
            yield case
