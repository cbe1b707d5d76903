"""The HTTP edge: checks who calls and what they sent, then hands over to the workflows."""
