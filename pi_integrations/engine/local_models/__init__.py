"""The one seam to transformers: which folder a model is in, what identifies it, how it loads, and what it can read."""
