"""What the service answers, as types: the OpenAPI document is made of them, and tests hold the answers to it."""
