"""What is checked of the documents without a network, and without building the site: `python -m docs.checks`."""
