"""Values, exceptions and numbers as people read them, bounded and harmless."""
