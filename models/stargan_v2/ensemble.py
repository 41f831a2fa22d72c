"""The networks of one StarGAN v2 model, as one module with one weights file."""

import torch
from torch import nn

from models.landmarks.network import LandmarkNetwork
from models.landmarks.points import POINTS
from models.stargan_v2.networks import Generator, MappingNetwork, StyleEncoder


class Ensemble(nn.Module):
    """Generator, mapping network and style encoder; for faces also the landmark network and the mean face.

    The arguments have the names and meanings that they have in the networks.
    """

    landmark_mean: torch.Tensor  # (98, 2) px: mean position of the points in the training set

    def __init__(
        self,
        img_size: int = 256,
        style_dim: int = 64,
        latent_dim: int = 16,
        num_domains: int = 2,
        max_conv_dim: int = 512,
        w_hpf: float = 1,
        base_dim: int | None = None,
        normalize_rgb: bool = True,
        landmarks: bool = False,  # whether it includes the landmark network and the mean face
    ) -> None:
        super().__init__()
        self.img_size = img_size
        self.w_hpf = w_hpf
        self.generator = Generator(img_size, style_dim, max_conv_dim, w_hpf, base_dim, normalize_rgb)
        self.mapping_network = MappingNetwork(latent_dim, style_dim, num_domains)
        self.style_encoder = StyleEncoder(img_size, style_dim, num_domains, max_conv_dim, base_dim)
        self.landmarks = LandmarkNetwork(POINTS) if landmarks else None
        if landmarks:
            self.register_buffer("landmark_mean", torch.zeros(POINTS, 2))
