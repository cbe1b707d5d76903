"""The commands, a file for each kind: each adds its own to the command line."""
