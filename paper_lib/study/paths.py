"""Where figures and the data behind them lie. It follows from the place of the package, not from the working folder."""

import os
from pathlib import Path

from paper_lib.contract import files


def root() -> Path:
    """The source checkout that holds this package, else the working directory (an installed copy has no figures)."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / 'pyproject.toml').exists() else Path.cwd()


def figures() -> Path:
    """`figures/` of the checkout; the environment variable PAPER_LIB_FIGURES names another folder.

    RunError for a folder that may not be read; it need not exist yet.
    """
    named = os.environ.get('PAPER_LIB_FIGURES') or root() / 'figures'
    folder = Path(os.path.expanduser(named))
    with files.guard(folder):
        if folder.is_dir():
            os.scandir(folder).close()
    return folder


def documents() -> list[Path]:
    """README.md, then docs/*.md; nothing outside of a checkout."""
    readme = root() / 'README.md'
    return [readme, *sorted((root() / 'docs').glob('*.md'))] if readme.exists() else []


def drawings(scale: str) -> Path:
    """Folder of the figures, tables and pages of a scale."""
    return figures() / scale


def archive(scale: str) -> Path:
    """Folder of the Parquet files that the figures of a scale are drawn from."""
    return figures() / 'data' / scale


def write(path: Path, content: bytes) -> None:
    """Write the whole file or leave the old one; makes its folder. Raises RunError when the disk refuses."""
    with files.guard(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, content)
