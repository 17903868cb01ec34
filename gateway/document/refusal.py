"""Foreign errors of the document libraries, translated once into a sentence that helps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gateway.errors import Cause, PermanentError, TransientError


@contextlib.contextmanager
def reading(title: str) -> Iterator[None]:
    """Whatever a library raises over these bytes means: they are damaged.

    Hostile files make libraries raise anything, from KeyError to SyntaxError; so all of it counts.
    What is not about the bytes passes: our refusals, memory, a disk that is full.
    """
    try:
        yield
    except (PermanentError, TransientError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise damaged(title) from error


def damaged(title: str) -> PermanentError:
    return PermanentError(
        f"{title} is damaged or not complete and cannot be opened. "
        "Please check that it opens on your side, make a new PDF of it and send that.",
        Cause.DOCUMENT,
    )


def too_many_pages(title: str, most: int) -> PermanentError:
    return PermanentError(
        f"{title} makes the fax too long: there is room for {most} pages of it. "
        "Please send it in several faxes.",
        Cause.LIMIT,
    )


def too_large(title: str, what: str) -> PermanentError:
    return PermanentError(
        f"{title} {what}. Please print it to a new, simpler PDF and send that.", Cause.LIMIT
    )
