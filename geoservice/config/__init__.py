"""The settings: declared in one table, read from the environment once, shown with their secrets masked."""

from geoservice.config.loading import PREFIX, load_settings
from geoservice.config.reading import is_loopback
from geoservice.config.settings import SETTINGS, Setting, Settings
from geoservice.config.showing import shown

__all__ = ["PREFIX", "SETTINGS", "Setting", "Settings", "is_loopback", "load_settings", "shown"]
