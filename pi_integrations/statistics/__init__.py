"""Statistics of scores: agreement with labels, distributions, comparisons, and summaries of scored rows.

Needs numpy and the wire models, nothing else, so that the engine and the shell compute the same numbers.
"""
