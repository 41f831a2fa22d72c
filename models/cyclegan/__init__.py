"""CycleGAN: one generator per direction (Zhu et al., 2017, arXiv:1703.10593)."""

from models.cyclegan.networks import PatchDiscriminator, ResnetGenerator

__all__ = ["PatchDiscriminator", "ResnetGenerator"]
