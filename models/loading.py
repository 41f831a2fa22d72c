"""From a model of the catalog to numbers that can be trusted."""

from models import checkpoint
from models.architecture import CYCLEGAN, STARGAN
from models.catalog import Model, ModelUnavailable, sha256
from models.checkpoint import Checkpoint, CheckpointError

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
    return checkpoint.load_exactly(model.weights, KINDS[model.card.family], model.card.network)
