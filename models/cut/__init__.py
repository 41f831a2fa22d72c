"""CUT: one-sided translation by contrast between patches (Park et al., 2020, arXiv:2007.15651)."""
