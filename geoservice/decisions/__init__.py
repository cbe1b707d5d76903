"""May we say something, what, when and why? Pure: no I/O, no clock."""
