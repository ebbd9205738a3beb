"""What is said where the extra `grpc` is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from cuvis_ai_core.errors import MissingExtraError


@contextmanager
def explain_missing() -> Iterator[None]:
    """Name the extra where an import in the block finds no package of it.

    Raises:
        MissingExtraError: A package of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        # A module of ours that is missing is a bug, and no extra.
        if (error.name or "").startswith("cuvis_ai_core"):
            raise
        raise MissingExtraError(
            f"The gRPC service and its client need the package '{error.name}', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[grpc]'",
            extra="grpc",
        ) from error
