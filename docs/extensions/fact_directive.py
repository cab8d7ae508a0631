"""The directive `fact`: its argument names what the code is asked for, and the answer stands in its place.

```{fact} settings
```
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.extensions.facts import FACTS


class FactDirective(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in FACTS:
            raise self.error(f"there is no fact {name}: there are {', '.join(FACTS)}")
        # The code may have changed where the page has not.
        self.env.note_reread()
        self.content = StringList(FACTS[name]().splitlines(), source=f"fact {name}")
        return self.parse_content_to_nodes(allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("fact", FactDirective)
    return {"parallel_read_safe": True, "version": "1"}
