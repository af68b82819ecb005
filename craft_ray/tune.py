"""`python -m craft_ray.tune`: search the hyperparameters of a fine-tuning."""

import sys

from craft_ray.commands.tune import main

if __name__ == "__main__":
    sys.exit(main())
