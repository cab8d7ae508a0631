"""Thumbnails of all pictures below a folder, album by album; README.md shows it beside a `ProcessPoolExecutor`."""
