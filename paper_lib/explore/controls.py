"""Something drawn, with controls over it in a live notebook and as it is first everywhere else."""

import dataclasses
import html
import typing

import ipywidgets

from paper_lib.contract.errors import UserError


@dataclasses.dataclass(frozen=True)
class Interactive:
    """`draw` takes the controls' values by name and returns HTML; `first` is shown until one of them is moved."""

    first: str
    draw: typing.Callable[..., str]
    controls: dict[str, ipywidgets.Widget]

    def again(self) -> str:
        """What the present values show; what the user can mend as one line."""
        try:
            return self.draw(**{name: control.value for name, control in self.controls.items()})
        except UserError as error:
            return line(str(error))
        except ModuleNotFoundError as error:  # where runs are analysed only
            return line(f"this needs the package {error.name}: pip install -e '.[all]'")

    def live(self) -> ipywidgets.VBox:
        shown = ipywidgets.HTML(self.first)

        def update(_):
            shown.value = self.again()

        for control in self.controls.values():
            control.observe(update, 'value')
        return ipywidgets.VBox([*self.controls.values(), shown])

    def _repr_mimebundle_(self, **_) -> dict:
        return {**self.live()._repr_mimebundle_(), 'text/html': self.first}


def line(text: str) -> str:
    return f'<p>{html.escape(text)}</p>'


def choice(options, **kwargs) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=list(options), **kwargs)


def slider(value, low, high, step=1, text='') -> ipywidgets.Widget:
    """A slider that speaks when it is let go, because an answer may take seconds."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(value, min=low, max=high, step=step, description=text, continuous_update=False)
