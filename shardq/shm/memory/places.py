"""Which extent an address lies in, and where each begins."""

from __future__ import annotations

from shardq.shm.layout import ExtentClass, Layout


class Places:
    """The places of extents in a layout. They are computed, so nothing that stands in a segment can mislead them."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def class_of(self, extent: int) -> ExtentClass:
        return next(group for group in reversed(self.layout.classes) if extent >= group.first)

    def start_of(self, extent: int) -> int:
        """Byte address of an extent."""
        group = self.class_of(extent)
        return group.base + (extent - group.first) * group.size

    def extent_at(self, address: int) -> int:
        """The extent that an address lies in. Raises `ValueError` where it lies in none."""
        group = self.class_at(address)
        return group.first + (address - group.base) // group.size

    def class_at(self, address: int) -> ExtentClass:
        """The class of that extent. Raises `ValueError` where it lies in none."""
        for group in self.layout.classes:
            if group.base <= address < group.base + group.size * group.count:
                return group
        raise ValueError(f"address {address} lies in no extent")
