"""Load and verify a model's weights."""

from models.store.catalog import Model
from models.weights import doctor
from models.weights.architecture import CYCLEGAN, STARGAN, STYLE
from models.weights.doctor import Checkpoint

KINDS = {"cyclegan": CYCLEGAN, "stargan_v2": STARGAN, "style": STYLE}


def load_weights(model: Model) -> Checkpoint:
    """Load the weights of a model whose hash, keys and shapes match its card.

    Raises:
        ModelUnavailable: the weights are not here.
        CheckpointError: the file is not what the card says.
    """
    weights = model.verified_weights()
    return doctor.load_exactly(
        weights, KINDS[model.card.family], model.card.network, label=f"{model.name}/{weights.name}"
    )
