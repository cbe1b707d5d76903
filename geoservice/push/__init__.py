"""Adapters that hand a message to the outside world and say what became of it."""
