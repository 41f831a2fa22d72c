"""The 98 points, and how the groups of them become masks. Loads no torch."""

FLOOR = 0.1  # lower heat counts as none
POINTS = 98

# First and last point, rows to move up (negative: down), power. prepare_masks treats the other points one by one.
GROUPS = (
    (8, 24, 0, 3),  # chin
    (33, 50, -7, 2),  # brows
    (55, 59, 8, 4),  # under the nose
    (77, 81, -8, 4),  # upper lip
    (83, 87, 8, 4),  # lower lip
    (88, 95, -2, 3),  # mouth, inside
)
UNUSED = (*range(8), *range(25, 34), 46, 76, 82)  # sides of the face, corners of brows and mouth
NOSE_BRIDGE = slice(52, 55)
EYES = slice(60, 76)
CHANGEABLE = (*range(8, 25), *range(33, 51), *range(76, 96))
