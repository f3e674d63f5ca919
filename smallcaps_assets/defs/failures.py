"""Our errors, told to Dagster: one :class:`dagster.Failure` with what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from smallcaps_assets.errors import SmallcapsError


@contextmanager
def dagster_failures() -> Iterator[None]:
    """Turn an error of ours into a failure that Dagster shows and does not retry.

    Retries belong to the vendor's client; what is left needs a person.
    """
    try:
        yield
    except SmallcapsError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"kind": error.kind, "what_to_do": f"docs/{error.page.replace('#', '.md#')}"},
            allow_retries=False,
        ) from error
