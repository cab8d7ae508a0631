"""Says which links lead nowhere, a line each, and ends with 1 where there are some."""

import sys

from docs.checks.links import ROOT, broken, documents

found = [problem for document in documents(ROOT) for problem in broken(document)]
print("\n".join(found) or "all links inside of the repository lead somewhere")
sys.exit(bool(found))
