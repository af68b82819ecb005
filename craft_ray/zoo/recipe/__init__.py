"""How the embedded oracle was made: one module for each ingredient, joined by `build_oracle`.

Nothing here is imported when craft-ray runs; only the finished files in `embedded_oracle` are.
"""
