"""98 points of a face: where they are, the masks drawn from them, and the transform that aligns a face by them."""
