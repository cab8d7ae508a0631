"""A sweep over the parameters of a model, with numpy; README.md shows it beside a `ProcessPoolExecutor`."""
