"""The page of the records says what the contract says.

Belongs here: that docs/records.md is the one that the contract gives.
"""

from pathlib import Path

from landscape_assets.contract.document import document


def test_the_page_is_up_to_date() -> None:
    """docs/records.md is generated, and is not edited or forgotten."""
    page = Path(__file__).parents[2] / "docs" / "records.md"
    assert page.read_text() == document(), "run: python -m landscape_assets.contract.document > docs/records.md"
