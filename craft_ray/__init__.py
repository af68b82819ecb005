"""craft-ray: distributed collaborative fine-tuning of black-box vision-language models."""

__version__ = "0.1.0"
