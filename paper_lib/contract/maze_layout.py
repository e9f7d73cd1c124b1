"""Geometry of the point-mass maze in metres; standard library only.

The simulator's model is generated from these numbers and the figures draw them, so that the two
cannot differ. The layout is `reach_bottom_right` of ExORL (arXiv:2201.13425): x to the right, y up.
"""

ARENA = 0.3  # the floor is [-ARENA, ARENA]^2, closed by four boundary planes
REACH = 0.29  # joint range: the centre of the mass stays in [-REACH, REACH]^2
MASS_RADIUS = 0.01
WALLS = ((0.0, 0.0, 0.18, 0.02), (0.0, 0.0, 0.02, 0.18))  # (cx, cy, half_x, half_y): a plus sign
WALL_HALF_HEIGHT = 0.02
GOAL = (0.15, -0.15)
GOAL_RADIUS = 0.015
WIDEST_GOAL = 0.065  # there the reward at the nearest wall is 0.1; wider ones reach through the walls
START = ((-0.29, -0.15), (0.15, 0.29))  # ((x low, x high), (y low, y high)), uniform: top left
CELLS = 60  # cells per side of the grid on which visits are counted
