"""The joint: steps agents through environments, trains and evaluates runs, makes sure that runs exist."""
