"""Calibration: fits a spec's curves and weights to labels and preferences, and proves what that is worth.

`calibrate` is a plain function on arrays; `work` runs it as a job of the engine.
"""

from pi_integrations.engine.calibration.calibrate import Calibration, calibrate
from pi_integrations.engine.calibration.fitting import Observations

__all__ = ["Calibration", "Observations", "calibrate"]
