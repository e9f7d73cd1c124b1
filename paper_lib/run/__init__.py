"""The joint: steps agents through environments, trains and evaluates runs."""
