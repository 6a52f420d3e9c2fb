"""The engine: answers the Pi API on the user's own machine."""
