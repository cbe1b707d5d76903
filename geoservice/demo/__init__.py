"""The shoe story, told over HTTP against a running service."""
