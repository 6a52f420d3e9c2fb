"""Synthetic data: texts made by a chat model, accepted when they are good and unlike those accepted before."""
