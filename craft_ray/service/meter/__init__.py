"""Who may ask, how much, how often, and what was answered before. Knows no HTTP and no model."""
