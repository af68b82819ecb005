"""The documents are true: their blocks run, their settings exist, their links lead somewhere."""
