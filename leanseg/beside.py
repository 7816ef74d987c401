"""Write a file beside its place, then rename it: readers see the old file or the new one, never a part."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from leanseg.errors import OutputError


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A path to write to, which does not exist yet; it becomes `path` when the block ends well.

    It lies in the same folder and ends with the last two suffixes of `path` in lower case, which tell writers the
    format. Whatever ends the block early, Control-C too, removes it and leaves what was at `path` as it was.

    Raises:
        OutputError: an OSError in the block or of the renaming: no folder, no permission, disk full.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}{''.join(path.suffixes[-2:]).lower()}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{path} cannot be written: {reason}. Free space or choose another place.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
