"""Where figures and the data behind them lie: found from the package, never from the working directory."""

import contextlib
import os
from pathlib import Path

from paper_lib.contract.errors import RunError


def root() -> Path:
    """The source checkout that holds this package, else the working directory (an installed copy has no figures)."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / 'pyproject.toml').exists() else Path.cwd()


def figures() -> Path:
    """`figures/` of the checkout; the environment variable PAPER_LIB_FIGURES names another folder."""
    return Path(os.environ.get('PAPER_LIB_FIGURES') or root() / 'figures')


def drawings(scale: str) -> Path:
    return figures() / scale


def archive(scale: str) -> Path:
    """Folder of the Parquet files that the figures of a scale are drawn from."""
    return figures() / 'data' / scale


def write(path: Path, content: bytes) -> None:
    """Write the whole file or leave the old one. Raises RunError when the disk refuses."""
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        reason = error.strerror or error
        raise RunError(f'{path}: cannot be written ({reason}); remove the cause and run again') from None
