"""The parts of CraFT as pure arithmetic: projection of prompts, refinement head, losses.

They know neither an oracle nor an optimizer nor Ray.
"""
