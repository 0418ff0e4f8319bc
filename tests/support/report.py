"""What a report says, taken from its HTML.

Belongs here: tables and parts of a page as text. Does not belong here: what they should say.
"""

import re


def cells(page: str, after: str) -> list[list[str]]:
    """The rows of the first table after a text of the page, as texts."""
    table = page[page.index(after) :]
    table = table[table.index("<tbody>") : table.index("</tbody>")]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def body(page: str) -> str:
    """What a page says of the run: without head, and without what it says of the export."""
    return page[page.index("<main>") : page.index('<section id="export"')]
