"""Other apps' payloads as observations: one pure mapping a client."""
