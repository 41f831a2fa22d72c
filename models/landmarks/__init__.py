"""98 points of a face: where they are, the masks drawn from them, and the transform that aligns a face by them."""

from models.landmarks.alignment import alignment_matrix
from models.landmarks.masks import prepare_masks
from models.landmarks.network import LandmarkNetwork

__all__ = ["LandmarkNetwork", "alignment_matrix", "prepare_masks"]
