"""From a model of the catalog to numbers that can be trusted."""

from models.errors import CheckpointError, ModelUnavailable
from models.store.catalog import Model
from models.store.files import sha256
from models.weights import doctor
from models.weights.architecture import CYCLEGAN, STARGAN
from models.weights.doctor import Checkpoint

KINDS = {"cyclegan": CYCLEGAN, "stargan_v2": STARGAN}


def weights_of(model: Model) -> Checkpoint:
    """The model's weights, once their hash, keys and shapes are found to be what its card says.

    Raises:
        ModelUnavailable: they are not at hand.
        CheckpointError: the file is not what the card says.
    """
    if model.weights is None:
        raise ModelUnavailable(model.name, model.failure or "not fetched yet")
    if model.sha256 is not None and (digest := sha256(model.weights)) != model.sha256:
        raise CheckpointError(f"{model.weights} has sha256 {digest}, but {model.sha256} is what its card or lock says")
    return doctor.load_exactly(model.weights, KINDS[model.card.family], model.card.network)
