"""The errors a user can cause; every message names the thing, the limit and the value.

Open it to add a class of errors that callers can catch. Command lines print the message of a
`DialogCvaeError` as one line and exit with status 2; anything else is a bug and keeps its traceback.
"""

from pathlib import Path


class DialogCvaeError(Exception):
    """Base of all errors that input, configuration or files can cause."""


class ConfigError(DialogCvaeError):
    """A field is out of its range, or two fields contradict each other."""


class CheckpointError(DialogCvaeError):
    """A checkpoint or training state is missing, truncated or inconsistent."""


class NotWrittenError(DialogCvaeError):
    """A file or folder cannot be written, as on a full disk; what was there is untouched."""


class DataError(DialogCvaeError):
    """A data file is missing or malformed; the message names file and line.

    Args:
        path: the file, or member of an archive, with the error.
        reason: what is wrong, with the limit and the value.
        line: 1-based line number, if there is one.
    """

    def __init__(self, path: Path | str, reason: str, line: int | None = None) -> None:
        self.path, self.reason, self.line = str(path), reason, line
        super().__init__(f"{path}{'' if line is None else f', line {line}'}: {reason}")
