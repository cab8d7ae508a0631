"""The documents, and below `extensions/` what makes pages of them. `scripts/docs` builds the site."""
