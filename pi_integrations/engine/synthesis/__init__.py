"""Synthetic data: texts made by a chat model, kept when they are good and unlike those kept before."""
