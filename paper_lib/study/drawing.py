"""A figure on disk: its picture, its caption, and where it comes from."""

import base64
import dataclasses
import hashlib
import html
import io
from pathlib import Path

from matplotlib.figure import Figure

import paper_lib
from paper_lib.study import paths, style, tables
from paper_lib.study.frames import Frames


def provenance(frames: Frames) -> dict[str, str]:
    """Scale, a hash of the ids of the runs in the figure, and the code's version."""
    ids = '\n'.join(sorted(frames.runs.run_id))
    return {'scale': frames.scale, 'runs': hashlib.sha256(ids.encode()).hexdigest()[:16], 'code': paper_lib.__version__}


def save(figure: Figure, path: Path, provenance: dict[str, str]) -> None:
    """Write path.png and path.pdf with the provenance in their metadata and no dates: equal data, equal bytes."""
    words = ' '.join(f'{key}={value}' for key, value in provenance.items())
    metadata = {'png': {'Software': None, 'Description': words},
                'pdf': {'CreationDate': None, 'Producer': None, 'Creator': 'paper-lib', 'Keywords': words}}  # fmt: skip
    with style.context():
        for kind, entries in metadata.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=entries)
            paths.write(path.with_name(f'{path.name}.{kind}'), buffer.getvalue())


def shown(png: bytes, text: str, below: str) -> str:
    """A picture as HTML no wider than its place, its first words for those who cannot see it, and HTML below it."""
    data = base64.b64encode(png).decode()
    image = f'<img style="max-width:100%" alt="{html.escape(text)}" src="data:image/png;base64,{data}"/>'
    return f'<figure>{image}<figcaption>{below}</figcaption></figure>'


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A saved figure with its caption, as a notebook shows it."""

    png: bytes = dataclasses.field(repr=False)
    caption: str

    def _repr_html_(self) -> str:
        return shown(self.png, self.caption.partition('\n')[0], tables.shown(self.caption))
