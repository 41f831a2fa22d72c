"""Every error that Doppel raises on purpose, as one tree. ``app/errors.py`` alone translates it to HTTP.

DoppelError
├── Invalid                what was sent or asked for can't be used
│   ├── ArchiveError       an uploaded archive is refused
│   ├── PictureRejected    a file is no picture that can be used
│   ├── ClipRejected       a file is no video that can be used
│   ├── DatasetError       a folder is not a usable data set
│   ├── CheckpointError    a weights file can't be used
│   ├── DeviceError        the device that was asked for is not here
│   └── UnevenBatch        a batch can't be divided among the processes
├── NotFound
│   ├── UnknownModel
│   ├── UnknownDataset
│   └── UnknownRun
├── Conflict               the request is sound, but the present state rules it out
│   ├── DatasetExists
│   ├── DatasetInUse
│   ├── NameTaken          the model name belongs to another model
│   ├── NoVersion          there is no version to go back to
│   ├── PublicationError   the run has nothing like that to publish
│   ├── RunFolderError     the folder is not a run, or it is damaged
│   └── RunBusy            another process trains in this folder
├── Unavailable            it may work later, or once the operator has acted
│   ├── CatalogError       a model's card can't be read
│   ├── ModelUnavailable   a model's weights are not here
│   ├── PlaceError         a folder or an address that was configured can't be used
│   ├── NotInstalled       a package that this needs is not installed
│   ├── StoreFull          data sets, runs and models take all that they may
│   └── FetchError         weights could not be downloaded
├── TrainingError          a run that had begun could not go on
│   ├── Diverged
│   └── CannotWrite
├── SigningFailed          a result could not be given credentials
└── NotFinite              what a network made of a picture is NaN or infinite

The branches of the queue are in ``worker/errors.py``, those of HTTP in ``app/errors.py``.
"""


class DoppelError(Exception):
    """Root of all errors that are raised on purpose. The message is written for the person who caused it."""


class Invalid(DoppelError):
    """What was sent or asked for can't be used; the message says why, and what is accepted."""


class ArchiveError(Invalid):
    """The archive is refused."""


class PictureRejected(Invalid):
    """A file can't be used as a picture. The message continues a sentence that names the file: "is damaged"."""


class ClipRejected(Invalid):
    """A file can't be used as a clip. The message continues a sentence that names the file: "is damaged"."""


class DatasetError(Invalid):
    """The folder is not a data set that can be used; the message says what is missing."""


class CheckpointError(Invalid):
    """The weights file can't be used; the message says what it is and what was expected."""


class DeviceError(Invalid):
    """The device that was asked for is not on this machine."""


class UnevenBatch(Invalid):
    """A batch can't be divided evenly among the processes that train."""


class NotFound(DoppelError):
    """There is nothing of this name."""


class UnknownModel(NotFound):
    """There is no model of this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        others = [other for other in known if other != name]  # it may have come or gone between two looks
        super().__init__(f"There is no model {name[:100]!r}. Models: {', '.join(others) or 'none'}.")
        self.name = name


class UnknownDataset(NotFound):
    """There is no data set of this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"There is no data set {name[:100]!r}. Data sets: {', '.join(known) or 'none'}.")


class UnknownRun(NotFound):
    """There is no run with this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no training run {run_id[:100]!r}; GET /training lists them.")


class Conflict(DoppelError):
    """The request is sound, but the present state of what it names rules it out."""


class DatasetExists(Conflict):
    """A data set of this name is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a data set {name!r} already; remove it first, or choose another name.")


class DatasetInUse(Conflict):
    """Runs that have not ended train on the data set."""

    def __init__(self, name: str, using: list[str]) -> None:
        super().__init__(f"{name!r} is in use by the training runs {', '.join(using)}; stop them first.")


class NameTaken(Conflict):
    """The name belongs to another model; the message says which kind."""


class NoVersion(Conflict):
    """There is no version to go back to."""


class PublicationError(Conflict):
    """The run has nothing like that to publish; the message says what it has."""


class RunFolderError(Conflict):
    """The folder is not a run, or it is damaged; the message says which file is at fault."""


class RunBusy(Conflict):
    """Another process trains in this folder."""


class Unavailable(DoppelError):
    """It may work later, or once the operator has acted."""

    retry_after_s = 5

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class CatalogError(Unavailable):
    """A model's card can't be read."""

    retry_after_s = 60


class ModelUnavailable(Unavailable):
    """The model is known, but its weights are not here and no other model does its task."""

    retry_after_s = 60

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The weights of {name!r} are not on this server ({why}). Its operator gets them with: doppel pull {name}"
        )
        self.name = name


class PlaceError(Unavailable):
    """A folder or an address that was configured can't be used; the message names the setting to change."""


class NotInstalled(Unavailable):
    """A package that this needs is not installed; the message says what to install."""

    retry_after_s = 3600


class StoreFull(Unavailable):
    """Data sets, runs and models together would take more than the operator allows."""

    retry_after_s = 600


class FetchError(Unavailable):
    """Weights could not be downloaded; the message says why."""


class TrainingError(DoppelError):
    """A run that had begun could not go on; its last checkpoint is whole."""


class Diverged(TrainingError):
    """A loss is no longer a finite number; the run's checkpoints are from before that."""


class CannotWrite(TrainingError):
    """The disk is full, so that the run folder can't be written to.

    Args:
        error: what writing raised.
        reached: how far the run has come, as a sentence.
    """

    def __init__(self, error: OSError, reached: str = "Training could not go on.") -> None:
        super().__init__(
            f"The disk is full ({error.strerror}). {reached} Free some space on the server, then resume the run."
        )


class SigningFailed(DoppelError):
    """A result could not be given credentials."""


class NotFinite(DoppelError):
    """What a network made of a picture is NaN or infinite.

    Args:
        what: what that is, as the subject of a sentence.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not made of finite numbers (NaN or infinity), so there is no picture to show.")
