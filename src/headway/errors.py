"""Every error a user can mend: each says the rule, the values and the way out, and carries its exit code.

What only we can break is an `assert`. Only the edge (command line, web route) catches these.
"""


class HeadwayError(ValueError):
    """Something the user can mend. The message is at most six lines and ends with the way out."""

    exit_code = 1


class UsageError(HeadwayError):
    """The command or call itself is off: an argument that contradicts another or means nothing."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type or outside its range."""


class DataError(HeadwayError):
    """Input text or a file is missing, empty, not text, or not what its name says."""

    exit_code = 3


class FormatError(DataError):
    """A model folder or weight file is damaged, inconsistent or of an unsupported kind."""


class ContextError(DataError):
    """More tokens than the model's context where only the whole text will do (scoring, echo)."""


class ResourceError(HeadwayError):
    """Not enough memory, or a device or processor feature that is not there."""

    exit_code = 4


class StorageError(HeadwayError):
    """Writing failed: disk full, no permission, the target exists. What stood there before still stands."""

    exit_code = 5


class DependencyError(HeadwayError):
    """An optional package is needed; the message names the extra that installs it."""


class TrainingError(HeadwayError):
    """A run cannot go on: the loss is not finite, or the folder holds another run."""


class Interrupted(HeadwayError):
    """A signal stopped the work; what was done is saved and the same command goes on. Exit code 128 + the signal."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
