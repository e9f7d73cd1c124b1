"""Fast versions of formulas, each beside the plain formula with the same result. Tests compare the two."""
