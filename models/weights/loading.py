"""Load and verify a model's weights."""

from models.errors import CheckpointError, ModelUnavailable
from models.store.catalog import Model
from models.store.files import sha256
from models.weights import doctor
from models.weights.architecture import CYCLEGAN, STARGAN
from models.weights.doctor import Checkpoint

KINDS = {"cyclegan": CYCLEGAN, "stargan_v2": STARGAN}


def load_weights(model: Model) -> Checkpoint:
    """Load the weights of a model whose hash, keys and shapes match its card.

    Raises:
        ModelUnavailable: the weights are not here.
        CheckpointError: the file is not what the card says.
    """
    if model.weights is None:
        raise ModelUnavailable(model.name, model.failure or "not fetched yet")
    if model.sha256 is not None and (digest := sha256(model.weights)) != model.sha256:
        raise CheckpointError(f"{model.weights} has sha256 {digest}, but its card or lock file says {model.sha256}")
    label = f"{model.name}/{model.weights.name}"
    return doctor.load_exactly(model.weights, KINDS[model.card.family], model.card.network, label=label)
