"""Something that is drawn, with controls over it in a live notebook. Elsewhere it stays as it is at first."""

import dataclasses
import html
from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets

from paper_lib.contract.errors import UserError


@dataclasses.dataclass(frozen=True)
class Interactive:
    """`draw` takes the controls' values by name and returns HTML. `first` is shown until a control is moved."""

    first: str
    draw: Callable[..., str]
    controls: dict[str, ipywidgets.Widget]

    def again(self) -> str:
        """What the present values show. What the user can mend is one line."""
        values = {name: control.value for name, control in self.controls.items()}
        try:
            return self.draw(**values)
        except UserError as error:
            return line(str(error))
        except ModuleNotFoundError as error:  # an installation that only analyses runs
            return line(f"this needs the package {error.name}: pip install -e '.[all]'")

    def live(self) -> ipywidgets.VBox:
        """The controls above what they show."""
        shown = ipywidgets.HTML(self.first)

        def update(_: Any) -> None:
            shown.value = self.again()

        for control in self.controls.values():
            control.observe(update, 'value')
        return ipywidgets.VBox([*self.controls.values(), shown])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle = dict(self.live()._repr_mimebundle_())
        bundle['text/html'] = self.first
        return bundle


def line(text: str) -> str:
    """A line of text as HTML."""
    return f'<p>{html.escape(text)}</p>'


def choice(options: Iterable[Any], **settings: Any) -> ipywidgets.Dropdown:
    """A list of which one option is chosen. `settings` are those of ipywidgets."""
    return ipywidgets.Dropdown(options=list(options), **settings)


def slider(value: float, low: float, high: float, step: float = 1, text: str = '') -> ipywidgets.Widget:
    """A slider that reports its value when it is let go, because drawing may take seconds."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(value, min=low, max=high, step=step, description=text, continuous_update=False)
