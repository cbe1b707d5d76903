"""Where is the device, and what changed? Pure: no I/O, no clock."""
