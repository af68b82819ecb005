"""`python -m craft_ray.train`: one fine-tuning, without a search."""

import sys

from craft_ray.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
