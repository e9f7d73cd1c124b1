"""Floating-point operations of a program, counted by XLA as the program is written."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend


def flops(function: Callable, *args: Any) -> float:
    """FLOPs of one call, loop bodies as often as they run.

    XLA counts the body of a loop once, and so the body of a loop in it; the other times are added here.
    """
    program = jax.make_jaxpr(function)(*args)
    return _counted(program) + _repeated(program)


def _counted(program) -> float:
    """XLA's own count."""
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.in_avals]
    return jax.jit(jax.extend.core.jaxpr_as_fun(program)).lower(*shapes).cost_analysis()['flops']


def _repeated(program) -> float:
    """What XLA's count lacks: all but the first turn of every loop."""
    total = 0.0
    for length, body in _loops(program.jaxpr):
        total += (length - 1) * _counted(body) + length * _repeated(body)
    return total


def _loops(program) -> Iterator[tuple[int, Any]]:
    """(length, body) of every loop of a program that is in no other loop."""
    for equation in program.eqns:
        if equation.primitive.name == 'scan':
            yield equation.params['length'], equation.params['jaxpr']
            continue
        parameters = list(equation.params.values())
        for inner in jax.tree.leaves(parameters, is_leaf=_is_program):
            if _is_program(inner):
                yield from _loops(getattr(inner, 'jaxpr', inner))


def _is_program(value):
    return isinstance(value, (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr))
