"""`python -m craft_ray.tune`: search the hyperparameters of a fine-tuning."""

import sys

from craft_ray.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()
    from craft_ray.commands.tune import main

    sys.exit(main())
