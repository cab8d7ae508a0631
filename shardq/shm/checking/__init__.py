"""Whether a segment is whole. Each module reads the words by itself: it shares with the code that it checks only where
they are, and how records lie in memory.
"""
