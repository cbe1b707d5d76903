"""Location-triggered push notifications: helpful at the right place and moment, silent otherwise."""

__version__ = "0.1.0"
