"""What Sphinx needs beside its own extensions to make a site of these documents.

* `facts/`: what the code says of itself, as Markdown: settings, commands, exit codes, errors
* `fact_directive`: puts such a fact into a page
* `outside`: links that leave `docs/`, and pages for documents that lie elsewhere
* `docstrings`: docstrings, which are written for `help()`, as Sphinx reads them
"""
