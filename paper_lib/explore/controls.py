"""A drawing with controls, which work in a live notebook. Elsewhere the first drawing is shown."""

import dataclasses
import html
from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets

from paper_lib.contract.errors import UserError

COMPUTING = '<p>computing (the first time compiles) ...</p>'


@dataclasses.dataclass(frozen=True)
class Interactive:
    """A function `draw` from the controls' values, by name, to HTML. `first` is shown until a control is moved."""

    first: str
    draw: Callable[..., str]
    controls: dict[str, ipywidgets.Widget]

    def again(self) -> str:
        """Draw with the present values of the controls. An error that the user can mend gives one line of text."""
        values = {name: control.value for name, control in self.controls.items()}
        try:
            return self.draw(**values)
        except UserError as error:
            return line(str(error))
        except ModuleNotFoundError as error:  # an installation that only analyses runs
            return line(f"this needs the package {error.name}: pip install -e '.[all]'")

    def live(self) -> ipywidgets.VBox:
        """The controls with the drawing below them."""
        drawing = ipywidgets.HTML(self.first)

        def update(_: Any) -> None:
            drawing.value = COMPUTING  # so that no older drawing stands below the new values
            drawing.value = self.again()

        for control in self.controls.values():
            control.observe(update, 'value')
        return ipywidgets.VBox([*self.controls.values(), drawing])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle = dict(self.live()._repr_mimebundle_())
        bundle['text/html'] = self.first
        return bundle


def line(text: str) -> str:
    """A line of text as HTML."""
    return f'<p>{html.escape(text)}</p>'


def choice(options: Iterable[Any], **settings: Any) -> ipywidgets.Dropdown:
    """A list from which the user chooses one option. `settings` are passed to ipywidgets."""
    return ipywidgets.Dropdown(options=list(options), **settings)


def slider(value: float, low: float, high: float, step: float = 1, text: str = '') -> ipywidgets.Widget:
    """A slider that reports its value when the user lets go of it, because drawing may take seconds."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(value, min=low, max=high, step=step, description=text, continuous_update=False)
