"""From a results file to the page, its charts and the table in the README."""
