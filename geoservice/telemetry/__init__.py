"""What the on-call engineer reads: metrics, logs, health."""
