"""What a person types: one module a command, and what they share in `common`."""
