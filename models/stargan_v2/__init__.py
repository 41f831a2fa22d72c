"""StarGAN v2 (Choi et al., 2020, arXiv:1912.01865): one generator for many domains, steered by style codes."""
