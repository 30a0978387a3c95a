"""The errors a user can cause; every message names the thing, the limit and the value.

Command lines print the message of a `DialogCvaeError` as one line and exit with status 2; anything else is a bug
and keeps its traceback.
"""

from pathlib import Path


class DialogCvaeError(Exception):
    """Base of all errors that input, configuration or files can cause."""


class ConfigError(DialogCvaeError):
    """A field is out of its range, or two fields contradict each other."""


class CheckpointError(DialogCvaeError):
    """A checkpoint or training state is missing, truncated or does not fit together."""


class DataError(DialogCvaeError):
    """A data file is missing or malformed; says where.

    Args:
        path: the file (or the member of an archive) at fault.
        reason: what is wrong, with the limit and the value.
        line: 1-based line number, where there is one.
    """

    def __init__(self, path: Path | str, reason: str, line: int | None = None) -> None:
        self.path, self.reason, self.line = str(path), reason, line
        super().__init__(f"{path}{'' if line is None else f', line {line}'}: {reason}")
