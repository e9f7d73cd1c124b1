"""Geometry of the point-mass maze in metres: x to the right, y up.

The simulator's model is made from these numbers, and figures draw them. The layout is
`reach_bottom_right` of ExORL (arXiv:2201.13425).
"""

ARENA = 0.3  # the floor is [-ARENA, ARENA]^2, closed by four boundary planes
REACH = 0.29  # joint range: the centre of the mass stays in [-REACH, REACH]^2
MASS_RADIUS = 0.01
WALLS = ((0.0, 0.0, 0.18, 0.02), (0.0, 0.0, 0.02, 0.18))  # (cx, cy, half_x, half_y): a plus sign
WALL_HALF_HEIGHT = 0.02
GOAL = (0.15, -0.15)
GOAL_RADIUS = 0.015
WIDEST_GOAL = 0.065  # the reward of a wider one would reach through the walls: here it is 0.1 at the nearest wall
START = ((-0.29, -0.15), (0.15, 0.29))  # ((x low, x high), (y low, y high)), uniform: top left


def in_a_wall(x: float, y: float) -> bool:
    """Whether the point mass in (x, y), in metres, would touch a wall."""
    for center_x, center_y, half_x, half_y in WALLS:
        if abs(x - center_x) < half_x + MASS_RADIUS and abs(y - center_y) < half_y + MASS_RADIUS:
            return True
    return False
