"""Calibration: fits a spec's curves and weights to labels and preferences, and measures what the fit is worth.

`calibrate.calibrate` is a plain function on arrays; `work` runs it as a job of the engine.
"""
