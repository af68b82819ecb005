"""The routes of a service: from HTTP to questions, and from answers to HTTP."""
