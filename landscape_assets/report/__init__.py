"""The report: what happened in a run, as one page for people.

Belongs here: the figures of a run, gathered in one bounded pass over its records (`chunk.py`, `gather.py`,
`statistics.py`, `histogram.py`), the layout of its graph (`layout.py`), pictures (`pictures.py`), what is shown of them
(`summary.py`, `view.py`, `pipeline_view.py`), and the page (`page.py`, `templates/`). Does not belong here: where
records come from, and files of packages (`formats/html.py`, `reporting.py`).
"""

from .chunk import NEEDED, Chunk
from .gather import gather
from .overview import Entry, render_overview
from .page import Facts, ListedFile, digest, figures_in, key_figures, render
from .statistics import PartStatistics, Statistics

__all__ = [
    "NEEDED",
    "Chunk",
    "Entry",
    "Facts",
    "ListedFile",
    "PartStatistics",
    "Statistics",
    "digest",
    "figures_in",
    "gather",
    "key_figures",
    "render",
    "render_overview",
]
